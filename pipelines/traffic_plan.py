"""Plans synthetic traffic: who pays whom how much, and which transactions are wrong in which way.

Everything is drawn from one seeded generator of the standard library, so a seed gives the same plan
again. A valid transfer spends only what its sender owned before the traffic, never what it receives
during it: its verdict then does not depend on how far other senders' transfers have got.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from schemas.errors import ParameterError
from schemas.units import FIRST_ACCOUNT, INDEX_LIMIT
from schemas.workload import AmountDistribution, Amounts, Invalidity, Workload

SENDER_DRAWS = 32
"""Draws before a sender with funds is searched for one by one."""


RETURNED_SHARE = 1 / 8
"""Share of what goes to other shards for an account that nobody has."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One transaction to make.

    Attributes:
        sender: Place of the sender in registration order.
        recipient: Place of the recipient.
        amount: Units.
        nonce: The sender's next nonce when the transaction is sent.
        invalid: What is to be wrong with it, or None.
        pick: A random number in [0, 2^32) for whatever else the fault needs.
    """

    sender: int
    recipient: int
    amount: int
    nonce: int
    invalid: Invalidity | None
    pick: int


@dataclass(slots=True)
class Accounts:
    """What the planner knows of the accounts, by place in registration order.

    Attributes:
        spendable: Units that an account owns for certain.
        nonces: Its next nonce.
    """

    spendable: array[int]
    nonces: array[int]

    def add(self, funding: int) -> None:
        """Appends an account."""
        self.spendable.append(funding)
        self.nonces.append(0)

    def debit(self, place: int, units: int) -> None:
        """Books a valid transaction of an account."""
        self.spendable[place] -= units
        self.nonces[place] += 1


def no_accounts() -> Accounts:
    """Returns an empty set of accounts."""
    return Accounts(array("q"), array("q"))


@dataclass(frozen=True, slots=True)
class Routes:
    """Which planned transfers go to another shard.

    Attributes:
        shards: Shards of the chain.
        shard: The one that sends.
        workload: Says how many go, and how many accounts each other shard has.
    """

    shards: int
    shard: int
    workload: Workload

    def destination(self, planned: Planned) -> tuple[int, int] | None:
        """Returns (shard, account index) of a transfer that leaves, None for one that stays.

        The choice is the plan's own random number, so that a plan is the same for every number of shards.
        """
        draw = random.Random(planned.pick)  # noqa: S311 - reproducible draws, not secrets
        if self.shards < 2 or draw.random() >= self.workload.cross_shard:
            return None
        peer = (self.shard + 1 + draw.randrange(self.shards - 1)) % self.shards
        if not self.workload.accounts or draw.random() < RETURNED_SHARE:
            return peer, INDEX_LIMIT - 1
        return peer, FIRST_ACCOUNT + draw.randrange(self.workload.accounts)


class ZipfSampler:
    """Draws places with probability proportional to rank^-exponent; ranks are a random permutation."""

    def __init__(self, count: int, exponent: float, rng: random.Random) -> None:
        self._places = list(range(count))
        rng.shuffle(self._places)
        weights = (rank**-exponent for rank in range(1, count + 1))
        self._cumulated = array("d", accumulate(weights))
        self._rng = rng

    def draw(self) -> int:
        """Returns a place."""
        at = bisect_right(self._cumulated, self._rng.random() * self._cumulated[-1])
        return self._places[min(at, len(self._places) - 1)]


def plan_traffic(
    workload: Workload, accounts: Accounts, count: int, fee_units: int, rng: random.Random
) -> Iterator[Planned]:
    """Yields `count` transactions and books the valid ones on `accounts`.

    Raises:
        ParameterError: There are fewer than two accounts, or none can pay for another transfer.
    """
    if len(accounts.nonces) < 2:
        raise ParameterError("traffic needs at least two accounts", "set accounts in the workload")
    senders = ZipfSampler(len(accounts.nonces), workload.sender_exponent, rng)
    recipients = ZipfSampler(len(accounts.nonces), workload.recipient_exponent, rng)
    kinds = list(workload.invalid)
    edges = list(accumulate(workload.invalid[kind] for kind in kinds))
    valid = 0
    for _ in range(count):
        at = bisect_right(edges, rng.random())
        invalid = kinds[at] if at < len(kinds) else None
        if invalid is Invalidity.REPLAY and not valid:
            invalid = None  # nothing was sent yet that could be sent again
        needed = fee_units + workload.amounts.minimum
        sender = _solvent(senders, accounts, needed)  # an invalid one has one fault, not two
        recipient = recipients.draw()
        while recipient == sender:
            recipient = recipients.draw()
        amount = _amount(workload.amounts, accounts.spendable[sender] - fee_units, rng)
        nonce = accounts.nonces[sender]
        if invalid is None:
            accounts.debit(sender, amount + fee_units)
            valid += 1
        yield Planned(sender, recipient, amount, nonce, invalid, rng.getrandbits(32))


def _solvent(senders: ZipfSampler, accounts: Accounts, needed: int) -> int:
    for _ in range(SENDER_DRAWS):
        place = senders.draw()
        if accounts.spendable[place] >= needed:
            return place
    for place, owned in enumerate(accounts.spendable):
        if owned >= needed:
            return place
    raise ParameterError(
        f"no account has the {needed} units that another transfer needs",
        "raise funding in the workload or lower --count",
    )


def _amount(amounts: Amounts, owned: int, rng: random.Random) -> int:
    """An amount of the workload's range, no more than `owned` unless that is below the minimum."""
    low = amounts.minimum
    high = max(low, min(amounts.maximum, owned))
    if amounts.distribution is AmountDistribution.UNIFORM:
        return rng.randint(low, high)
    bits = rng.randint((low + 1).bit_length(), (high + 1).bit_length())
    return rng.randint(max(low, (1 << (bits - 1)) - 1), min(high, (1 << bits) - 2))
