"""Who gets what is slashed: reporter, burn, the users' losses, the insurance pool; the waterfall of a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.exact_split import share, split
from schemas.economics import FraudTerms


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A slash divided: reward + burned + from_bond + to_pool = slashed, and refunds sum to from_bond + from_pool.

    Attributes:
        reward: To the reporter.
        burned: Burned.
        from_bond: Refunds that the slash pays.
        from_pool: Refunds that the pool pays.
        to_pool: What is left, to the pool.
        refunds: To each loser, none above his loss.
    """

    reward: int
    burned: int
    from_bond: int
    from_pool: int
    to_pool: int
    refunds: tuple[int, ...]


def waterfall(slashed: int, pool: int, losses: Sequence[int], terms: FraudTerms) -> Waterfall:
    """Divides what is slashed.

    Reporter and burn come first. Losses are refunded from the rest, then by the pool, which adds at most
    `cover_permille` of what was slashed; if that is less than all losses, pro rata.

    Args:
        slashed: Units slashed, >= 0.
        pool: Units in the insurance pool, >= 0.
        losses: Units lost by each user, > 0 each.
        terms: The shares.
    """
    reward = share(slashed, terms.reporter_permille)
    burned = share(slashed, terms.burned_permille)
    rest = slashed - reward - burned
    due = sum(losses)
    from_bond = min(due, rest)
    from_pool = min(due - from_bond, pool, share(slashed, terms.cover_permille))
    refunds = split(from_bond + from_pool, losses)
    return Waterfall(reward, burned, from_bond, from_pool, rest - from_bond, refunds)
