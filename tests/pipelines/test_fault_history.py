"""What the watch makes of a chain's log: nothing to say of an honest one, and a name for every second history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from operators.consensus_messages import (
    decode_certificate,
    decode_message,
    encode_certificate,
    encode_vote,
)
from operators.topic_view import TopicView
from pipelines.faults.history import History
from pipelines.faults.log_watch import LogWatch, begin_history
from pipelines.faults.scene import Scene
from pipelines.faults.transactions import Fates, Traffic
from pipelines.node import NodePlace
from schemas.block import Block, Certificate, Phase, Vote, header_from_bytes, nullify_ballot
from schemas.tables import BLOCKS, CONSENSUS
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")
OTHER = bytes([7]) * 32


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniChain]:
    folder = tmp_path_factory.mktemp("history")
    made = MiniChain(folder / "data")
    made.start(*ROLES)
    rows = small_traffic(folder, made.genesis, Workload(accounts=4, funding=10**12), 12)
    for row in rows:
        made.send([row])
        made.step()
    made.run_until(lambda: made.view().is_sealed and made.view().height > 2, 30)
    yield made
    made.close()


def watched(chain: MiniChain) -> tuple[History, Fates]:
    log, fates = chain.log(), Fates()
    place = NodePlace(chain.data, chain.configuration, chain.genesis, log, 0).shards()[0]
    history = begin_history(place)
    watch = LogWatch("memory://mini", lambda _: place, fates)
    view = TopicView(log)
    for _ in range(2):  # a second look finds nothing new
        watch.read(view, history)
    return history, fates


def finalised(chain: MiniChain) -> Certificate:
    rows = TopicView(chain.log()).rows("blocks.0", BLOCKS)
    return decode_certificate(next(iter(rows))["certificate"])


def test_an_honest_log_executes_to_the_observers_state(chain: MiniChain) -> None:
    history, fates = watched(chain)
    observer = chain.roles["chain"].parts[0].node.core.tip  # type: ignore[attr-defined]
    assert (history.tip.height, history.tip.hash) == (observer.height, observer.hash)
    assert history.hash_at(observer.height) == observer.hash
    assert history.check_supply()["issued"] > 0
    assert sorted(history.last_vote) == [0, 1, 2, 3]
    assert len(fates.final) > 12
    assert (history.problems, fates.problems, fates.doubled) == ([], [], 0)


def test_a_validator_that_contradicts_itself_is_named(chain: MiniChain) -> None:
    history, _ = watched(chain)
    rows = TopicView(chain.log()).rows("votes.0", CONSENSUS)
    votes = [decode_message(row["message"]) for row in rows]
    vote = next(one for one in votes if isinstance(one, Vote) and one.ballot.phase > Phase.NULLIFY)
    history.take_message(encode_vote(vote), 10**6)
    assert history.problems == []
    other = replace(vote, ballot=replace(vote.ballot, block_hash=OTHER))
    history.take_message(encode_vote(other), 10**6)
    view = vote.ballot.view
    assert history.problems == [f"validator {vote.signer} said two things in view {view}"]


def test_a_validator_that_skips_what_it_finalised_is_named(chain: MiniChain) -> None:
    history, _ = watched(chain)
    ballot = finalised(chain).ballot
    signer, signature = finalised(chain).signatures[0]
    skip = nullify_ballot(ballot.chain, ballot.shard, ballot.epoch, ballot.view)
    history.take_message(encode_vote(Vote(skip, signer, signature)), 10**6)
    assert history.problems == [f"validator {signer} skipped and finalised view {ballot.view}"]


def test_a_second_certified_block_is_a_problem(chain: MiniChain) -> None:
    history, _ = watched(chain)
    certificate = finalised(chain)
    fork = replace(certificate, ballot=replace(certificate.ballot, block_hash=OTHER))
    history.take_message(encode_certificate(fork), 0)
    assert history.problems == [f"two blocks are certified in view {certificate.ballot.view}"]
    history.take_message(b"no message", 0)
    assert history.problems[-1] == "a consensus message cannot be read"


def test_a_height_that_is_written_down_twice_is_a_problem(chain: MiniChain) -> None:
    history, _ = watched(chain)
    row = next(iter(TopicView(chain.log()).rows("blocks.0", BLOCKS)))
    block = Block(header_from_bytes(row["header"]), row["payload"])
    history.take_block(block, decode_certificate(row["certificate"]))
    assert history.problems == ["height 1 is written down twice"]


def test_every_problem_is_told_once_whenever_it_was_found(chain: MiniChain) -> None:
    history, fates = watched(chain)
    watch = LogWatch("memory://mini", lambda _: None, fates, history)  # type: ignore[arg-type, return-value]
    traffic = Traffic("memory://mini", iter(()), 1, fates)
    scene = Scene(None, traffic, watch)  # type: ignore[arg-type]
    assert scene.new_problems() == []
    history.take_message(b"no message", 0)
    assert scene.new_problems() == ["a consensus message cannot be read"]
    fates.reject(b"a", "expired")  # between two faults, or after the last
    (told,) = scene.new_problems()
    assert "expired" in told
    assert scene.new_problems() == []
