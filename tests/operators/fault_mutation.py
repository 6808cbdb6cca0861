"""Random good blocks, and random changes to evidence: of bytes, of fields, and of parts taken from other evidence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields, replace

from operators.block_payload import LinkEntry
from schemas.errors import EclipticaError
from schemas.fault import (
    CLAIMS,
    ArrayOpening,
    Evidence,
    OpenedState,
    StateOpening,
    TransactionFault,
    decode_evidence,
    encode_evidence,
)
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction
from schemas.units import MODULUS, word_bytes, word_elements
from tests.operators.fault_cases import (
    CHAIN,
    GENESIS,
    SHARD,
    Shard,
    outbound,
    register,
    transfer,
)


def random_entries(
    rng: random.Random, shard: Shard, slot: int, count: int
) -> tuple[list[Transaction], list[LinkEntry]]:
    """Returns transactions and received words that are valid one after the other."""
    ledger = shard.ledger
    nonces = {index: ledger.account(index).nonce for index in range(ledger.num_keys)}
    wanted: list[Transaction] = []
    keys = ledger.num_keys
    for _ in range(count):
        sender = rng.randrange(16, ledger.num_keys)
        other = rng.randrange(16, keys + 2)
        amount = rng.choice((0, 1, rng.randrange(10**9), 10**11))
        kind = rng.randrange(6)
        nonce = nonces[0 if kind == 0 else sender]
        if kind == 0:
            wanted.append(register(keys + rng.randrange(2), nonce))
            keys += 1
        elif kind == 1:
            wanted.append(outbound(sender, other, amount, nonce))
        else:
            wanted.append(transfer(sender, other, amount, nonce))
        nonces[0 if kind == 0 else sender] += 1
    received = [
        LinkEntry(1, rng.randrange(16, 60), rng.randrange(16, keys + 3), rng.randrange(10**6), i)
        for i in range(rng.randrange(3))
    ]
    inbound = [entry.inbound(CHAIN, SHARD) for entry in received]
    branch = ledger.branch()
    window = GENESIS.window_of(slot)
    effects = branch.execute_block([*inbound, *wanted], ledger.height + 1, slot, window)
    accepted = [place - len(inbound) for place in effects.accepted]
    return [wanted[place] for place in accepted if place >= 0], received


def mutated(rng: random.Random, seeds: Sequence[Evidence]) -> tuple[bytes, bytes]:
    """Returns evidence changed at random, after bytes from which its claim can be made: itself, if it can be read."""
    whole = rng.choice(seeds)
    data = encode_evidence(whole)
    if rng.random() < 0.3:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return _readable(bytes(changed), data)
    for _ in range(rng.choice((1, 1, 2))):
        whole = _changed(rng, whole, rng.choice(seeds))
    try:
        return _readable(encode_evidence(whole), data)
    except EclipticaError:
        return data, data + b"\0"


def _readable(changed: bytes, data: bytes) -> tuple[bytes, bytes]:
    try:
        decode_evidence(changed)
    except EclipticaError:
        return data, changed
    return changed, changed


def _changed(rng: random.Random, evidence: Evidence, other: Evidence) -> Evidence:
    """Returns evidence with one field taken from elsewhere or changed."""
    names = [field.name for field in fields(evidence) if field.name != "accused"]
    name = rng.choice(names)
    if type(other) is type(evidence) and rng.random() < 0.3:
        return replace(evidence, **{name: getattr(other, name)})
    value = getattr(evidence, name)
    if name == "claim":
        group = RejectionReason if isinstance(evidence, TransactionFault) else CLAIMS.values()
        return replace(evidence, claim=rng.choice(list(group)))  # type: ignore[arg-type]
    if name == "state" and isinstance(evidence, TransactionFault):
        return replace(evidence, state=rng.choice(list(OpenedState)))
    return replace(evidence, **{name: _value(rng, value)})  # type: ignore[arg-type]


def _value(rng: random.Random, value: object) -> object:
    if isinstance(value, int):
        return max(0, value + rng.choice((-1, 1, 7, -value)))
    if isinstance(value, bytes):
        return _bytes(rng, value)
    if isinstance(value, tuple):
        return _tuple(rng, value)
    if isinstance(value, StateOpening | ArrayOpening):
        name = rng.choice([field.name for field in fields(value)])
        return replace(value, **{name: _value(rng, getattr(value, name))})  # type: ignore[arg-type]
    if hasattr(value, "public_key"):
        name = rng.choice(("index", "address", "public_key"))
        return replace(value, **{name: _value(rng, getattr(value, name))})  # type: ignore[type-var]
    return value


def _bytes(rng: random.Random, value: bytes) -> bytes:
    if len(value) == 32 and rng.random() < 0.8:
        elements = list(word_elements(value))
        place = rng.randrange(8)
        elements[place] = (elements[place] + rng.choice((-1, 1, 1 << 8))) % MODULUS
        return word_bytes(tuple(elements))
    changed = bytearray(value)
    if changed:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _tuple(rng: random.Random, value: tuple[object, ...]) -> tuple[object, ...]:
    if not value:
        return value
    items = list(value)
    place = rng.randrange(len(items))
    if isinstance(items[0], int):  # a cell: its index or its word
        items[place] = _value(rng, items[place])
        return tuple(items)
    action = rng.randrange(4)
    if action == 0:
        del items[place]
    elif action == 1:
        items.insert(place, items[rng.randrange(len(items))])
    else:
        items[place] = _value(rng, items[place])
    return tuple(items)
