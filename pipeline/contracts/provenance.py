"""Digests: the identity of content, independent of where and when it was made."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(content: Any) -> bytes:
    """Content as JSON bytes that are the same on every machine: sorted keys, no spaces, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def digest_json(content: Any) -> str:
    """sha256 (hex) of the canonical JSON of `content`."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def digest_bytes(data: bytes) -> str:
    """sha256 (hex) of `data`."""
    return hashlib.sha256(data).hexdigest()
