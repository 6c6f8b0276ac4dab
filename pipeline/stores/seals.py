"""What seals say: the digests of what may lie under a key, and of themselves, so that a flipped bit in either is found."""

from __future__ import annotations

from pipeline.contracts.provenance import digest_bytes


def make_seal(*digests: str) -> bytes:
    """A seal of content with one of these digests, one a line; the last line is the digest of those before."""
    said = "\n".join(digests).encode()
    return said + b"\n" + digest_bytes(said).encode()


def is_whole(seal: bytes) -> bool:
    """Whether a seal is as it was made."""
    said, _, check = seal.rpartition(b"\n")
    return digest_bytes(said).encode() == check


def fits(seal: bytes, data: bytes) -> bool:
    """Whether a whole seal is one of this content."""
    return digest_bytes(data).encode() in seal.split(b"\n")[:-1]
