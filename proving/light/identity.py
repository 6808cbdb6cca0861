"""The constraint identity at the out-of-domain point: the program that prover and native verifier run, as data.

An operation says whether its operands are challenge-field elements or base elements, since most products have a base
element on one side. Source: proving/README.md "Constraints", "Lookups" and "Quotient".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from proving.light.errors import ProofRejected
from proving.light.field import (
    DEGREE,
    GENERATOR,
    ONE,
    ZERO,
    Element,
    P,
    add,
    inverses,
    multiply,
    power,
    powers,
    reduce,
    root_of_unity,
    scale,
    subtract,
)
from proving.light.key import LightKey, PublicMessage


class Operation(IntEnum):
    """What a node does; `E` stands for an element of the challenge field, `B` for a base element."""

    ADD_EE = 0
    ADD_EB = 1
    ADD_BB = 2
    SUB_EE = 3
    SUB_EB = 4
    SUB_BE = 5
    SUB_BB = 6
    MUL_EE = 7
    MUL_EB = 8
    MUL_BB = 9


NARROW = frozenset({Operation.ADD_BB, Operation.SUB_BB, Operation.MUL_BB})
"""Operations whose result is a base element."""


class LookupValues(NamedTuple):
    """Lookup challenges and the verifier's own share.

    Attributes:
        alpha: Shift of the fingerprints.
        beta_powers: beta^1, beta^2, ...
        share: The verifier's own sum divided by the number of rows.
    """

    alpha: Element
    beta_powers: list[Element]
    share: Element


def lookup_values(
    key: LightKey, publics: Sequence[int], alpha: Element, beta: Element
) -> LookupValues:
    """Sums the verifier's own messages.

    Raises:
        ProofRejected: A denominator vanishes.
    """
    beta_powers = powers(beta, key.message_width + 1)[1:]
    bottoms = [_denominator(message, publics, alpha, beta_powers) for message in key.messages]
    try:
        inverted = inverses(bottoms)
    except ZeroDivisionError as error:
        where = "public messages"
        raise ProofRejected("lookup_denominator_zero", where, "nonzero", 0) from error
    total = ZERO
    for message, fraction in zip(key.messages, inverted, strict=True):
        total = add(total, scale(fraction, message.multiplicity))
    return LookupValues(alpha, beta_powers, reduce(scale(total, pow(2**key.log_height, -1, P))))


def _denominator(
    message: PublicMessage, publics: Sequence[int], alpha: Element, beta_powers: Sequence[Element]
) -> Element:
    bottom = subtract(alpha, (message.bus, 0, 0, 0, 0))
    for (is_public, value), factor in zip(message.values, beta_powers, strict=False):
        bottom = subtract(bottom, scale(factor, publics[value] if is_public else value))
    return reduce(bottom)


def require_point_outside(key: LightKey, point: Element) -> None:
    """Refuses a point on the trace domain or on the evaluation coset.

    Raises:
        ProofRejected: It lies on one.
    """
    unshifted = reduce(scale(point, pow(GENERATOR, -1, P)))
    if ONE in (power(point, 2**key.log_height), power(unshifted, 2**key.log_size)):
        raise ProofRejected("point_in_domain", "openings", "a point outside", point)


def check_identity(
    key: LightKey,
    opened: dict[str, list[Element]],
    publics: Sequence[int],
    lookup: LookupValues,
    *,
    challenge: Element,
    point: Element,
) -> None:
    """Checks that the combined constraints are the quotient times x^N - 1 at the point.

    Raises:
        ProofRejected: They are not.
    """
    raised = power(point, 2**key.log_height)
    vanishing = subtract(raised, ONE)
    last = pow(root_of_unity(key.log_height), -1, P)
    from_last = subtract(point, (last, 0, 0, 0, 0))
    at_first, at_last = inverses([subtract(point, ONE), from_last])
    columns: list[Element] = []
    for name in ("fixed", "main", "main_next", "lookup", "lookup_next"):
        columns += opened[name]
    selectors = [multiply(vanishing, at_first), multiply(vanishing, at_last), from_last]
    narrow = [*publics]
    for element in (lookup.alpha, *lookup.beta_powers, lookup.share):
        narrow += element
    narrow += key.constants
    left = ZERO
    for value in reversed(evaluate(key, [*columns, *selectors], narrow)):
        left = add(multiply(left, challenge), value)
    left = reduce(left)
    right = multiply(_quotient(opened["quotient"], raised), vanishing)
    if left != right:
        raise ProofRejected("constraints_not_satisfied", "openings", left, right)


def _quotient(chunks: Sequence[Element], raised: Element) -> Element:
    """Returns low + x^N high from the openings of their coordinates: sum_k X^k (low_k + x^N high_k)."""
    total = ZERO
    for low, high in zip(reversed(chunks[:DEGREE]), reversed(chunks[DEGREE:]), strict=True):
        total = add(multiply(total, (0, 1, 0, 0, 0)), add(low, multiply(raised, high)))
    return reduce(total)


def evaluate(key: LightKey, wide: list[Element], narrow: list[int]) -> list[Element]:
    """Runs the constraint program.

    Args:
        key: Has the program.
        wide: Its inputs in the challenge field; takes the results in it.
        narrow: Its inputs and constants in the base field; takes the results in it.
    """
    put = wide.append
    for code, left, right in key.nodes:
        if (
            code == 8
        ):  # MUL_EB; the codes are written out because looking them up takes as long as the work
            a0, a1, a2, a3, a4 = wide[left]
            b = narrow[right]
            put((a0 * b, a1 * b, a2 * b, a3 * b, a4 * b))
        elif code == 7:  # MUL_EE
            put(multiply(wide[left], wide[right]))
        elif code == 3:  # SUB_EE
            put(subtract(wide[left], wide[right]))
        elif code == 0:  # ADD_EE
            put(add(wide[left], wide[right]))
        elif code in NARROW:
            narrow.append(_narrow(code, narrow[left], narrow[right]))
        elif code == Operation.SUB_BE:
            put(subtract((narrow[left], 0, 0, 0, 0), wide[right]))
        else:
            sign = 1 if code == Operation.ADD_EB else -1
            put(add(wide[left], (sign * narrow[right], 0, 0, 0, 0)))
    return [wide[place] for place in key.outputs]


def _narrow(code: int, a: int, b: int) -> int:
    if code == Operation.ADD_BB:
        return (a + b) % P
    return (a - b) % P if code == Operation.SUB_BB else a * b % P
