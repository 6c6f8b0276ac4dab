"""What a file holds once it is unpacked, within a limit that no bomb passes."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pipeline.errors import ContractError

MAX_BYTES = 2**31
_PIECE = 2**26
_MOST_TIMES = 400
"""Text shrinks to a 7th or 20th; deflate goes to a 1032nd."""


@cache
def _inflater() -> Any:
    """isal, which does the same as zlib four times as fast, where it is installed."""
    return import_module("isal.isal_zlib" if find_spec("isal") is not None else "zlib")


def unpacked_size(data: bytes) -> int:
    """Bytes that a gzip file says it unpacks to, by its last member; 0 of others."""
    return min(int.from_bytes(data[-4:], "little"), MAX_BYTES) if data[:2] == b"\x1f\x8b" else 0


def unpacked(data: bytes, file: str) -> bytes:
    """The content of a gzip file, or the bytes as they are.

    Raises:
        ContractError: The gzip stream is truncated, damaged or larger than MAX_BYTES, or a `.gz` is no gzip.
    """
    mend = "fetch the file again; a newer delivery of the same name takes its place"
    if data[:2] != b"\x1f\x8b":
        if file.endswith(".gz") or not data:
            raise ContractError(asked=f"read {file}", found=f"{len(data)} bytes that are no gzip" if data else "0 bytes", mend=mend)
        return data
    zlib = _inflater()
    out: list[bytes] = []
    size, rest = 0, data
    while rest:
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            try:
                out.append(stream.decompress(rest, min(_PIECE, MAX_BYTES - size + 1)))
            except zlib.error as error:
                raise ContractError(asked=f"unpack {file} ({len(data)} bytes)", found=f"damaged gzip: {error}", mend=mend) from error
            rest = stream.unconsumed_tail
            size += len(out[-1])
            if size > MAX_BYTES or (size >= _PIECE and size > _MOST_TIMES * (len(data) - len(rest) - len(stream.unused_data))):
                found = f"more than {MAX_BYTES} bytes" if size > MAX_BYTES else f"more than {_MOST_TIMES} bytes for each one: a bomb"
                raise ContractError(asked=f"unpack {file} ({len(data)} bytes)", found=found, mend="split the file")
            if not rest and not stream.eof and not out[-1]:
                raise ContractError(asked=f"unpack {file} ({len(data)} bytes)", found="a truncated gzip", mend=mend)
        rest = stream.unused_data.lstrip(b"\0")
    return b"".join(out) if len(out) > 1 else out[0]
