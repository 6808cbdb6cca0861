"""Which forgeries are known of a circuit, whatever circuit it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.adversary.forged_trace import ForgedTrace
from pipelines.adversary.ledger_bites import IMPLIED
from pipelines.adversary.ledger_claims import (
    FULL_LANE,
    forged_trace,
    is_shown_implied,
    same_claims,
    small_instance,
)
from pipelines.adversary.recursion_claims import (
    forged_recursion,
    same_recursion_claims,
    small_program,
)
from proving.ledger.air import LedgerAir
from proving.recursion.air import RecursionAir
from proving.stark.air import Air


class ClaimBook(Protocol):
    """Forgeries of one circuit."""

    @property
    def instance(self) -> str:
        """On which circuit they are made."""
        ...

    def same_claims(self, seed: int) -> bool:
        """Whether that circuit claims the same as the one that the book is of."""
        ...

    def implied(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the claims that no trace breaks alone, shown to follow from the others, with the reason."""
        ...

    def forge(self, name: str) -> ForgedTrace:
        """Returns the forgery of a claim.

        Raises:
            ParameterError: None is known.
        """
        ...


@dataclass(frozen=True, slots=True)
class LedgerBook:
    """Forgeries of a ledger circuit."""

    air: LedgerAir

    @property
    def instance(self) -> str:
        """See `ClaimBook`."""
        return f"{small_instance(self._lanes).name}; {FULL_LANE} on one of 2^5 rows"

    @property
    def _lanes(self) -> int:
        return len(self.air.layout.nodes)

    def same_claims(self, seed: int) -> bool:
        """See `ClaimBook`."""
        return same_claims(self.air, small_instance(self._lanes), seed)

    def implied(self, names: Sequence[str]) -> dict[str, str]:
        """See `ClaimBook`."""
        return {name: IMPLIED[name] for name in names if is_shown_implied(name)}

    def forge(self, name: str) -> ForgedTrace:
        """See `ClaimBook`."""
        return forged_trace(name, self._lanes)


@dataclass(frozen=True, slots=True)
class RecursionBook:
    """Forgeries of the recursion circuit, whatever program it runs."""

    air: RecursionAir

    @property
    def instance(self) -> str:
        """See `ClaimBook`."""
        program = small_program()
        return f"{program.name}, 2^{program.log_height} rows"

    def same_claims(self, seed: int) -> bool:
        """See `ClaimBook`."""
        return same_recursion_claims(self.air, seed)

    def implied(self, names: Sequence[str]) -> dict[str, str]:
        """See `ClaimBook`."""
        return {}

    def forge(self, name: str) -> ForgedTrace:
        """See `ClaimBook`."""
        return forged_recursion(name)


def book_of(air: Air) -> ClaimBook | None:
    """Returns the forgeries known of a circuit; None if nobody wrote any."""
    if isinstance(air, LedgerAir):
        return LedgerBook(air)
    return RecursionBook(air) if isinstance(air, RecursionAir) else None
