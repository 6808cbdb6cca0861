"""The light client's hashes are those of the prover."""

from __future__ import annotations

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.permutation import compress as compress_pairs
from proving.light.poseidon2 import compress, hash_words, statement_word
from proving.recursion.global_span import GlobalSpan, fold_words
from proving.recursion.span import fold_history

HASHER = NumpyHasher()
EDGES = ((0,) * 8, (P - 1,) * 8, (1, 2, 3, 4, 5, 6, 7, 8))


def words(seed: int, count: int) -> list[tuple[int, ...]]:
    drawn = np.random.default_rng(seed).integers(0, P, (count, 8))
    return [tuple(row) for row in drawn.tolist()]


@pytest.mark.parametrize("left", [*EDGES, *words(1, 3)])
@pytest.mark.parametrize("right", [*EDGES, *words(2, 3)])
def test_nodes_and_rows_are_the_provers(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    pair = np.array([[*left, *right]], dtype=np.uint32)
    assert compress(left, right) == tuple(compress_pairs(HASHER, pair)[0].tolist())
    assert hash_words(left, right) == fold_words(left, right, HASHER)
    assert hash_words(left, right, left) == fold_history(left, right, left, HASHER)
    assert len({compress(left, right), hash_words(left, right), hash_words(left, right, left)}) == 3


def test_the_statement_word_is_the_digest_of_the_proof() -> None:
    for seed in range(5):
        validators, before, after, history = words(seed, 4)
        run = GlobalSpan(2, 8, 12 * seed, 12 * seed + 12, validators, before, after, history)
        assert statement_word(run) == run.digest(HASHER)
