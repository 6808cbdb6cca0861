"""A false trace of any circuit, and how circuits are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.stark.air import Air, FieldArray
from proving.stark.trace_check import TraceChecker


@dataclass(frozen=True, slots=True)
class ForgedTrace:
    """A false trace.

    Attributes:
        claim: The constraint or message that it breaks.
        missing: What a circuit must lack to accept it: the claim, or the bus that the message is on.
        air: The circuit that it is a trace of.
        trace: (num_main, height) residues.
        publics: Public inputs.
    """

    claim: str
    missing: str
    air: Air
    trace: FieldArray
    publics: list[int]


def claims_of(air: Air) -> tuple[list[str], list[str]]:
    """Returns the names of a circuit's constraints and of its messages."""
    check = TraceChecker(air)
    return [c.name for c in check.constraints], [i.name for i in check.interactions]


def values_at_random(check: TraceChecker, inputs: Sequence[int]) -> dict[str, list[int]]:
    """Returns what every claim is at a point: name with domain or bus -> its values.

    Args:
        check: The circuit's claims.
        inputs: Preprocessed columns, main columns, those of the next row, public inputs.
    """
    values = check.program.evaluate_integers(inputs)
    claims = {
        f"{c.name} on {c.domain}": [v] for c, v in zip(check.constraints, values, strict=False)
    }
    place = len(check.constraints)
    for interaction in check.interactions:
        end = place + 1 + interaction.bus.width
        claims[f"{interaction.name} on {interaction.bus}"] = [interaction.sign, *values[place:end]]
        place = end
    return claims
