from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.reference import ReferenceBackend
from proving.kinds import encode_cap, kind_named, proving_key, registered_kinds, verifying_key
from schemas.errors import InvariantError, ParameterError

SEGMENT_DIGEST = "d8d0004d9eae02769c54d56b3dca7d572e56c814df33cc7632a52c3c2503d50f"


def test_the_segment_is_kind_one_of_the_window_level_and_its_key_is_pinned() -> None:
    kind = registered_kinds().by_number[1]
    key = verifying_key("segment_s", NumpyHasher())
    assert (kind.name, kind.level, kind.key_digest) == ("segment_s", "window", SEGMENT_DIGEST)
    assert (key.digest_hex, key.log_height) == (SEGMENT_DIGEST, 12)
    assert key.proven_bits >= 100


def test_the_stored_cap_is_the_one_that_the_circuit_gives() -> None:
    made = proving_key("segment_s", ReferenceBackend()).verifying_key
    stored = verifying_key("segment_s", NumpyHasher())
    assert made.digest == stored.digest
    assert np.array_equal(made.preprocessed_cap, stored.preprocessed_cap)


def test_a_cap_with_one_changed_element_has_another_digest_and_is_refused() -> None:
    cap = verifying_key("segment_s", NumpyHasher()).preprocessed_cap.copy()
    cap[3, 5] ^= 1
    with pytest.raises(InvariantError, match="is pinned"):
        kind_named("segment_s").verifying_key(cap, NumpyHasher())


def test_changed_parameters_are_another_key() -> None:
    kind = kind_named("segment_s")
    weaker = replace(kind, parameters=replace(kind.parameters, num_queries=54))
    with pytest.raises(InvariantError, match="is pinned"):
        weaker.verifying_key(
            verifying_key("segment_s", NumpyHasher()).preprocessed_cap, NumpyHasher()
        )


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ParameterError, match="'segment_l'"):
        kind_named("segment_l")


def test_a_key_file_has_one_digest_per_line() -> None:
    text = encode_cap(np.arange(16, dtype=np.uint32).reshape(2, 8))
    assert text.splitlines() == [
        '{"preprocessed_cap": [[0, 1, 2, 3, 4, 5, 6, 7],',
        "[8, 9, 10, 11, 12, 13, 14, 15]]}",
    ]
