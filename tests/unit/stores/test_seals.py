from pipeline.contracts.provenance import digest_bytes
from pipeline.stores.seals import fits, is_whole, make_seal


def test_a_seal_fits_what_was_there_what_comes_and_nothing_else() -> None:
    seal = make_seal(digest_bytes(b"old"), digest_bytes(b"new"))
    assert is_whole(seal)
    assert [fits(seal, data) for data in (b"old", b"new", b"other")] == [True, True, False]


def test_every_flipped_bit_and_every_cut_of_a_seal_is_found_and_so_is_a_seal_without_its_own_digest() -> None:
    seal = make_seal(digest_bytes(b"old"), digest_bytes(b"new"))
    for bit in range(8 * len(seal)):
        bent = bytearray(seal)
        bent[bit // 8] ^= 1 << bit % 8
        assert not is_whole(bytes(bent)), bit
    assert not any(is_whole(seal[:end]) for end in range(len(seal)))
    assert not is_whole(digest_bytes(b"new").encode())
