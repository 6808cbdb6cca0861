"""What a wallet tells of a chain whose day is final on the beacon: its receipts, and paths that a light client takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from hashlib import sha256, shake_256
from pathlib import Path

import pytest

from operators.beacon_history import read_beacon
from operators.beacon_start import BeaconPlace, genesis_boundaries, run_rules
from operators.consensus_messages import Chain, encode_chain
from operators.consensus_node import OBSERVER, message_record
from operators.day_files import DayWriter, day_path
from operators.event_log import EventLog, Record, open_log
from operators.final_history import beacon_blocks
from operators.log_memory import MemoryLog, MemoryStore
from operators.topic_view import TopicView
from pipelines.adversary.attacked_days import demo_case
from pipelines.adversary.day_mutants import DayAttacker
from pipelines.chain_setup import genesis_path, validator_key
from pipelines.cli.main import main
from pipelines.inclusion import LogIncomplete, planned_trees, write_inclusion
from pipelines.wallet import read_receipt
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.light.certificate import check_certificate, decode_certificate
from proving.light.checkpoint import check_link, decode_checkpoint
from proving.light.encoding import HEADER_BYTES, sections_of
from proving.light.errors import ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.inclusion import check_inclusion, decode_inclusion
from proving.light.key import wrap_key
from proving.light.poseidon2 import statement_word
from proving.light.signature_check import best_signature_check
from proving.recursion.pyramid_work import said_bytes
from schemas.beacon_payload import ProofReference, RunAcceptance, encode_acceptances
from schemas.block import (
    VOTE_DOMAIN,
    Block,
    Certificate,
    Phase,
    ValidatorSet,
    header_ballot,
)
from schemas.config import Configuration
from schemas.errors import ParameterError
from schemas.job import ProofLevel
from schemas.run import RunStatement
from schemas.tables import CONSENSUS, RECEIPTS
from schemas.transactions import decode_body
from schemas.units import ZERO_WORD
from tests.suites.mini_chain import MiniChain

HASHER = NumpyHasher()


def short_day(configuration: Configuration) -> Configuration:
    """Returns a configuration whose day is one epoch."""
    clock = {**configuration.clock.model_dump(), "shard_epochs_per_hour": 1, "epochs_per_day": 1}
    return Configuration.model_validate({**configuration.model_dump(), "clock": clock})


@dataclass
class Wallet:
    """A copy of a proven chain's log, to which its validators add a block that accepts the day."""

    day: MiniChain
    store: MemoryStore = field(default_factory=MemoryStore)
    place: BeaconPlace = field(init=False)

    def __post_init__(self) -> None:
        self.store.now_millis = lambda: self.day.now
        source, copy = self.day.log(), self.log()
        copy.create_topics(source.topics())
        for topic in source.topics():
            for stored in TopicView(source).records(topic):
                copy.append(topic, [Record(stored.value, stored.headers, stored.key)])
        configuration = short_day(self.day.configuration)
        self.place = BeaconPlace(self.log(), self.day.genesis, configuration, HASHER)

    def log(self) -> EventLog:
        return MemoryLog("memory://wallet", self.store)

    @property
    def view(self) -> TopicView:
        return TopicView(self.log())

    def run(self) -> RunStatement:
        """Returns what a proof of the first day would say."""
        history = read_beacon(self.view.rows("beacon", CONSENSUS), self.day.genesis)
        end = self.day.genesis.windows_per_epoch
        trees = planned_trees(self.place, self.view, history, end)
        said = next(tree.said for tree in trees if tree.level is ProofLevel.DAY)
        return RunStatement.from_bytes(said_bytes(said))

    def accept(self, run: RunStatement, voters: tuple[int, ...] = (0, 1, 2)) -> None:
        """Appends a block that accepts a run, with the certificate of some validators."""
        last = list(beacon_blocks(self.log()))[-1][0]
        payload = encode_acceptances([], RunAcceptance(run, ProofReference(0, 0, bytes(32))))
        header = replace(
            last.header,
            height=last.header.height + 1,
            view=last.header.view + 1,
            parent_view=last.header.view,
            parent_hash=last.hash,
            payload_hash=sha256(payload).digest(),
            post_state_root=ZERO_WORD,
        )
        ballot = header_ballot(header, Phase.FINALIZE)
        message = ballot.signed_bytes(ValidatorSet(self.day.genesis.validator_keys))
        votes = tuple(
            (number, validator_key(self.day.data, number).sign(message, VOTE_DOMAIN))
            for number in voters
        )
        chain = Chain((Block(header, payload),), Certificate(ballot, votes))
        record = message_record(OBSERVER, encode_chain(chain), self.day.now)
        self.log().append("beacon", [record])

    def final(self) -> list[tuple[str, int]]:
        """Returns digest and window of all final transactions."""
        rows = self.view.rows("receipts", RECEIPTS)
        return [
            (row["digest"].hex(), row["window"])
            for row in rows
            if row["state"] == "bft_final" and len(row["signers"] or ()) >= 3
        ]


@pytest.fixture
def wallet(proven_day: MiniChain) -> Wallet:
    return Wallet(proven_day)


def test_a_transaction_is_proven_once_its_window_is_accepted(wallet: Wallet) -> None:
    genesis = wallet.day.genesis
    states = {
        window: read_receipt(wallet.view, genesis, digest) for digest, window in wallet.final()
    }
    assert states
    for receipt in states.values():
        assert receipt.state == "proven"
        assert receipt.times["proven"] > genesis.start_millis
        assert (receipt.proof_digest, set(receipt.times)) == (None, {"bft_final", "proven"})


def test_a_day_without_a_quorum_makes_nothing_final(wallet: Wallet) -> None:
    wallet.accept(wallet.run(), (0, 1))
    digest, _ = wallet.final()[0]
    assert read_receipt(wallet.view, wallet.day.genesis, digest).state == "proven"


def test_an_accepted_day_makes_its_transactions_final_and_gives_them_paths(
    wallet: Wallet, tmp_path: Path
) -> None:
    run, out = wallet.run(), tmp_path / "one.inclusion"
    listed = wallet.final()
    digest, _ = listed[0]
    with pytest.raises(ParameterError, match="the transaction is proven"):
        write_inclusion(wallet.place, digest, 0, out)
    assert not out.exists()
    wallet.accept(run)
    windows = range(run.first_window, run.end_window)
    inside = [one for one, window in listed if window in windows]
    assert len(inside) > 3
    for digest in inside:
        written = write_inclusion(wallet.place, digest, 0, out)
        assert written.receipt.state == "beacon_final"
        assert written.receipt.proof_digest == written.statement
        shown = check_inclusion(decode_inclusion(out.read_bytes()), run)
        assert shown.digest in {digest, None}
        with pytest.raises(ProofRejected):
            check_inclusion(decode_inclusion(out.read_bytes()), replace(run, history=run.before))
    for digest, window in listed:
        state = read_receipt(wallet.view, wallet.day.genesis, digest).state
        assert state == ("beacon_final" if window in windows else "proven")


CLOCK = """
[clock]
slot_micros = 50000
slots_per_window = 16
windows_per_shard_epoch = 2
shard_epochs_per_hour = 1
epochs_per_day = 1
"""
"""`short_day` of the small chain, as a user's file."""


def on_disk(wallet: Wallet, data: Path) -> Path:
    """Writes genesis and log of a chain as a data directory."""
    data.mkdir()
    shutil.copy(genesis_path(wallet.day.data), genesis_path(data))
    with open_log(f"sqlite:///{data / 'log.sqlite'}") as copy:
        copy.create_topics(wallet.log().topics())
        for topic in wallet.log().topics():
            for stored in wallet.view.records(topic):
                copy.append(topic, [Record(stored.value, stored.headers, stored.key)])
    return data


def noise() -> bytes:
    """Returns bytes of the length of a day's proof."""
    size = HEADER_BYTES + sum(section.length for section in sections_of(wrap_key()))
    return shake_256(b"noise").digest(size)


def test_a_demos_day_is_attacked_with_its_own_files_and_a_path_from_its_log(
    wallet: Wallet, tmp_path: Path
) -> None:
    run = wallet.run()
    wallet.accept(run)
    data = on_disk(wallet, tmp_path / "data")
    with pytest.raises(ParameterError, match="holds no day with proof and certificate"):
        demo_case(data, wallet.place.configuration)
    writer = DayWriter(
        data, ValidatorSet(wallet.day.genesis.validator_keys), run_rules(wallet.place)
    )
    writer.write_start(genesis_boundaries(wallet.place.genesis, wallet.place.hasher))
    writer.write(beacon_blocks(wallet.log()))
    day_path(data, 0, "proof").write_bytes(noise())
    case = demo_case(data, wallet.place.configuration)
    assert set(case.files) == {"proof", "certificate", "checkpoint", "inclusion"}
    shown = check_inclusion(decode_inclusion(case.files["inclusion"]), run)
    assert (shown.kind, shown.digest in dict(wallet.final())) == ("transfer", True)
    check_link(run, decode_checkpoint(case.files["checkpoint"]))
    statement = statement_word(run)
    for data_of_others in case.foreign["certificate"].values():
        with pytest.raises(ProofRejected):
            check_certificate(decode_certificate(data_of_others), best_signature_check(), statement)
    attacker = DayAttacker(case, 1)
    kinds = {attacker.mutant(number).kind for number in range(200)}
    assert {"inclusion/one_unit", "inclusion/change_index", "proof/splice_section"} <= kinds


def test_the_command_writes_a_path_that_a_unit_an_index_or_a_day_changed_breaks(
    wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a log on disk, through `ecliptica wallet receipt --inclusion`, to the light client's check."""
    run, out = wallet.run(), tmp_path / "mine.inclusion"
    wallet.accept(run)
    digest = [one for one, window in wallet.final() if window < run.end_window][-1]
    data, config = on_disk(wallet, tmp_path / "data"), tmp_path / "chain.toml"
    config.write_text(CLOCK, "utf-8")
    arguments = ["wallet", "receipt", digest, "--data", str(data), "--config", str(config)]
    assert main([*arguments, "--inclusion", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["receipt"]["state"] == "beacon_final"
    assert (shown["first_window"], shown["end_window"]) == (run.first_window, run.end_window)
    path = decode_inclusion(out.read_bytes())
    assert shown["bytes"] == out.stat().st_size
    assert check_inclusion(path, run).digest == digest
    body = decode_body(path.body)
    other_day = replace(run, history=run.before)
    for changed, day in (
        (replace(path, body=replace(body, amount=body.amount + 1).body()), run),
        (replace(path, body=replace(body, amount=body.amount - 1).body()), run),
        (replace(path, index=path.index ^ 1), run),
        (path, other_day),
    ):
        with pytest.raises(ProofRejected) as error:
            check_inclusion(decode_inclusion(changed.to_bytes()), day)
        assert error.value.reason == DayFlaw.NOT_INCLUDED
    assert main([*arguments[:2], "00" * 32, *arguments[3:], "--inclusion", str(out)]) == 2


def test_the_observer_writes_the_days_certificate(wallet: Wallet, tmp_path: Path) -> None:
    wallet.accept(wallet.run())
    validators = ValidatorSet(wallet.day.genesis.validator_keys)
    writer = DayWriter(tmp_path, validators, run_rules(wallet.place))
    writer.write(beacon_blocks(wallet.log()))
    data = day_path(tmp_path, 0, "certificate").read_bytes()
    shown = check_certificate(decode_certificate(data), best_signature_check())
    assert (shown.run, shown.votes, shown.validators) == (wallet.run(), 3, 4)


def test_a_day_that_the_log_does_not_give_has_no_path(wallet: Wallet, tmp_path: Path) -> None:
    run = wallet.run()
    wallet.accept(replace(run, history=run.before))
    digest = next(one for one, window in wallet.final() if window < run.end_window)
    with pytest.raises(LogIncomplete, match="the log gives no day of windows 0 to 2"):
        write_inclusion(wallet.place, digest, 0, tmp_path / "one.inclusion")


def test_a_digest_that_is_none_and_one_that_is_not_there_are_refused(
    wallet: Wallet, tmp_path: Path
) -> None:
    for digest, problem in (("xyz", "64 hex digits"), ("00" * 32, "holds no transaction")):
        with pytest.raises(ParameterError, match=problem):
            write_inclusion(wallet.place, digest, 0, tmp_path / "one.inclusion")
