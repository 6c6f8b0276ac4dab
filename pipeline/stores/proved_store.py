"""A Zarr store that remembers what is put into it, and holds what is got from it against that.

The sha256 of each small object of a group (coordinates, books, revisions, documents) stands in the attribute `proofs` of the group; the
attributes are proved with the snapshot that they are in. So an index that leads to another chunk, or to none, is noticed when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from zarr.storage import WrapperStore

from pipeline.errors import StoreError
from pipeline.stores.cube_format import MEND, PROOFS


class ProvedStore(WrapperStore[Any]):
    """A store that refuses objects that are not those that were put.

    Args:
        store: Where they lie.
        proofs: Key -> sha256; an object without one is taken as it is.
    """

    def __init__(self, store: Any, proofs: dict[str, str] | None = None) -> None:
        super().__init__(store)
        self._proofs: dict[str, str] = {} if proofs is None else proofs

    def _with_store(self, store: Any) -> ProvedStore:
        return ProvedStore(store, self._proofs)

    def learn(self, group: str, attributes: Mapping[str, Any]) -> None:
        """From now on hold the objects of a group against the proofs among its attributes."""
        self._proofs.update({f"{group}/{key}": proof for key, proof in attributes.get(PROOFS, {}).items()})

    def proofs(self, group: str) -> dict[str, str]:
        """The attribute `proofs` of a group as it is now."""
        return {key.removeprefix(f"{group}/"): proof for key, proof in sorted(self._proofs.items()) if key.startswith(f"{group}/")}

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """The object under a key.

        Raises:
            StoreError: It is another than the one that was put, or is absent.
        """
        found = await super().get(key, prototype, byte_range)
        proof = self._proofs.get(key)
        if proof is not None and (found is None or _digest(found) != proof):
            what = "absent" if found is None else "not what was written: it, or an index that leads to it, is damaged"
            raise StoreError(asked=f"read {key}", found=what, mend=MEND)
        return found

    async def set(self, key: str, value: Any) -> None:
        """Put an object under a key."""
        await super().set(key, value)
        if not key.endswith("zarr.json"):
            self._proofs[key] = _digest(value)

    async def delete(self, key: str) -> None:
        """Take an object away."""
        await super().delete(key)
        self._proofs.pop(key, None)

    async def delete_dir(self, prefix: str) -> None:
        """Take all away below a prefix."""
        await super().delete_dir(prefix)
        for key in [key for key in self._proofs if key.startswith(f"{prefix.rstrip('/')}/")]:
            del self._proofs[key]


def _digest(value: Any) -> str:
    return hashlib.sha256(value.as_numpy_array()).hexdigest()
