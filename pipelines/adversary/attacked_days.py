"""What `campaign mutate-day` attacks: a day's files with foreign ones beside them, of a sample chain or of a demo."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from operators.beacon_start import BeaconPlace
from operators.day_files import checkpoint_path, day_path
from operators.event_log import open_existing_log
from operators.pyramid_tree import Node
from operators.topic_view import TopicView
from pipelines.adversary.day_case import DayCase, run_of
from pipelines.chain_setup import genesis_path
from pipelines.inclusion import write_inclusion
from pipelines.progress import Progress
from pipelines.sample_days import SampleChain
from pipelines.sample_votes import COUNT, Voted, committee
from pipelines.tree_proofs import TreeProver, prepared_folder
from pipelines.wallet import read_ledger
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend
from proving.light.certificate import DayCertificate, decode_certificate
from proving.light.checkpoint import checkpoint_of, decode_checkpoint
from proving.recursion.global_proofs import GlobalProof
from proving.recursion.global_span import GlobalSpan
from schemas.block import Phase
from schemas.config import Configuration
from schemas.errors import InvariantError, ParameterError
from schemas.genesis import load_genesis
from schemas.receipt import ReceiptState
from schemas.run import RunStatement
from schemas.tables import RECEIPTS
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.transactions import TransactionKind
from schemas.validators import validators_word

ATTACKED_DAY = 1
"""The second day, so that checkpoint, statement and certificate of a day before can be trusted."""

LAST_WINDOW = 3
"""Of the attacked day; the stolen transfer is in it."""


@dataclass(frozen=True)
class ProvenDays:
    """A sample chain's second day, honest and with a stolen transfer in it, both proven.

    Attributes:
        honest: The honest chain.
        stolen: The other one, equal up to the last window.
        proof: Proof of the honest day.
        unwrapped: The same before it is wrapped.
        stolen_proof: Proof of the other one.
        made: Proofs that were made for it; those found on file are not counted.
    """

    honest: SampleChain
    stolen: SampleChain
    proof: bytes
    unwrapped: bytes
    stolen_proof: bytes
    made: int

    @property
    def run(self) -> RunStatement:
        """What the honest proof says."""
        return self.honest.day_run(ATTACKED_DAY)

    @property
    def stolen_claim(self) -> GlobalProof:
        """The other proof with what it says, for the native verifier."""
        said = self.stolen.days[ATTACKED_DAY].said
        if not isinstance(said, GlobalSpan):
            raise InvariantError("a day's tree says no run")
        return GlobalProof(said, self.stolen_proof)

    @property
    def stolen_run(self) -> RunStatement:
        """What the other proof says."""
        return self.stolen.day_run(ATTACKED_DAY)


def prove_days(data: Path, backend: Backend, report: Progress) -> ProvenDays:
    """Returns the sample days; their proofs are kept below the data directory, the first time takes a minute or more."""
    honest = SampleChain(backend)
    stolen = SampleChain(backend, stolen_in=LAST_WINDOW)
    prover = TreeProver(prepared_folder(data), backend, report)
    tree = honest.days[ATTACKED_DAY]
    (proof,) = prover.prove([tree], honest.witnesses)
    (stolen_proof,) = prover.prove([stolen.days[ATTACKED_DAY]], stolen.witnesses)
    (below,) = [child for child in tree.children if isinstance(child, Node)]
    return ProvenDays(honest, stolen, proof, prover.proofs[below], stolen_proof, prover.made)


def sample_case(days: ProvenDays) -> DayCase:
    """Returns the case of the sample days; every foreign certificate is signed by those whom it names."""
    chain, run = days.honest, days.run
    before = chain.day_run(ATTACKED_DAY - 1)
    files = {
        "proof": days.proof,
        "certificate": Voted(run).certificate().to_bytes(),
        "checkpoint": checkpoint_of(before).to_bytes(),
        "statement": before.to_bytes(),
        "previous_certificate": Voted(before).certificate().to_bytes(),
        "inclusion": chain.path_of(LAST_WINDOW, 0).to_bytes(),
    }
    other_day = chain.path_of(LAST_WINDOW - chain.windows_per_day, 0)
    foreign: dict[str, Mapping[str, bytes]] = {
        "proof": {"other_day": days.stolen_proof, "not_wrapped": days.unwrapped},
        "certificate": {
            "other_day": files["previous_certificate"],
            **foreign_certificates(run),
            **signed_certificates(run, days.stolen_run),
        },
        "previous": {
            **foreign_starts(run),
            "two_days_before": checkpoint_of(
                replace(before, end_window=before.first_window, after=before.before)
            ).to_bytes(),
            "certificate_of_others": Voted(
                replace(before, validators=_word_of_others()), first=COUNT
            ).certificate().to_bytes(),
        },
        "inclusion": {
            "other_day": other_day.to_bytes(),
            "stolen_day": days.stolen.path_of(LAST_WINDOW, 0).to_bytes(),
        },
    }  # fmt: skip
    return DayCase(files, foreign)


def foreign_certificates(run: RunStatement) -> dict[str, bytes]:
    """Returns certificates by people who are not in charge: of the same statement, and of one that names them."""
    others = replace(run, validators=_word_of_others())
    made = {
        "other_validators": Voted(run, chain=run.chain, first=COUNT),
        "other_validators_in_charge": Voted(others, chain=run.chain, first=COUNT),
    }
    return {name: voted.certificate().to_bytes() for name, voted in made.items()}


def signed_certificates(run: RunStatement, other: RunStatement) -> dict[str, bytes]:
    """Returns certificates with true signatures of the committee in charge that are none of this day.

    Args:
        run: What the day's proof says.
        other: What the proof of another day from the same state says.
    """
    good = Voted(run)
    made: dict[str, DayCertificate] = {
        "other_chain": Voted(run, chain=run.chain + 1).certificate(),
        "other_chain_whole": Voted(
            replace(run, chain=run.chain + 1), chain=run.chain + 1
        ).certificate(),
        "other_shard": Voted(run, shard=0).certificate(),
        "other_statement": Voted(other).certificate(),
        "other_history": Voted(replace(run, history=other.history)).certificate(),
        "no_day": Voted(None).certificate(),
        "two_votes": replace(good.certificate(), votes=good.votes((0, 1))),
        "no_votes": replace(good.certificate(), votes=()),
        "notarized_only": replace(good.certificate(), votes=good.votes(phase=Phase.NOTARIZE)),
        "votes_of_another_block": replace(good.certificate(), votes=Voted(run, height=6).votes()),
        "votes_of_others": replace(good.certificate(), votes=Voted(run, first=COUNT).votes()),
        "last_header_missing": replace(good.certificate(), headers=good.headers()[:-1]),
    }
    return {name: certificate.to_bytes() for name, certificate in made.items()}


def foreign_starts(run: RunStatement) -> dict[str, bytes]:
    """Returns what might be trusted and is not the day before: another chain's, another committee's, a later day's."""
    start = replace(checkpoint_of(run), end_window=run.first_window, state=run.before)
    return {
        "own_end": checkpoint_of(run).to_bytes(),
        "own_statement": run.to_bytes(),
        "other_chain": replace(start, chain=run.chain + 1).to_bytes(),
        "other_shards": replace(start, shards=run.shards + 1).to_bytes(),
        "other_validators": replace(start, validators=_word_of_others()).to_bytes(),
        "other_state": replace(start, state=run.after).to_bytes(),
        "other_window": replace(start, end_window=run.first_window + 1).to_bytes(),
    }


def demo_case(data: Path, configuration: Configuration) -> DayCase:
    """Returns the case of a demo's last day; no validator's key is used, so foreign certificates are others' or drawn.

    Args:
        data: Data directory of a demo that has made a day.
        configuration: That it ran with.

    Raises:
        ParameterError: It holds no day with proof and certificate, or no day before it.
    """
    days = [
        day
        for day in range(len(list((data / "beacon").glob("day=*.proof"))))
        if day_path(data, day, "certificate").exists()
    ]
    if not days:
        raise ParameterError(
            f"{data} holds no day with proof and certificate", "run `ecliptica demo` to make one"
        )
    day = days[-1]
    certificate = day_path(data, day, "certificate").read_bytes()
    run = run_of(decode_certificate(certificate))
    files = {"proof": day_path(data, day, "proof").read_bytes(), "certificate": certificate}
    foreign: dict[str, Mapping[str, bytes]] = {
        "certificate": foreign_certificates(run),
        "previous": foreign_starts(run),
        "proof": {},
        "inclusion": {},
    }
    if day:
        statement = day_path(data, day - 1, "statement").read_bytes()
        files["statement"] = statement
        files["previous_certificate"] = day_path(data, day - 1, "certificate").read_bytes()
        files["checkpoint"] = checkpoint_of(RunStatement.from_bytes(statement)).to_bytes()
        foreign["certificate"] = {
            **foreign["certificate"], "other_day": files["previous_certificate"]
        }  # fmt: skip
        foreign["proof"] = {"other_day": day_path(data, day - 1, "proof").read_bytes()}
    else:
        files["checkpoint"] = checkpoint_path(data).read_bytes()
        decode_checkpoint(files["checkpoint"])
    inclusion = _first_path(data, configuration, run)
    return DayCase(files if inclusion is None else {**files, "inclusion": inclusion}, foreign)


def _first_path(data: Path, configuration: Configuration, run: RunStatement) -> bytes | None:
    """Returns the path of a transfer of a day, or None if the day has none that is final.

    A registration's word does not hold address and key, so a path shows less of it.
    """
    genesis = load_genesis(genesis_path(data))
    with closing(open_existing_log(f"sqlite:///{data / 'log.sqlite'}")) as log:
        view = TopicView(log)
        ledgers = [read_ledger(view, shard) for shard in range(genesis.shards)]
        for row in view.rows(RECEIPTS_TOPIC, RECEIPTS):
            window, shard = row["window"], row["shard"]
            is_inside = window is not None and run.first_window <= window < run.end_window
            if row["state"] != ReceiptState.BFT_FINAL or not is_inside:
                continue
            transaction = ledgers[shard].transaction(row["digest"])
            if transaction is None or transaction.kind is not TransactionKind.TRANSFER:
                continue
            place = BeaconPlace(log, genesis, configuration, NumpyHasher())
            with TemporaryDirectory(prefix="ecliptica-path-") as folder:
                out = Path(folder) / "one.inclusion"
                write_inclusion(place, row["digest"].hex(), shard, out)
                return out.read_bytes()
    return None


def _word_of_others() -> tuple[int, ...]:
    return validators_word(committee(COUNT).keys)
