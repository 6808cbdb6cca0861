"""The verifier's own messages with the public inputs left open, so that a circuit can compute them.

An AIR's `public_messages` may only copy public inputs and constants into messages; then one call with
all-different probes says which value is which input.
"""

from __future__ import annotations

from dataclasses import dataclass

from proving.stark.air import Air
from proving.stark.system import PROBE


class PublicPlace(int):
    """Number of a public input."""


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """One message.

    Attributes:
        bus: Number of its bus.
        multiplicity: How often it is sent, signed.
        values: Constants and places of public inputs.
    """

    bus: int
    multiplicity: int
    values: tuple[int | PublicPlace, ...]


def public_templates(air: Air) -> list[MessageTemplate]:
    """Returns an AIR's own messages; see the module's text for what it must keep to."""
    probes = range(PROBE, PROBE + air.num_publics)
    return [
        MessageTemplate(
            message.bus.number,
            message.multiplicity,
            tuple(
                PublicPlace(value - PROBE) if value in probes else value for value in message.values
            ),
        )
        for message in air.public_messages(probes)
    ]
