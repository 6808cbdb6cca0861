from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.reference import ReferenceBackend
from proving.kinds import encode_cap, kind_named, proving_key, registered_kinds, verifying_key
from proving.ledger.air import LedgerAir
from proving.stark.soundness import MINIMUM_PROVEN_BITS, CircuitShape, proven_bits
from proving.stark.trace_check import TraceChecker
from schemas.errors import InvariantError, ParameterError

SEGMENT_DIGEST = "fb63a834fe231472b28b4518b9151748f64e602112285a0e9e236d2552d2f054"


def test_the_segment_is_kind_one_of_the_window_level_and_its_key_is_pinned() -> None:
    kind = registered_kinds().by_number[1]
    key = verifying_key("segment_s", NumpyHasher())
    assert (kind.name, kind.level, kind.key_digest) == ("segment_s", "window", SEGMENT_DIGEST)
    assert (key.digest_hex, key.log_height) == (SEGMENT_DIGEST, 12)
    assert key.proven_bits >= 100


@pytest.mark.parametrize("name", registered_kinds().by_name)
def test_every_registered_kind_is_pinned_and_proves_what_the_policy_asks(name: str) -> None:
    kind, key = kind_named(name), verifying_key(name, NumpyHasher())
    assert kind.key_digest == key.digest_hex
    assert key.proven_bits >= MINIMUM_PROVEN_BITS
    assert key.proven_bits == proven_bits(kind.parameters, key.shape)


def test_the_calculator_is_given_what_the_segment_circuit_has() -> None:
    """Counted here from the circuit: claims, columns per opened point, messages, the widest of them."""
    air, key = LedgerAir(), verifying_key("segment_s", NumpyHasher())
    program = TraceChecker(air)
    helpers = 5 * ((len(program.interactions) + 1) // 2 + 1)
    constraints = len(program.constraints) + helpers
    rows = (air.num_fixed, air.num_main, helpers, 2 * 5)  # opened at the point, in whole words
    at_next = 40 + 8  # 35 main columns are read at the next row, and the running sum
    widest = max(interaction.bus.width for interaction in program.interactions)
    assert key.shape == CircuitShape(
        12,
        3,
        constraints,
        sum(-(-width // 8) * 8 for width in rows) + at_next,
        len(program.interactions),
        widest,
    )
    assert key.shape == CircuitShape(12, 3, 527, 624, 43, 24)
    assert key.proven_bits == 101


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
