"""The permutation against its frozen vectors, and its evaluations against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2 import (
    BLOCK_STATES,
    FEW_STATES,
    NumpyHasher,
    permutation_program,
    permute,
    permute_columns,
)
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    INTERNAL_DIAGONAL,
    external_layer,
    internal_layer,
    permute_integers,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "poseidon2_koalabear_16.json").read_text()
)
ANSWERS: list[dict[str, list[int]]] = VECTORS["known_answers"]


def test_constants_are_those_of_the_vectors() -> None:
    external = [*VECTORS["external_initial"], *VECTORS["external_final"]]
    assert [list(row) for row in EXTERNAL_CONSTANTS] == external
    assert list(INTERNAL_CONSTANTS) == VECTORS["internal"]
    assert list(INTERNAL_DIAGONAL) == VECTORS["internal_diagonal_v"]
    assert VECTORS["prime"] == P


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_evaluation_gives_the_known_answer(answer: dict[str, list[int]]) -> None:
    given = answer["input"]
    state = np.array([given], dtype=np.uint32)
    many = np.repeat(state, FEW_STATES + 1, axis=0)
    expected = answer["output"]
    assert permute_integers(given) == expected
    assert permutation_program().evaluate_integers(given) == expected
    assert NumpyHasher().permute(state).tolist() == [expected]
    assert permute(many).tolist() == [expected] * len(many)
    assert permute_columns(many.T.astype(np.uint64)).T.tolist() == [expected] * len(many)


def test_the_layers_are_the_matrices_of_the_specification() -> None:
    block = [[2, 3, 1, 1], [1, 2, 3, 1], [1, 1, 2, 3], [3, 1, 1, 2]]
    external = np.kron(np.ones((4, 4), dtype=int) + np.eye(4, dtype=int), block)
    internal = np.ones((16, 16), dtype=object) + np.diag(np.array(INTERNAL_DIAGONAL, dtype=object))
    for unit in np.eye(PERMUTATION_WIDTH, dtype=int):
        assert external_layer(unit.tolist()) == (external @ unit).tolist()
        assert internal_layer(unit.tolist()) == (internal @ unit).tolist()


@pytest.mark.parametrize("count", [0, 1, FEW_STATES, FEW_STATES + 1, BLOCK_STATES + 3])
def test_batches_of_any_size_are_permuted_row_by_row(count: int) -> None:
    rng = np.random.default_rng(count)
    states = rng.integers(0, P, (count, PERMUTATION_WIDTH), dtype=np.uint32)
    states[: count // 2, ::3] = P - 1
    before = states.copy()
    shown = permute(states)
    chosen = sorted({*range(min(count, 12)), *range(max(count - 4, 0), count)})
    assert shown.shape == states.shape
    assert shown.dtype == np.uint32
    assert shown[chosen].tolist() == [permute_integers(states[i].tolist()) for i in chosen]
    assert (states == before).all()
