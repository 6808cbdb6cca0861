from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from operators.event_log import open_log
from operators.topic_view import TopicView
from pipelines.account_keys import issuer_pair
from pipelines.chain_setup import create_topics
from pipelines.corpus import read_corpus
from pipelines.demo_traffic import (
    TrafficSender,
    planned_transactions,
    prepare_traffic,
    sent_places,
)
from pipelines.traffic_verdicts import VerdictTracker
from proving.ledger.rules import LedgerParameters
from schemas.config import Configuration, profile_configuration
from schemas.errors import ParameterError
from schemas.genesis import Genesis, encode_key
from schemas.tables import TRANSACTIONS, encode
from tests.pipelines.corpus_judge import Judge
from tests.pipelines.test_traffic_import import Notes
from tests.pipelines.test_traffic_replay import ManualClock
from tests.suites.poison import poison


def _wait(sending: Sequence[Future[Any]]) -> None:
    wait(sending)


def _one_shard() -> Configuration:
    base = profile_configuration("local")
    return base.model_copy(update={"chain": base.chain.model_copy(update={"shards": 1})})


def _genesis(seed: int) -> Genesis:
    configuration = _one_shard()
    issuer = issuer_pair(seed).public_key
    return Genesis(
        chain=configuration.chain.number,
        shards=1,
        slot_micros=configuration.clock.slot_micros,
        slots_per_window=configuration.clock.slots_per_window,
        windows_per_epoch=configuration.clock.windows_per_shard_epoch,
        start_millis=0,
        issuer=encode_key(issuer),
        validators=(encode_key(issuer),),
    )


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_verdict_of_the_demo_is_the_expected_one(tmp_path: Path, seed: int) -> None:
    configuration = _one_shard()
    genesis = _genesis(seed)
    (traffic,) = prepare_traffic(tmp_path, configuration, genesis, seed, Notes())
    rows = list(read_corpus(traffic.corpus))
    judge = Judge(LedgerParameters(genesis.chain, 0), genesis.issuer_key)
    assert judge.verdicts(rows) == [row.expected for row in rows]
    assert traffic.rows == planned_transactions(configuration)
    assert len({row.expected for row in rows}) > 10
    (again,) = prepare_traffic(tmp_path, configuration, genesis, seed, Notes())
    assert again == traffic


def test_traffic_that_is_there_is_not_taken_for_another(tmp_path: Path) -> None:
    base = _one_shard()
    genesis, notes = _genesis(1), Notes()
    small = base.model_copy(
        update={"demo": base.demo.model_copy(update={"transactions_per_second": 1})}
    )
    (traffic,) = prepare_traffic(tmp_path, small, genesis, 1, Notes())
    assert prepare_traffic(tmp_path, base, genesis, 1, notes)[0].rows == traffic.rows
    assert any(f"{traffic.rows} transactions" in line for line in notes.notes)
    other = base.model_copy(
        update={"demo": base.demo.model_copy(update={"traffic": "/elsewhere/mine.csv"})}
    )
    with pytest.raises(ParameterError, match=r"not of mine\.csv"):
        prepare_traffic(tmp_path, other, genesis, 1, Notes())


def test_what_others_send_beside_a_demo_is_not_counted_as_its_own(tmp_path: Path) -> None:
    configuration = _one_shard()
    genesis = _genesis(1)
    small = configuration.model_copy(
        update={"demo": configuration.demo.model_copy(update={"transactions_per_second": 1})}
    )
    (traffic,) = prepare_traffic(tmp_path, small, genesis, 1, Notes())
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    with open_log(url) as log:
        create_topics(log, genesis)
        view = TopicView(log)
        foreign = [{"body": b"alien", "signature": b"", "submitted_millis": 0}]
        poison(log, 1)
        view.append("tx.0", *encode(TRANSACTIONS, TRANSACTIONS.batch(foreign)))
        before = view.end("tx.0")
        sender = TrafficSender(url, ManualClock(), Notes(), lambda: False)
        sender.send([traffic], _wait)
        after = view.end("tx.0")
        poison(log, 2)
        view.append("tx.0", *encode(TRANSACTIONS, TRANSACTIONS.batch(foreign)))
        places = sent_places(traffic, view)
    assert len(places) == traffic.total
    assert {offset for offset, _ in places} == set(range(before, after))
    tracker = VerdictTracker("tx.0", places=places)
    rejection = {"topic": "tx.0", "row": 0, "reason": "garbage"}
    tracker.add_rejections({**rejection, "offset": offset} for offset in range(after + 3))
    assert tracker.done == after - before
