"""The prover's reading of its own openings is the verifier's."""

from __future__ import annotations

import numpy as np
import pytest

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.backends.cpu import CpuBackend
from proving.backends.port import Backend
from proving.backends.reference import ReferenceBackend
from proving.stark.challenge_field import Extension, unstack
from proving.stark.claim import TOTAL_DEGREE, claimed_constraints
from proving.stark.key import VerifyingKey
from proving.stark.protocol import LookupValues, OpenedValues, combined_constraints
from tests.suites.backend_laws import field_array
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.proofs import Circuit, proving_key


def _drawn(key: VerifyingKey, seed: int) -> tuple[OpenedValues, list[int], LookupValues | None]:
    """Values that no trace has: nothing vanishes, so every constraint counts."""
    layout = key.system.layout
    sizes = (
        *(layout.fixed, layout.main, layout.lookup, 2 * EXTENSION_DEGREE),
        *(layout.main_next, layout.lookup_next),
    )
    blocks = [unstack(field_array(seed + n, size, 5)) for n, size in enumerate(sizes)]
    publics = field_array(seed, layout.publics).tolist()
    drawn = unstack(field_array(seed + 9, 2 + layout.beta_powers // EXTENSION_DEGREE, 5))
    lookup = LookupValues(drawn[0], tuple(drawn[2:]), drawn[1]) if layout.lookup else None
    return OpenedValues(*blocks), publics, lookup


@pytest.mark.parametrize("backend", [ReferenceBackend(), CpuBackend()], ids=lambda one: one.name)
@pytest.mark.parametrize("air", [Fibonacci(), Exchange(), Exchange(4)])
def test_prover_and_verifier_read_the_same_out_of_any_openings(
    air: Circuit, backend: Backend
) -> None:
    key = proving_key(air).verifying_key
    for seed in range(3):
        opened, publics, lookup = _drawn(key, seed)
        challenge, point = (Extension(tuple(row)) for row in field_array(seed, 2, 5).tolist())
        expected = combined_constraints(
            key, opened, publics, lookup, challenge=challenge, point=point
        )
        shown = claimed_constraints(
            backend, key.system, opened, publics, lookup, challenge=challenge, point=point
        )
        assert shown == expected
        assert shown != Extension.of(0)


@pytest.mark.parametrize("air", [Fibonacci(), Exchange(), Exchange(4)])
def test_the_points_suffice_for_the_program_s_degree(air: Circuit) -> None:
    system = proving_key(air).verifying_key.system
    layout = system.layout
    degrees = np.ones(system.program.num_inputs, dtype=int)
    columns = layout.fixed + layout.main + layout.main_next + layout.lookup + layout.lookup_next
    degrees[columns : columns + layout.publics] = 0
    degrees[columns + layout.publics + layout.selectors :] = 0
    assert max(system.program.degrees(degrees.tolist())) <= TOTAL_DEGREE
