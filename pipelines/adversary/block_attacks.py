"""Attacks on validators and provers: false blocks, signatures and witnesses, by aim.

Each returns what it was refused by, or None if it was accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from operators.proof_chain import follows
from operators.proof_worker import process_backend
from pipelines.account_keys import KeyRing
from pipelines.adversary.honest_traffic import ACCOUNTS, Base
from pipelines.adversary.ledger_edits import AIR, checker
from pipelines.adversary.ledger_traffic import issue, transfer
from proving.errors import ProofRejected, ProvingError
from proving.ledger.rules import Account
from proving.ledger.trace import build_trace, check_statement
from proving.ledger.witness import SegmentWitness
from proving.signatures import KeyPair, verify_many
from schemas.statement import DIGEST_OFFSET
from schemas.transactions import (
    SIGNATURE_CONTEXT,
    SUPPORTED_KINDS,
    Transaction,
    TransactionKind,
)
from schemas.units import (
    AMOUNT_LIMIT,
    FEE_LIMIT,
    FEE_UNIT,
    FIRST_ACCOUNT,
    MODULUS,
    SUPPLY_CAP,
    word_bytes,
    word_elements,
)

BlockAttack = Callable[[Base, random.Random], str | None]


def _judge(given: Base, *bodies: Transaction) -> str | None:
    """Executes a block above honest traffic as a validator does; the last transaction must be refused."""
    ledger = given.after.branch()
    effects = ledger.execute_block(bodies, ledger.height + 1, ledger.slot + 1, 0)
    reasons = dict(effects.rejected)
    held = sum(ledger.account(index).balance for index in range(ledger.num_keys))
    if held != SUPPLY_CAP:
        return None  # money came or went
    reason = reasons.get(len(bodies) - 1)
    return None if reason is None else str(reason)


def _user(rng: random.Random) -> int:
    return FIRST_ACCOUNT + rng.randrange(ACCOUNTS)


def _body(given: Base, rng: random.Random, **fields: Any) -> Transaction:
    sender = fields.pop("sender", _user(rng))
    nonce = given.after.account(sender).nonce
    body = transfer(sender, _user(rng), rng.randrange(1000), nonce, expiry=1000)
    return replace(body, **fields)


def amount_that_overflows(given: Base, rng: random.Random) -> str | None:
    """Amount and fee together pass 2^60, 2^64 or P."""
    fee = rng.choice((1000, FEE_LIMIT - 1, rng.randrange(1000, FEE_LIMIT)))
    near = rng.choice((AMOUNT_LIMIT - 1, AMOUNT_LIMIT - fee * FEE_UNIT, AMOUNT_LIMIT // 2 * 2 - 1))
    return _judge(given, _body(given, rng, amount=max(near, SUPPLY_CAP // 2 + 1), fee=fee))


def amount_out_of_range(given: Base, rng: random.Random) -> str | None:
    """Numbers that no transaction may hold."""
    field, value = rng.choice(
        (
            ("amount", AMOUNT_LIMIT + rng.randrange(2**62)),
            ("amount", -1 - rng.randrange(2**60)),
            ("fee", FEE_LIMIT + rng.randrange(2**20)),
            ("fee", -1 - rng.randrange(2**30)),
            ("recipient", MODULUS + _user(rng)),
            ("sender", MODULUS + _user(rng)),
        )
    )
    return _judge(given, _body(given, rng, **{field: value}))


def issue_by_anyone(given: Base, rng: random.Random) -> str | None:
    """An account issues."""
    kind = int(TransactionKind.ISSUE)
    return _judge(given, replace(_body(given, rng), kind=TransactionKind(kind)))


def issue_of_too_much(given: Base, rng: random.Random) -> str | None:
    """The issuer issues more than is left."""
    left = given.after.account(0)
    amount = min(left.balance + 1 + rng.randrange(2**40), AMOUNT_LIMIT - 1)
    return _judge(given, issue(_user(rng), amount, left.nonce))


def kind_of_the_block(given: Base, rng: random.Random) -> str | None:
    """A user sends a closing entry, what only another shard may send, or a kind that is not built."""
    kinds = [kind for kind in TransactionKind if kind not in SUPPORTED_KINDS]
    return _judge(given, replace(_body(given, rng), kind=rng.choice(kinds)))


def richer_witness(given: Base, rng: random.Random) -> str | None:
    """A witness opens an account at a balance that it has not."""
    witness = given.witness
    place = rng.randrange(len(witness.accounts))
    index, word = witness.accounts[place]
    elements = list(word_elements(word))
    elements[rng.randrange(4)] = rng.randrange(2**15)
    if word_bytes(tuple(elements)) == word:
        elements[0] ^= 1
    accounts = list(witness.accounts)
    accounts[place] = (index, word_bytes(tuple(elements)))
    return _prove(replace(witness, accounts=tuple(accounts)))


def richer_end(given: Base, rng: random.Random) -> str | None:
    """A statement ends at roots that the witness does not lead to."""
    statement = given.witness.statement
    roots = list(statement.after.roots)
    place = rng.choice((0, 1, 8))
    roots[place] = rng.choice([root for root in statement.before.roots if root != roots[place]])
    after = replace(statement.after, roots=tuple(roots))
    return _prove(replace(given.witness, statement=replace(statement, after=after)))


def reserved_payer(given: Base, rng: random.Random) -> str | None:
    """A reserved cell pays."""
    return _judge(given, _body(given, rng, sender=rng.randrange(1, FIRST_ACCOUNT)))


def overdraft_block(given: Base, rng: random.Random) -> str | None:
    """An account pays more than it has, alone or after another payment."""
    sender = _user(rng)
    account = given.after.account(sender)
    spent = _body(given, rng, sender=sender, amount=rng.randrange(1 + account.balance // 2))
    left = account.balance - spent.amount - spent.fee * FEE_UNIT
    more = replace(spent, nonce=spent.nonce + 1, amount=min(left + 1, AMOUNT_LIMIT - 1))
    alone = replace(spent, amount=min(account.balance + 1, AMOUNT_LIMIT - 1))
    if left < 0 or rng.random() < 0.5:
        return _judge(given, alone)
    return _judge(given, spent, more) if spent.recipient != sender else _judge(given, alone)


def forged_signature(given: Base, rng: random.Random) -> str | None:
    """A transaction of an account whose signature is not of its key over these bytes."""
    victim, thief = _pairs()
    body = _body(given, rng).body()
    other = _body(given, rng, amount=10**6 + rng.randrange(10**6)).body()
    good = victim.sign(body, SIGNATURE_CONTEXT)
    flipped = bytearray(good)
    flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
    signature = rng.choice(
        (
            thief.sign(body, SIGNATURE_CONTEXT),
            victim.sign(other, SIGNATURE_CONTEXT),
            victim.sign(body, b"another context"),
            bytes(flipped),
            bytes(len(good)),
            good[:-1],
            rng.randbytes(len(good)),
        )
    )
    accepted = verify_many([victim.public_key], [body], [signature], SIGNATURE_CONTEXT)[0]
    return None if accepted else "bad_signature"


@cache
def _pairs() -> tuple[KeyPair, KeyPair]:
    ring = KeyRing(1)
    return ring.pair(b"victim"), ring.pair(b"thief")


def replayed(given: Base, rng: random.Random) -> str | None:
    """A transaction comes again: from the past, or twice in a block, or with another recipient."""
    paid = [
        body
        for block in given.blocks
        for body in block.transactions
        if body.kind is TransactionKind.TRANSFER
    ]
    if rng.random() < 0.5:
        return _judge(given, replace(rng.choice(paid), expiry=1000))
    body = _body(given, rng, amount=0)
    again = replace(body, recipient=_user(rng), amount=rng.randrange(10))
    return _judge(given, body, rng.choice((body, again)))


def wrong_nonce(given: Base, rng: random.Random) -> str | None:
    """A nonce that is not the next one."""
    body = _body(given, rng)
    numbers = [n for n in (body.nonce + 1, body.nonce - 1, MODULUS, 2**30 - 1, 2**30) if n >= 0]
    return _judge(given, replace(body, nonce=rng.choice(numbers)))


def expired_block(given: Base, rng: random.Random) -> str | None:
    """A transaction whose slot has passed, or lies too far ahead."""
    slot = given.after.slot + 1
    return _judge(given, _body(given, rng, expiry=rng.choice((slot - 1, 0, slot + 2**15))))


def repeated_segment(given: Base, rng: random.Random) -> str | None:
    """A proven segment is offered once more where it led to."""
    statement = given.witness.statement
    again = replace(statement, segment=rng.randrange(1, 9))
    return None if follows(again, statement.after) else "does_not_follow"


def digest_of_another(given: Base, rng: random.Random) -> str | None:
    """Public inputs whose digest is another statement's."""
    publics = list(given.publics)
    place = DIGEST_OFFSET + rng.randrange(8)
    publics[place] = (publics[place] + rng.randrange(1, MODULUS)) % MODULUS
    try:
        check_statement(publics, process_backend())
    except ProofRejected as error:
        return error.reason.value
    return None


def spent_account(given: Base, rng: random.Random) -> str | None:
    """A witness resets the nonce of an account, so that a payment can come again."""
    witness = given.witness
    index = witness.accounts[0][0]
    nonce = given.after.account(index).nonce + rng.randrange(5)
    accounts = ((index, Account(SUPPLY_CAP, nonce + 1).word()), *witness.accounts[1:])
    return _prove(replace(witness, accounts=accounts))


def _prove(witness: SegmentWitness) -> str | None:
    """Makes the trace of a witness as a prover does; if that works, the circuit must refuse it."""
    try:
        trace, publics = build_trace(AIR, witness, process_backend())
    except ProvingError:
        return "proving_error"
    report = checker(AIR).check(trace, publics)
    return None if report.holds else "circuit"


BLOCK_ATTACKS: Mapping[str, tuple[BlockAttack, ...]] = {
    "inflate": (
        amount_that_overflows,
        amount_out_of_range,
        issue_by_anyone,
        issue_of_too_much,
        kind_of_the_block,
        richer_witness,
        richer_end,
    ),
    "theft": (
        reserved_payer,
        overdraft_block,
        forged_signature,
        amount_out_of_range,
        richer_witness,
    ),
    "double-spend": (
        replayed,
        wrong_nonce,
        expired_block,
        repeated_segment,
        digest_of_another,
        spent_account,
    ),
}
"""Attacks by aim."""
