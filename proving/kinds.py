"""The registered kinds of proof: number, name, circuit and parameters.

A kind's number is part of its key's digest and of every proof header, and is never reused. A module that
owns a circuit registers nothing at import; it exports a `ProofKind`, and the table below lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from proving.backends.port import Backend
from proving.stark.air import Air
from proving.stark.parameters import ProofParameters
from proving.stark.setup import ProvingKey, make_proving_key
from schemas.errors import ParameterError


@dataclass(frozen=True, slots=True)
class ProofKind:
    """One kind of proof.

    Attributes:
        number: Unique, 1 or more.
        name: Such as `segment_s`.
        level: Level of INTERFACES: `window`, `shard_epoch`, `shard_hour`, `epoch` or `day`.
        make_air: Builds the circuit.
        parameters: Settings of the proof system.
    """

    number: int
    name: str
    level: str
    make_air: Callable[[], Air]
    parameters: ProofParameters

    def proving_key(self, backend: Backend) -> ProvingKey:
        """Builds the kind's key from source; seconds for a large circuit, so callers keep it."""
        return make_proving_key(self.number, self.make_air(), self.parameters, backend)


@dataclass(frozen=True)
class KindTable:
    """Kinds by number and by name.

    Attributes:
        kinds: In registration order.
    """

    kinds: tuple[ProofKind, ...]

    def __post_init__(self) -> None:
        """Checks that numbers and names are unique.

        Raises:
            ParameterError: They are not, or a number is below 1.
        """
        numbers = {kind.number for kind in self.kinds}
        names = {kind.name for kind in self.kinds}
        if (
            len(numbers) != len(self.kinds)
            or len(names) != len(self.kinds)
            or min(numbers, default=1) < 1
        ):
            raise ParameterError("kinds of proof need unique names and unique numbers from 1")

    @cached_property
    def by_name(self) -> dict[str, ProofKind]:
        """Kinds by name."""
        return {kind.name: kind for kind in self.kinds}

    @cached_property
    def by_number(self) -> dict[int, ProofKind]:
        """Kinds by number."""
        return {kind.number: kind for kind in self.kinds}


def kind_table(kinds: Iterable[ProofKind]) -> KindTable:
    """Collects kinds.

    Raises:
        ParameterError: Numbers or names clash.
    """
    return KindTable(tuple(kinds))
