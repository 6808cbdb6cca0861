"""A day from the first transaction to a light client, with every role at work and nothing made by the test itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from operators.beacon_start import BeaconPlace
from operators.day_files import checkpoint_path, day_path
from operators.topic_view import TopicView
from pipelines.cli.main import main
from pipelines.inclusion import write_inclusion
from pipelines.wallet import read_receipt
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.light.inclusion import RunFold, decode_inclusion
from schemas.config import Configuration
from schemas.run import RunStatement
from schemas.tables import RECEIPTS
from schemas.transactions import decode_body
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_configuration, small_traffic

WORKLOAD = Workload(accounts=4, funding=10**12)


def short_day() -> Configuration:
    """Returns a configuration whose day is one epoch of two windows."""
    base = small_configuration()
    clock = {**base.clock.model_dump(), "shard_epochs_per_hour": 1, "epochs_per_day": 1}
    return Configuration.model_validate({**base.model_dump(), "clock": clock})


@pytest.mark.slow
def test_a_payment_is_checked_by_its_owner_with_the_days_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = MiniChain(tmp_path / "data", short_day())
    chain.start_all(proving=True)
    chain.start("pyramid")
    rows = small_traffic(tmp_path, chain.genesis, WORKLOAD, 6)
    chain.send(rows[:-2])
    chain.run_until(lambda: chain.now >= chain.genesis.start_millis + 900, 2)
    chain.send(rows[-2:])
    proof, certificate = (day_path(chain.data, 0, what) for what in ("proof", "certificate"))
    chain.run_until(lambda: certificate.exists() and proof.exists(), 600)
    place = BeaconPlace(chain.log(), chain.genesis, chain.configuration, NumpyHasher())
    view = TopicView(chain.log())
    digests = [
        row["digest"].hex()
        for row in view.rows("receipts", RECEIPTS)
        if row["state"] == "bft_final"
    ]
    assert len(digests) >= 6
    inclusion = tmp_path / "mine.inclusion"
    for digest in digests:
        assert read_receipt(view, chain.genesis, digest).state == "beacon_final"
    write_inclusion(place, digests[-1], 0, inclusion)
    arguments = ["light", "verify", str(proof), "--json"]
    arguments += ["--previous", str(checkpoint_path(chain.data)), "--inclusion", str(inclusion)]
    assert main(arguments) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["transaction"]["digest"] == digests[-1]
    assert (shown["first_window"], shown["end_window"], shown["linked"]) == (0, 2, True)
    assert (shown["committee"], shown["votes"] >= 3) == (4, True)
    path = decode_inclusion(inclusion.read_bytes())
    body = decode_body(path.body)
    run = RunStatement.from_bytes(day_path(chain.data, 0, "statement").read_bytes())
    other_list = replace(path, closing=path.closing[::-1])
    for number, changed in enumerate(
        (
            replace(path, body=replace(body, amount=body.amount + 1).body()),
            replace(path, body=replace(body, amount=body.amount - 1).body()),
            replace(path, index=path.index ^ 1),
            replace(path, run_folds=(*path.run_folds, RunFold(0, run.before))),
            other_list if other_list != path else replace(path, siblings=path.siblings[::-1]),
        )
    ):
        inclusion.write_bytes(changed.to_bytes())
        assert main(arguments) == 3, number
        shown = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert shown["error"]["reason"] == "not_included"
    observer = chain.roles["chain"].parts[1]  # type: ignore[attr-defined]
    tip = observer.state.application.final.runs
    chain.close()
    chain.start("chain")  # from its snapshot, which holds the accepted day
    again = chain.roles["chain"].parts[1].state.application.final.runs  # type: ignore[attr-defined]
    assert again == tip
    assert again.end_window == 2
    chain.close()
