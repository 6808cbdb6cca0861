"""The example of `schemas/README.md`, run as it stands there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.admission import Admission
from operators.event_log import StoredRecord
from operators.record_input import input_of
from pipelines.account_keys import issuer_pair, seed_key
from pipelines.forge import Forge, index_of
from proving.signatures import KeyPair
from schemas.config import AdmissionConfig
from schemas.genesis import Genesis, encode_key
from schemas.tables import TRANSACTIONS, SchemaRegistry

README = Path(__file__).resolve().parents[2] / "schemas" / "README.md"
SEED = 4
NOW = 1_000_000
SENDER = KeyPair.from_seed(seed_key(SEED, b"sender"))
GENESIS = Genesis(
    chain=7,
    shards=1,
    slot_micros=1_000_000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=NOW - 10_000,
    issuer=encode_key(issuer_pair(SEED).public_key),
    validators=(encode_key(issuer_pair(SEED).public_key),),
)


def example() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own document
    return names


def test_the_example_uses_nothing_of_ours() -> None:
    modules = {value.__name__ for value in example().values() if isinstance(value, type(time))}
    assert modules == {"struct", pa.__name__}


def test_what_the_example_makes_is_admitted() -> None:
    names = example()
    forge = Forge(GENESIS.chain, 0, SEED, 1_000)
    first = [forge.register(0, b"a" * 20, SENDER.public_key), forge.issue(1, 0, 10**12)]
    body = names["transfer"](
        chain=7,
        shard=0,
        sender=index_of(0),
        recipient=index_of(0),
        amount=5,
        fee=1_000,
        nonce=0,
        expiry=900,
    )
    bodies = [*(one.body for one in first), body]
    signatures = [*(one.signature for one in first), SENDER.sign(body, names["CONTEXT"])]
    headers, value = names["record"](bodies, signatures, [NOW] * 3)
    stored = StoredRecord("tx.0", 0, 0, NOW, value, tuple(headers.items()))
    stage = Admission(GENESIS, 0, AdmissionConfig())
    _, outputs = stage.step(
        stage.initial(), [input_of(stored, TRANSACTIONS, SchemaRegistry())], NOW
    )
    assert [(output.topic, len(output.rows)) for output in outputs] == [("admitted.0", 1)]
    assert outputs[0].rows[0]["verdicts"] == bytes([0b111])
