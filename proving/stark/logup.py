"""LogUp: bus messages become fractions whose sum over the whole proof is zero.

A message v on bus b with multiplicity m (sends positive, receives negative) contributes
m / (alpha - (b + sum_j beta^(j+1) v_j)) in the degree-5 extension. A helper column holds the sum of two
fractions of one row, h * d1 * d2 = m1 * d2 + m2 * d1. One more column s runs cyclically:
s(next) = s + sum h + T / N, where T is the sum of the verifier's own messages. Summed over all N rows this
says that all fractions and T add up to zero; no value claimed by the prover takes part.
Source: proving/README.md "Lookups".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import Symbol
from proving.stark.air import Bus, Interaction, PublicMessage
from proving.stark.coordinates import add, multiply, scale, subtract
from proving.stark.soundness import MAX_PUBLIC_MESSAGES
from schemas.errors import ParameterError

Coordinates = list[Symbol]


@dataclass(frozen=True, slots=True)
class LookupChallenges:
    """What the lookup constraints draw on, as symbols of the program being traced.

    Attributes:
        alpha: Five coordinates.
        beta_powers: beta^1, beta^2, ... as five coordinates each, up to the widest message.
        share: The verifier's own sum divided by the number of rows, five coordinates.
    """

    alpha: Coordinates
    beta_powers: list[Coordinates]
    share: Coordinates


def helper_groups(interactions: Sequence[Interaction]) -> list[tuple[Interaction, ...]]:
    """Pairs interactions in declaration order; an odd last one stands alone."""
    return [tuple(interactions[i : i + 2]) for i in range(0, len(interactions), 2)]


def denominator(interaction: Interaction, challenges: LookupChallenges) -> Coordinates:
    """Returns alpha minus the fingerprint of the message on its bus."""
    result = list(challenges.alpha)
    result[0] = result[0] - interaction.bus.number
    for value, power in zip(interaction.values, challenges.beta_powers, strict=False):
        result = subtract(result, [coordinate * value for coordinate in power])
    return result


def group_fraction(
    group: tuple[Interaction, ...], challenges: LookupChallenges
) -> tuple[Coordinates | list[Symbol | int], Coordinates]:
    """Returns numerator and denominator of the sum of a helper column's fractions."""
    bottoms = [denominator(interaction, challenges) for interaction in group]
    tops = [_signed(interaction) for interaction in group]
    if len(group) == 1:
        return [tops[0], 0, 0, 0, 0], bottoms[0]
    numerator = add(scale(bottoms[1], tops[0]), scale(bottoms[0], tops[1]))
    return numerator, multiply(bottoms[0], bottoms[1])


def lookup_constraints(
    groups: Sequence[tuple[Interaction, ...]],
    challenges: LookupChallenges,
    helpers: Sequence[Coordinates],
    running: Coordinates,
    running_next: Coordinates,
) -> list[tuple[str, Symbol | int]]:
    """Returns the lookup constraints as named base-field expressions, five per helper and five more."""
    claims: list[tuple[str, Symbol | int]] = []
    step = subtract(subtract(running_next, running), challenges.share)
    for number, (group, helper) in enumerate(zip(groups, helpers, strict=True)):
        numerator, bottom = group_fraction(group, challenges)
        for k, (left, right) in enumerate(zip(multiply(helper, bottom), numerator, strict=True)):
            claims.append((f"lookup {number}.{k}", left - right))
        step = subtract(step, helper)
    claims += [(f"lookup sum.{k}", step[k]) for k in range(EXTENSION_DEGREE)]
    return claims


def check_buses(interactions: Sequence[Interaction], log_height: int) -> dict[int, Bus]:
    """Returns the buses by number after checking that tuples cannot be confused or overflow.

    Raises:
        ParameterError: Two buses share a number or a name, a number is outside 1..P-1, or so many
            messages fit that a count could wrap around the characteristic.
    """
    buses: dict[int, Bus] = {}
    names: dict[str, Bus] = {}
    for interaction in interactions:
        bus = interaction.bus
        if not 1 <= bus.number < P:
            raise ParameterError(f"bus {bus.name} has number {bus.number}, must be within 1..P-1")
        if bus.width < 1:
            raise ParameterError(f"bus {bus.name} carries no values")
        if buses.setdefault(bus.number, bus) != bus or names.setdefault(bus.name, bus) != bus:
            raise ParameterError(
                f"two different buses are numbered {bus.number} or named {bus.name}"
            )
    copies = sum(
        max(1, abs(interaction.multiplicity)) if isinstance(interaction.multiplicity, int) else 1
        for interaction in interactions
    )
    if copies * 2**log_height + MAX_PUBLIC_MESSAGES >= P:
        raise ParameterError(f"{copies} messages a row on 2^{log_height} rows may wrap around P")
    return buses


def check_public_messages(messages: Sequence[PublicMessage], buses: dict[int, Bus]) -> str | None:
    """Returns what is wrong with the verifier's own messages, or None."""
    if len(messages) > MAX_PUBLIC_MESSAGES:
        return f"{len(messages)} public messages, at most {MAX_PUBLIC_MESSAGES}"
    for message in messages:
        if buses.get(message.bus.number) != message.bus:
            return f"a public message on the unknown bus {message.bus.name}"
        if len(message.values) != message.bus.width:
            return f"{len(message.values)} values on {message.bus.name}, width {message.bus.width}"
    return None


def _signed(interaction: Interaction) -> Symbol | int:
    return interaction.multiplicity if interaction.sign == 1 else 0 - interaction.multiplicity
