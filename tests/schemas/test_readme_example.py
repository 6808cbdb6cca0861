"""The example of schemas/README.md is run as it stands, and its transaction is admitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from operators.admission import Admission
from operators.event_log import EventLog, Record, open_log
from operators.stage_driver import open_driver
from operators.topic_view import TopicView
from pipelines.account_keys import issuer_pair
from pipelines.forge import Forge, index_of
from proving.ledger.rules import PUBLIC_FEE
from schemas.config import AdmissionConfig
from schemas.genesis import Genesis, encode_key
from schemas.tables import ADMITTED, REJECTED, TRANSACTIONS, encode
from schemas.topics import all_topics
from schemas.transactions import Transaction, TransactionKind

README = Path(__file__).resolve().parents[2] / "schemas" / "README.md"
SEED = 11
NOW = 1_800_000_000_000
EXPIRY = 1_000
GENESIS = Genesis(
    chain=3,
    shards=1,
    slot_micros=1_000_000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=NOW,
    issuer=encode_key(issuer_pair(SEED).public_key),
    validators=(encode_key(issuer_pair(SEED).public_key),),
)
KEYS = [MLDSA44PrivateKey.from_seed_bytes(bytes([name]) * 32) for name in (1, 2)]


def example() -> dict[str, Any]:
    """Runs the document's blocks of Python and returns what they define."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)  # noqa: S102 - our own document
    return names


def send_genesis(log: EventLog) -> None:
    """Registers two accounts and funds the first, as the issuer does."""
    forge = Forge(GENESIS.chain, 0, SEED, EXPIRY)
    signed = [
        forge.register(place, bytes([place]) * 20, key.public_key().public_bytes_raw())
        for place, key in enumerate(KEYS)
    ]
    signed.append(forge.issue(2, 0, 10**12))
    rows = [
        {"body": one.body, "signature": one.signature, "submitted_millis": NOW} for one in signed
    ]
    headers, value = encode(TRANSACTIONS, TRANSACTIONS.batch(rows))
    log.append("tx.0", [Record(value, headers)])


def admitted_by(log: EventLog, folder: Path) -> tuple[list[bytes], list[str]]:
    """Runs admission over the log and returns the verdicts and the reasons of refusal."""
    driver = open_driver(Admission(GENESIS, 0, AdmissionConfig()), log, folder, GENESIS.chain)
    while driver.run_once(0.0, NOW):
        pass
    view = TopicView(log)
    verdicts = [row["verdicts"] for row in view.rows("admitted.0", ADMITTED)]
    return verdicts, [row["reason"] for row in view.rows("rejected", REJECTED)]


def test_the_example_uses_nothing_of_ours_but_for_the_embedded_log() -> None:
    first, second = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    imports = re.compile(r"^(?:import|from) (\S+)", re.MULTILINE)
    assert imports.findall(first) == ["struct", "pyarrow"]
    assert imports.findall(second) == ["operators.event_log"]


def test_the_examples_body_is_the_canonical_one() -> None:
    body = example()["transfer"](3, 0, 16, 17, 5, 1000, 0, 99)
    assert body == Transaction(TransactionKind.TRANSFER, 3, 0, 16, 17, 5, 1000, 0, 99).body()


@pytest.mark.parametrize(("nonce", "verdict", "reasons"), [(0, 1, []), (1, 0, ["nonce_gap"])])
def test_what_the_example_appends_is_judged_like_our_own(
    tmp_path: Path, nonce: int, verdict: int, reasons: list[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    names = example()
    with open_log(url) as log:
        log.create_topics(dict.fromkeys(all_topics(1), 1))
        send_genesis(log)
        body = names["transfer"](
            GENESIS.chain, 0, index_of(0), index_of(1), 7, PUBLIC_FEE, nonce, EXPIRY
        )
        signature = KEYS[0].sign(body, names["CONTEXT"])
        names["append"](url, 0, *names["record"]([body], [signature], [NOW]))
        assert admitted_by(log, tmp_path) == ([b"\x07", bytes([verdict])], reasons)
