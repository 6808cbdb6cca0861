"""A validator that contradicts itself loses its bond once, on a chain with every role and kills at any step."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.beacon import BeaconBranch
from operators.beacon_node import BeaconObserver, BeaconValidator
from operators.consensus_messages import decode_evidence, encode_vote
from operators.consensus_node import OBSERVER, message_record
from operators.equivocations import party_of
from operators.event_log import Record
from operators.final_history import beacon_blocks
from operators.fraud_rules import bonds_of
from operators.rule_state import BURNED, POOL, digest
from operators.topic_view import TopicView
from pipelines.chain_setup import validator_key
from schemas.beacon_payload import decode_acceptances
from schemas.block import Offence, Phase, Vote
from schemas.economics import FIRST_TERMS, FRAUD_TERMS
from schemas.tables import CONSENSUS, SLASHES
from schemas.topics import BEACON, BEACON_SHARD, FAULTS
from tests.suites.equivocators import Signing
from tests.suites.mini_chain import MiniChain

BOND = FRAUD_TERMS[FIRST_TERMS].validator_bond
HONEST = (0, 1, 2)
GUILTY = 3
"""Its processes do not run: what it signs is the test's doing, and two more are a quorum without it."""

ROLES = ("admission", "chain", *(f"{role}-{i}" for role in ("validator", "beacon") for i in HONEST))


def _signing(chain: MiniChain) -> Signing:
    return Signing(chain.genesis, tuple(validator_key(chain.data, index) for index in range(4)))


def _publish(chain: MiniChain, topic: str, *votes: Vote) -> None:
    for vote in votes:
        chain.log().append(topic, [message_record(vote.signer, encode_vote(vote), chain.now)])


def _reports(chain: MiniChain) -> list[bytes]:
    return [row["message"] for row in TopicView(chain.log()).rows(FAULTS, CONSENSUS)]


def _slashes(chain: MiniChain) -> list[Mapping[str, Any]]:
    return list(TopicView(chain.log()).rows(FAULTS, SLASHES))


def _report_again(chain: MiniChain, reports: Sequence[bytes]) -> None:
    """What more observers of the same votes put on the log."""
    records: list[Record] = [message_record(OBSERVER, data, chain.now) for data in reports]
    chain.log().append(FAULTS, records)


def _in_blocks(chain: MiniChain) -> list[bytes]:
    return [
        piece
        for block, _ in beacon_blocks(chain.log())
        for piece in decode_acceptances(block.payload).evidence
    ]


def _observed(chain: MiniChain) -> BeaconBranch:
    (observer,) = [
        part
        for part in chain.roles["chain"].parts  # type: ignore[attr-defined]
        if isinstance(part, BeaconObserver)
    ]
    return observer.state.application.final


def _restart(chain: MiniChain, *names: str) -> None:
    for name in names:
        chain.kill(name)
    chain.start(*names)


def _steps(chain: MiniChain, count: int) -> None:
    for _ in range(count):
        chain.step()


def _check_punished_once(chain: MiniChain, shard: int) -> None:
    """One offence, one piece of evidence in one block, one row, and the whole bond gone, in balanced books."""
    (row,) = _slashes(chain)
    (piece,) = _in_blocks(chain)
    evidence = decode_evidence(piece)
    guilty = party_of(chain.genesis.validator_keys[GUILTY])
    assert (row["shard"], row["validator"], row["offender"]) == (shard, GUILTY, guilty)
    assert row["view"] == evidence.first.ballot.view
    assert row["kind"] == Offence.TWO_NOTARIZATIONS.name.lower()
    assert (row["units"], row["reward"], row["reporter"]) == (BOND, 0, None)
    assert (row["burned"], row["pooled"]) == (BOND // 10, BOND - BOND // 10)
    blocks = {block.header.height: block.hash for block, _ in beacon_blocks(chain.log())}
    assert blocks[row["height"]] == row["block_hash"]
    final = _observed(chain)
    books = final.fraud.books
    parties = [party_of(key) for key in chain.genesis.validator_keys]
    assert list(bonds_of(final.fraud, parties).values()) == [BOND, BOND, BOND, 0]
    assert (books.held(BURNED), books.held(POOL)) == (row["burned"], row["pooled"])
    assert books.is_balanced()
    assert sum(books.pots.values()) == books.inflow == 4 * BOND
    assert list(final.fraud.punished) == [row["offence"]]
    _check_same_everywhere(chain, final)


def _check_same_everywhere(chain: MiniChain, final: BeaconBranch) -> None:
    for index in HONEST:
        node = chain.roles[f"beacon-{index}"]
        assert isinstance(node, BeaconValidator)
        own = node.state.application.final
        assert own.fraud == final.fraud
        assert digest(own.fraud) == digest(final.fraud)
        assert own.root == final.root


def test_a_validator_that_votes_twice_loses_its_bond_once(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    chain.start(*ROLES)
    signing, view = _signing(chain), 40
    votes = [signing.vote(Phase.NOTARIZE, view, block, GUILTY) for block in (1, 2)]
    _publish(chain, "votes.0", *votes)
    chain.run_until(lambda: bool(_slashes(chain)), 60)
    (report,) = _reports(chain)
    assert _in_blocks(chain) == [report]
    other = signing.evidence(view, signer=GUILTY, blocks=(3, 4))
    later = signing.evidence(view + 1, signer=GUILTY)
    _report_again(chain, [report, other, report, later])
    _steps(chain, 50)
    _check_punished_once(chain, 0)
    before = _observed(chain)
    _restart(chain, "chain", *(f"beacon-{index}" for index in HONEST))
    assert _observed(chain).fraud == before.fraud, "before anything is read"
    assert _observed(chain).root == before.root
    _report_again(chain, [other, report])
    _steps(chain, 50)
    _check_punished_once(chain, 0)
    for snapshot in chain.data.rglob("*beacon*.snapshot"):
        snapshot.unlink()
    for index in HONEST:
        chain.kill(f"beacon-{index}")
    chain.kill("chain")
    chain.start("chain")
    assert _observed(chain).fraud == before.fraud, "computed again from the first block"
    chain.close()


def test_the_beacons_own_committee_is_no_exception(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    chain.start(*ROLES)
    signing = _signing(chain)
    _publish(
        chain,
        BEACON,
        *(signing.vote(Phase.NOTARIZE, 5, block, GUILTY, shard=BEACON_SHARD) for block in (1, 2)),
    )
    chain.run_until(lambda: bool(_slashes(chain)), 60)
    _steps(chain, 20)
    _check_punished_once(chain, BEACON_SHARD)
    chain.close()


def test_kills_at_any_step_neither_lose_nor_double_a_slash(tmp_path: Path) -> None:
    chain, rng = MiniChain(tmp_path / "data"), random.Random(3)  # noqa: S311 - a reproducible schedule
    chain.start(*ROLES)
    signing, victims = _signing(chain), [f"beacon-{index}" for index in HONEST] + ["chain"]
    view = 60
    _publish(
        chain,
        "votes.0",
        *(signing.vote(Phase.NOTARIZE, view, block, GUILTY) for block in (1, 2)),
    )
    _report_again(chain, [signing.evidence(view, signer=GUILTY, blocks=(3, 4))])
    for _ in range(25):
        victim = rng.choice(victims)
        chain.kill(victim)
        _steps(chain, rng.randrange(3))
        chain.start(victim)
        _steps(chain, rng.randrange(1, 6))
    chain.run_until(lambda: bool(_slashes(chain)), 60)
    _steps(chain, 50)
    _check_punished_once(chain, 0)
    chain.close()
