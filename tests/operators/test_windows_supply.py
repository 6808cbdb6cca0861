"""What the windows stage is given beside blocks, whatever stands in their record."""

from __future__ import annotations

from typing import Any

from operators.block_payload import TransactionReference, encode_payload
from operators.event_log import Record
from operators.held_transactions import hold_transactions
from operators.log_memory import MemoryLog, MemoryStore
from operators.log_schemas import registry_of
from operators.windows import WindowsState
from operators.windows_supply import WindowsSupply
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from schemas.tables import BLOCKS, encode
from schemas.topics import all_topics
from schemas.units import PUBLIC_KEY_BYTES


def block(payload: bytes) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        ("height", "slot", "view", "transactions", "proposed_millis", "certified_millis"), 0
    )
    row |= {name: bytes(32) for name in ("block_hash", "post_state_root")}
    return row | {"header": b"", "certificate": b"", "payload": payload}


def test_a_row_that_is_no_block_hides_none_behind_it() -> None:
    log = MemoryLog("memory://supply", MemoryStore())
    log.create_topics(dict.fromkeys(all_topics(1), 1))
    for number in range(4):
        log.append("tx.0", [Record(bytes([number]))])
    good = encode_payload([TransactionReference(2, 0, bytes(32))])
    headers, body = encode(BLOCKS, BLOCKS.batch([block(b"junk"), block(good)]))
    log.append("blocks.0", [Record(body, headers), Record(b"no batch", headers)])
    supply = WindowsSupply(hold_transactions(log, "windows.0", 0), registry_of(log))
    ledger = genesis_ledger(LedgerParameters(1, 0, 1, 1), NumpyHasher(), bytes(PUBLIC_KEY_BYTES))
    blocks = log.read("blocks.0", 0, 9)
    (found,) = supply(WindowsState(ledger), blocks, is_new=True)
    assert [(record.topic, record.offset) for record in found[:3]] == [
        ("tx.0", n) for n in range(3)
    ]
    assert found[3:] == blocks
