"""Buses: fractions, limits on counts and widths, and the verifier's own messages."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import trace_program
from proving.stark.air import Bus, Interaction, PublicMessage, Row
from proving.stark.challenge_field import Extension, powers
from proving.stark.logup import check_buses, check_public_messages, helper_groups
from proving.stark.lookup_columns import helper_program
from proving.stark.protocol import public_sum
from proving.stark.soundness import MAX_PUBLIC_MESSAGES
from proving.stark.system import compile_air
from schemas.errors import ParameterError
from tests.suites.circuits import NOTE, PAIR, Exchange


def _message(name: str, bus: Bus, multiplicity: int = 1) -> Interaction:
    return Interaction(name, bus, 1, multiplicity, (0,) * bus.width)


def test_interactions_are_paired_in_order_and_an_odd_one_stands_alone() -> None:
    messages = [_message(str(i), NOTE) for i in range(5)]
    names = [[message.name for message in group] for group in helper_groups(messages)]
    assert names == [["0", "1"], ["2", "3"], ["4"]]


def test_multiplicities_cannot_wrap_around_the_characteristic() -> None:
    """SOUNDNESS 1 item 19: at the limit the counts fit, one message more and they might not."""
    limit = (P - 1 - MAX_PUBLIC_MESSAGES) // 2**24
    fits = [_message(str(i), NOTE) for i in range(limit)]
    assert check_buses(fits, 24) == {NOTE.number: NOTE}
    with pytest.raises(ParameterError, match="wrap around"):
        check_buses([*fits, _message("more", NOTE)], 24)
    with pytest.raises(ParameterError, match="wrap around"):
        check_buses([_message("weighty", NOTE, limit + 1)], 24)


@pytest.mark.parametrize(
    "other",
    [Bus("other", PAIR.number, 2), Bus("pair", 9, 2), Bus("pair", PAIR.number, 3)],
    ids=["same number", "same name", "another width"],
)
def test_buses_that_could_be_confused_are_refused(other: Bus) -> None:
    """SOUNDNESS 1 item 21: one number, one name, one width."""
    with pytest.raises(ParameterError, match="two different buses"):
        check_buses([_message("a", PAIR), _message("b", other)], 5)


@pytest.mark.parametrize("number", [0, -1, P, P + 2])
def test_a_bus_number_outside_the_field_is_refused(number: int) -> None:
    with pytest.raises(ParameterError, match="has number"):
        check_buses([_message("a", Bus("odd", number, 1))], 5)


def test_a_bus_without_values_is_refused() -> None:
    with pytest.raises(ParameterError, match="no values"):
        check_buses([_message("a", Bus("empty", 4, 0))], 5)


def test_public_messages_must_be_on_known_buses_with_their_width_and_number() -> None:
    buses = {PAIR.number: PAIR, NOTE.number: NOTE}
    good = PublicMessage(PAIR, 1, (1, 2))
    assert check_public_messages([good], buses) is None
    assert check_public_messages([good] * MAX_PUBLIC_MESSAGES, buses) is None
    assert "4097" in str(check_public_messages([good] * (MAX_PUBLIC_MESSAGES + 1), buses))
    assert "unknown bus" in str(check_public_messages([good], {NOTE.number: NOTE}))
    assert "width 2" in str(check_public_messages([replace(good, values=(1,))], buses))


def test_the_public_sum_is_the_sum_of_fractions_of_fingerprints() -> None:
    """Hand-computed in the base field: alpha = 1000, beta = 10."""
    alpha, beta = Extension.of(1000), Extension.of(10)
    messages = [PublicMessage(PAIR, 3, (4, 5)), PublicMessage(NOTE, -2, (7,))]
    expected = Fraction(3, 1000 - (2 + 40 + 500)) - Fraction(2, 1000 - (3 + 70))
    total = public_sum(messages, alpha, list(powers(beta, 3))[1:])
    assert total == Extension.of(expected.numerator * pow(expected.denominator, -1, P))


def test_equal_values_on_two_buses_have_different_fingerprints() -> None:
    """SOUNDNESS 1 item 21: a message (a) on one bus does not cancel (a, 0) or (a) on another."""
    beta_powers = list(powers(Extension((1, 2, 3, 4, 5)), 3))[1:]
    alpha = Extension((9, 8, 7, 6, 5))
    one = PublicMessage(NOTE, 1, (7,))
    for other in (PublicMessage(PAIR, -1, (7, 0)), PublicMessage(Bus("x", 4, 1), -1, (7,))):
        assert public_sum([one, other], alpha, beta_powers) != Extension.of(0)


def test_messages_of_too_high_a_degree_are_refused_by_name() -> None:
    class Steep(Exchange):
        def constraints(self, row: Row) -> None:
            row.send("steep", NOTE, 1, [row.local[0] * row.local[1]])

    with pytest.raises(ParameterError, match=r"'steep' .* degree 2"):
        compile_air(Steep())


def test_helper_columns_and_degrees_of_a_circuit_are_measured() -> None:
    system = compile_air(Exchange())
    assert (system.num_groups, system.num_interactions, system.message_width) == (3, 5, 2)
    assert system.degree == 3
    assert (
        system.layout.main_next == 8
    )  # the last column read there is 6, and whole words are opened
    assert system.layout.lookup_next == 8
    assert len(system.names) == 11 + 5 * (3 + 1)
    assert system.layout.lookup == 5 * 4


def test_helpers_are_numerators_over_denominators_and_a_zero_denominator_shows() -> None:
    """Two groups whose fractions are the inputs: what a proof's lookup columns are made with."""
    rng, degree = random.Random(5), EXTENSION_DEGREE  # noqa: S311 - reproducible draws, not secrets
    program = helper_program(trace_program("given", 4 * degree, list))
    given = [rng.randrange(1, P) for _ in range(program.num_inputs)]
    shown = program.evaluate_integers(given)
    parts = [Extension(tuple(given[i : i + degree])) for i in range(0, len(given), degree)]
    helpers = [parts[k] * parts[k + 1].inverse() for k in (0, 2)]
    expected = [*(helpers[0] + helpers[1]).coordinates]
    expected += [*helpers[0].coordinates, *helpers[1].coordinates]
    assert shown[:-1] == expected
    assert shown[-1]
    for bottom in (1, 3):
        broken = list(given)
        broken[bottom * degree : (bottom + 1) * degree] = [0] * degree
        assert program.evaluate_integers(broken)[-1] == 0
