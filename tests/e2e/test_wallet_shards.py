"""`wallet send --to-shard` and its receipts, by the commands themselves, on the log of a chain of two shards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from operators import log_memory
from operators.topic_view import TopicView
from pipelines.cli.main import main
from pipelines.key_store import load_key
from pipelines.wallet import read_receipt
from pipelines.wallet_crossing import Crossing, CrossingState, linked_blocks
from schemas.receipt import ReceiptState
from schemas.tables import RECEIPTS, REJECTED, Table
from tests.e2e.test_shards import ROLES, arrived, two_shards
from tests.suites.mini_chain import MiniChain

NAME = "wallet-shards"


@dataclass
class Town:
    """A chain and the commands of its users.

    Attributes:
        chain: Two shards.
        capture: What the commands have printed.
    """

    chain: MiniChain
    capture: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> tuple[int, str, str]:
        self.capture.readouterr()
        place = ["--data", str(self.chain.data), "--log", f"memory://{NAME}"]
        code = main([*arguments, *place])
        captured = self.capture.readouterr()
        return code, captured.out, captured.err

    def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = self.call("wallet", *arguments, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def refused(self, *arguments: str) -> str:
        code, out, err = self.call("wallet", *arguments)
        assert (code, out) == (2, "")
        return err

    def settle(self, *digests: str) -> None:
        """Runs the chain until transactions are final."""
        view, wanted = TopicView(self.chain.log()), {bytes.fromhex(one) for one in digests}

        def is_final() -> bool:
            assert not list(view.rows("rejected", REJECTED))
            rows = view.rows("receipts", RECEIPTS)
            final = {row["digest"] for row in rows if row["state"] == ReceiptState.BFT_FINAL}
            return wanted <= final

        self.chain.run_until(is_final, 10)

    def wait_for(self, count: int, shard: int) -> None:
        self.chain.run_until(lambda: arrived(self.chain, shard) == count, 20)

    def receipt(self, digest: str) -> dict[str, Any]:
        return self.json("receipt", digest)


@pytest.fixture
def town(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Town]:
    """Alice has 100 on shard 0, bob is registered on shard 1."""
    chain = MiniChain(tmp_path / "data", two_shards(), now=time.time_ns() // 1_000_000)
    monkeypatch.setattr(log_memory, "_STORES", {NAME: chain.store})
    chain.start(*ROLES)
    made = Town(chain, capsys)
    alice = made.json("new", "alice", "--register-with", "issuer")
    bob = made.json("new", "bob", "--register-with", "issuer", "--shard", "1")
    made.settle(alice["registration"]["digest"], bob["registration"]["digest"])
    made.settle(made.json("send", "issuer", alice["wallet"]["address"], "100")["digest"])
    yield made
    chain.close()


class Disputed(TopicView):
    """A log whose blocks of shard 1 have certificates that do not hold, from a height on."""

    height = 0

    def rows(self, topic: str, table: Table, start: int = 0) -> Iterator[Mapping[str, Any]]:
        for row in super().rows(topic, table, start):
            if topic == "blocks.1" and row["height"] >= self.height:
                signed = bytes(row["certificate"])
                yield {**row, "certificate": signed[:-1] + bytes([signed[-1] ^ 1])}
            else:
                yield row


def test_a_transfer_to_another_shard_is_credited_or_comes_back(town: Town) -> None:
    chain, bob = town.chain, "0x" + load_key(town.chain.data, "bob").address.hex()
    paid = town.json("send", "alice", bob, "1.5", "--to-shard", "1")
    lost = town.json("send", "alice", "999", "2", "--to-shard", "1")
    assert [
        (one["topic"], one["recipient"], one["recipient_shard"], one["nonce"])
        for one in (paid, lost)
    ] == [
        ("tx.0", 16, 1, 0),
        ("tx.0", 999, 1, 1),
    ]
    assert town.receipt(paid["digest"])["crossing"] is None
    town.settle(paid["digest"], lost["digest"])
    on_the_way = {"to_shard": 1, "state": "on_the_way", "delivered": None, "returned": None}
    assert town.receipt(paid["digest"])["crossing"] == on_the_way
    town.wait_for(2, shard=1)
    found = town.receipt(paid["digest"])
    (block,) = (
        one for one in linked_blocks(TopicView(chain.log()), chain.genesis, 1) if one.received
    )
    delivered = {
        "shard": 1,
        "height": block.height,
        "epoch": chain.genesis.epoch_of(chain.genesis.window_of(block.slot)),
        "at_millis": chain.genesis.start_millis + block.slot * 50,
    }
    assert delivered["epoch"] > found["epoch"]
    assert found["crossing"] == {
        "to_shard": 1, "state": "credited", "delivered": delivered, "returned": None,
    }  # fmt: skip
    town.wait_for(1, shard=0)
    back = town.receipt(lost["digest"])["crossing"]
    assert (back["state"], back["delivered"]) == ("sent_back", delivered)
    assert back["returned"]["shard"] == 0
    assert back["returned"]["epoch"] > delivered["epoch"]
    code, text, _ = town.call("wallet", "receipt", lost["digest"])
    assert code == 0
    assert "sent_back" in text
    assert str(back["returned"]["height"]) in text
    disputed = Disputed(chain.log())
    disputed.height = block.height
    told = read_receipt(disputed, chain.genesis, paid["digest"]).crossing
    assert told == Crossing(1, CrossingState.ON_THE_WAY), "only certified blocks are believed"


def test_shards_that_cannot_be_paid_are_refused_by_name(town: Town) -> None:
    for arguments, message in (
        (("send", "alice", "16", "1", "--to-shard", "2"), "this chain has no shard 2"),
        (("send", "alice", "16", "1", "--to-shard", "0"), "shard 0 is the paying account's own"),
        (("send", "alice", "16", "1", "--shard", "5"), "this chain has no shard 5"),
        (("send", "alice", "16", "1", "--shard", "1"), "'alice' is not registered on shard 1"),
        (("send", "issuer", "16", "1", "--to-shard", "1"), "the issuer issues on one shard"),
        (
            ("send", "alice", "0x" + "ab" * 20, "1", "--to-shard", "1"),
            f"no account is registered for 0x{'ab' * 20} on shard 1",
        ),
        (("receipt", "ab" * 32, "--shard", "2"), "this chain has no shard 2"),
        (("new", "carol", "--register-with", "issuer", "--shard", "2"), "no shard 2"),
    ):
        assert message in town.refused(*arguments)
