import hashlib

import numpy as np

from pipeline.cube.tokens import hashed_tokens


def bucket(word: str, buckets: int) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") % buckets


def test_a_word_falls_into_the_bucket_of_its_blake2b() -> None:
    count, token = hashed_tokens(["Rain, RAIN and $snow"], buckets=1000, words=1, longest=9)
    assert count.tolist() == [4]
    assert token.tolist() == [bucket(w, 1000) for w in ("rain", "rain", "and", "$snow")]


def test_sequences_come_after_the_words_of_their_document_and_never_reach_into_another() -> None:
    alone, _ = hashed_tokens(["a b c"], buckets=10**6, words=3, longest=9)
    assert alone.tolist() == [6]
    count, token = hashed_tokens(["a b c", "", "a", "b c a b c"], buckets=10**6, words=3, longest=99)
    assert count.tolist() == [6, 0, 1, 5 + 4 + 3]
    first, last = token[:6].tolist(), token[7:].tolist()
    words, pairs = first[:3], first[3:5]
    assert token[6] == words[0]
    assert last[:5] == [words[1], words[2], *words]
    assert last[5:9] == [pairs[1], last[6], *pairs]
    assert last[-1] == first[5]
    assert len({*words, *pairs, first[5]}) == 6


def test_the_order_of_words_matters_to_a_sequence() -> None:
    _, token = hashed_tokens(["a b", "b a"], buckets=10**6, words=2, longest=9)
    assert token[2] != token[5]


def test_the_first_tokens_are_kept_and_case_forms_and_lines_make_no_difference() -> None:
    count, token = hashed_tokens(["x y z", "ﬁne\nday", "FINE day"], buckets=100, words=2, longest=2)
    assert count.tolist() == [2, 2, 2]
    assert token[:2].tolist() == [bucket("x", 100), bucket("y", 100)]
    assert np.array_equal(token[2:4], token[4:])


def test_no_document_has_no_token() -> None:
    for texts in ([], [""], ["..."]):
        count, token = hashed_tokens(texts, buckets=10, words=3, longest=4)
        assert count.tolist() == [0] * len(texts)
        assert len(token) == 0
