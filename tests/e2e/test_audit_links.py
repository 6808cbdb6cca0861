"""An audit names what a forger changes about deliveries in an export, however well he mends the rest."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from operators.audit import audit_export
from operators.audit_findings import Finding
from operators.block_payload import LinkEntry, decode_payload, encode_payload
from operators.export import ExportSource, export_epochs
from operators.export_files import (
    epoch_folder,
    exported_epochs,
)
from operators.topic_view import TopicView
from pipelines.chain_setup import genesis_path
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.block import header_from_bytes
from schemas.tables import BLOCKS
from tests.e2e.test_shards import FEE, ROLES, are_delivered, opening, send, two_shards
from tests.suites.forged_exports import mend_manifests, table_rows, write_rows
from tests.suites.mini_chain import MiniChain

HASHER = NumpyHasher()
Words = tuple[LinkEntry, ...]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the export of two shards, of which the first has sent two transfers to the second; nothing is proven."""
    chain = MiniChain(tmp_path_factory.mktemp("links") / "data", two_shards())
    chain.start(*ROLES)
    for shard in (0, 1):
        chain.send(opening(chain.genesis, shard), shard=shard)
    chain.send([send(chain.genesis, 0, nonce) for nonce in (0, 1)])
    chain.run_until(lambda: are_delivered(chain, "validator-0", 2), 30)
    chain.run_until(lambda: is_sealed(chain), 20)
    chain.close()
    source = ExportSource(chain.log(), genesis_path(chain.data), FEE, HASHER)
    export_epochs(source, chain.data, [0, 1])
    return chain.data


def is_sealed(chain: MiniChain) -> bool:
    """Whether both shards have a final block two epochs after the one that takes the transfers."""
    clock, view, last, arrived = chain.genesis, TopicView(chain.log()), [], 0
    for shard in (0, 1):
        rows = list(view.rows(f"blocks.{shard}", BLOCKS))
        epochs = [clock.epoch_of(clock.window_of(row["slot"])) for row in rows]
        taken = [bool(decode_payload(row["payload"]).received) for row in rows]
        arrived = max(
            [arrived, *(one for one, is_taken in zip(epochs, taken, strict=True) if is_taken)]
        )
        last.append(epochs[-1])
    return min(last) > arrived + 1


def findings(root: Path) -> dict[int, list[Finding]]:
    """Returns what an audit finds wrong, by shard, beside the proofs that were never made."""
    found: dict[int, list[Finding]] = {0: [], 1: []}
    for audit in audit_export(root, FEE, HASHER):
        found[audit.shard] += [one for one in audit.findings if one.check != "proofs"]
    return found


def delivery(root: Path) -> tuple[Path, int, int]:
    """Returns the epoch of shard 1 that takes the transfers: folder, number and height of the block."""
    for shard, epoch in exported_epochs(root, 1):
        folder = epoch_folder(root, shard, epoch)
        for row in table_rows(folder, "links"):
            if row["direction"] == "received":
                return folder, epoch, row["height"]
    pytest.fail("nothing was delivered")


def deliver(root: Path, change: Callable[[Words], Words]) -> int:
    """Rewrites the delivering block, the blocks above it, the table of links and the manifests; returns the epoch."""
    folder, epoch, height = delivery(root)
    blocks, parent = table_rows(folder, "blocks"), b""
    for row in blocks:
        header = header_from_bytes(row["header"])
        if row["height"] == height:
            content = decode_payload(row["payload"])
            received = change(content.received)
            count = header.transaction_count + len(received) - len(content.received)
            row["payload"] = encode_payload(content.references, received, content.sent)
            digest = hashlib.sha256(row["payload"]).digest()
            header = replace(header, payload_hash=digest, transaction_count=count)
        elif row["height"] > height:
            header = replace(header, parent_hash=parent)
        parent = header.block_hash()
        row |= {
            "header": header.to_bytes(),
            "block_hash": parent,
            "transactions": header.transaction_count,
        }
    links = table_rows(folder, "links")
    (first, *_) = [row for row in links if row["direction"] == "received"]
    others = [row for row in links if row["direction"] != "received"]
    words = [
        first | {"place": place, "sender": word.sender, "recipient": word.recipient,
                 "amount": word.amount, "nonce": word.nonce}
        for place, word in enumerate(received)
    ]  # fmt: skip
    write_rows(folder, "blocks", blocks)
    write_rows(folder, "links", words + others)
    mend_manifests(root, 1)
    return epoch


def copy_of(exported: Path, to: Path) -> Path:
    to.mkdir()
    shutil.copytree(exported / "epochs", to / "epochs")
    shutil.copy(exported / "genesis.json", to)
    return to


def test_a_true_export_of_two_shards_has_no_finding(exported: Path) -> None:
    assert findings(exported) == {0: [], 1: []}


EDITS: Mapping[str, tuple[Callable[[Words], Words], str]] = {
    "forged": (
        lambda words: (*words, replace(words[0], amount=10**9, nonce=2)),
        "word 2 was not sent before this epoch",
    ),
    "doubled": (lambda words: (*words, words[1]), "word 2 was not sent before this epoch"),
    "amount": (
        lambda words: (replace(words[0], amount=10**9), words[1]),
        "word 0 was not sent before this epoch",
    ),
    "omitted": (lambda words: words[:1], "1 of 2 words were taken"),
}


@pytest.mark.parametrize("edit", sorted(EDITS))
def test_a_delivery_that_was_not_made_is_named(exported: Path, tmp_path: Path, edit: str) -> None:
    root = copy_of(exported, tmp_path / "copy")
    change, told = EDITS[edit]
    epoch = deliver(root, change)
    found = findings(root)
    assert found[0] == [], "the sender's export is true"
    assert Finding("deliveries", f"epoch {epoch} from shard 0", told) in found[1]
    checks = {one.check for one in found[1]}
    assert {"certificates", "roots"} <= checks, "and no quorum has signed such a block"
    assert "files" not in checks


def test_a_sender_whose_table_denies_a_transfer_is_named(exported: Path, tmp_path: Path) -> None:
    root = copy_of(exported, tmp_path / "copy")
    for _, number in exported_epochs(root, 0):
        folder = epoch_folder(root, 0, number)
        links = table_rows(folder, "links")
        kept = [row for row in links if (row["direction"], row["place"]) != ("sent", 1)]
        if kept != links:
            write_rows(folder, "links", kept)
    mend_manifests(root, 0)
    found = findings(root)
    assert {(one.check, one.detail) for one in found[0]} == {
        ("links", "are not what the blocks take and send")
    }
    (finding,) = found[1]
    assert (finding.check, finding.detail) == (
        "deliveries",
        "word 1 was not sent before this epoch",
    )


def test_one_certificate_may_make_the_blocks_of_several_epochs_final(
    exported: Path, tmp_path: Path
) -> None:
    root = copy_of(exported, tmp_path / "copy")
    folders = [epoch_folder(root, *place) for place in exported_epochs(root, 0)]
    assert len(folders) > 2
    late = table_rows(folders[2], "certificates")[0]
    for folder in folders[:2]:
        rows = table_rows(folder, "certificates")
        write_rows(folder, "certificates", [{**late, "height": row["height"]} for row in rows])
        rows = [{**row, "certificate": late["certificate"]} for row in table_rows(folder, "blocks")]
        write_rows(folder, "blocks", rows)
    mend_manifests(root, 0)
    assert findings(root) == {0: [], 1: []}
    shutil.rmtree(folders[2])  # what they wait for may still come, but no later epoch has it
    for folder in folders[3:]:
        shutil.rmtree(folder)
    audits = [one for one in audit_export(root, FEE, HASHER) if one.shard == 0]
    assert [audit.open_certificates for audit in audits] == [1, 1]
