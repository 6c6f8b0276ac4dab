"""Profiles of training times at rest, under `monitoring/<world>/profiles/`: views, made once per training and domain."""

from __future__ import annotations

import json

import numpy as np

from pipeline.contracts.provenance import canonical_json
from pipeline.errors import NotYetAvailable
from pipeline.monitoring.profile import Profile, from_parts
from pipeline.stores.objects import ObjectStore


class ProfileStore:
    """What a world's profiles are kept in; each under a name that says all that it depends on."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._base = objects, f"monitoring/{world_name}/profiles"

    def find(self, name: str) -> Profile | None:
        """A profile that was kept, None where it was not, or where it is damaged: it can be made again."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            named = load(self._objects.get(self._key(name)))
            words = json.loads(named.pop("words").tobytes())
            return from_parts(named, words)
        except (NotYetAvailable, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def keep(self, name: str, profile: Profile) -> None:
        """Keep a profile."""
        from safetensors.numpy import save

        arrays = {key: np.ascontiguousarray(array) for key, array in profile.arrays().items()}
        words = np.frombuffer(canonical_json(profile.words()), np.uint8)
        self._objects.replace(self._key(name), bytes(save({**arrays, "words": words})))

    def _key(self, name: str) -> str:
        return f"{self._base}/{name}.safetensors"
