"""Hidden inputs are hidden, and nothing else is."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pipeline.windows.occlusion import blocks_of, regions_of, without_cells, without_history
from tests.unit.models.planted import planted_windows
