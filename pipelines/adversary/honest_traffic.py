"""Honest random traffic that attacks start from: a window from genesis that fits one segment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_edits import AIR, start
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_traffic import (
    ISSUER_KEY,
    PARAMETERS,
    arrival,
    issue,
    random_transaction,
    register,
    send,
    transfer,
)
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.trace import build_trace
from proving.ledger.witness import SegmentWitness
from proving.stark.air import FieldArray
from schemas.transactions import Transaction
from schemas.units import FIRST_ACCOUNT

ACCOUNTS = 4
EXTRA = 6
"""Random transactions of the base, beside the transfers that every base has."""


@dataclass(frozen=True, slots=True)
class Base:
    """Honest traffic from genesis that fits one segment.

    Attributes:
        blocks: Its blocks.
        witness: Of the one segment.
        trace: Honest main trace.
        publics: Honest public inputs.
        after: The ledger behind it.
    """

    blocks: tuple[Block, ...]
    witness: SegmentWitness
    trace: FieldArray
    publics: list[int]
    after: Ledger

    def forgery(self) -> Forgery:
        """Starts a forgery of it."""
        return Forgery(AIR, self.trace, self.publics, start())


def fresh() -> Ledger:
    """Returns the ledger that every base starts from."""
    return genesis_ledger(PARAMETERS, process_backend(), ISSUER_KEY)


@cache
def base(seed: str) -> Base:
    """Returns the honest traffic of a seed."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, no secret
    ledger = fresh()
    users = range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS)
    bodies: list[Transaction] = [register(2 + i, i) for i in range(ACCOUNTS)]
    bodies += [issue(user, rng.randrange(2**40, 2**57), 4 + i) for i, user in enumerate(users)]
    blocks = [_block(ledger, bodies)]
    for _ in range(2):
        sender, recipient = rng.sample(users, 2)
        nonce = ledger.account(sender).nonce
        bodies = [transfer(sender, recipient, rng.randrange(2**39), nonce)]
        bodies.append(send(sender, recipient, rng.randrange(2**39), nonce + 1, peer=2))
        bodies.append(arrival(40, rng.choice((recipient, 99)), rng.randrange(2**39), nonce, 0))
        bodies += [random_transaction(rng, ledger) for _ in range(rng.randrange(EXTRA // 2 + 1))]
        blocks.append(_block(ledger, bodies))
    (witness,) = cut_window(fresh(), blocks, 0, AIR.layout)
    trace, publics = build_trace(AIR, witness, process_backend())
    return Base(tuple(blocks), witness, trace, publics, ledger)


def _block(ledger: Ledger, bodies: list[Transaction]) -> Block:
    height, slot = ledger.height + 1, ledger.slot + 2
    effects = ledger.execute_block(bodies, height, slot, 0)
    return Block(height, slot, 0, tuple(bodies[place] for place in effects.accepted))
