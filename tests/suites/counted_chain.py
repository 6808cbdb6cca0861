"""A chain of two shards whose log is complete and hostile, on disk: what windows are counted from, on every runner."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from operators.analytics_feed import ClosedWindow, FeedItem, FeedPosition, first_position, open_feed
from operators.analytics_files import analytics_folder, write_window
from operators.analytics_parts import Parts, ReferencedTransactions, part_of
from operators.analytics_window import Witness, votes_of, window_rows
from operators.consensus_keys import ValidatorSigner
from operators.consensus_messages import encode_certificate, encode_vote
from operators.event_log import EventLog, Record, open_log
from operators.final_headers import block_row
from operators.log_genesis import claim_log
from operators.log_sqlite import SqliteLog
from operators.topic_view import TopicView
from operators.validator import identity_of
from pipelines.account_keys import issuer_pair
from pipelines.chain_setup import genesis_path, validator_key
from pipelines.corpus import CorpusRow
from proving.signatures import KeyPair
from schemas.block import (
    Ballot,
    Block,
    Certificate,
    Phase,
    Vote,
    block_ballot,
    header_from_bytes,
)
from schemas.config import Configuration
from schemas.genesis import Genesis, load_genesis
from schemas.tables import BLOCKS, CONSENSUS, SchemaRegistry, Table, encode
from schemas.transactions import SIGNATURE_CONTEXT, SignedTransaction, Transaction, TransactionKind
from schemas.units import FIRST_ACCOUNT
from schemas.workload import Invalidity, Workload
from tests.suites.mini_chain import SEED, MiniChain, small_configuration, small_traffic
from tests.suites.poison import poison

WORKLOAD = Workload(accounts=5, funding=10**12, invalid=dict.fromkeys(Invalidity, 0.03))
USER = KeyPair.from_seed(b"\2" * 32)
SHARDS = 2
SIGNER = 3
"""The validator that equivocates."""

FALSE_VIEW = 900
FORGED_VIEW = 901


@dataclass(frozen=True, slots=True)
class CountedChain:
    """A log on disk.

    Attributes:
        data: Data directory, with the genesis document.
        log_url: The log.
        genesis: The chain.
        rival: Hash of the planted second block of height `rival_height` of shard 0.
        rival_height: See `rival`.
    """

    data: Path
    log_url: str
    genesis: Genesis
    rival: bytes
    rival_height: int


@cache
def counted_chain() -> CountedChain:
    """Returns the chain, made once per test run; nobody may write to its folder."""
    folder = Path(tempfile.mkdtemp(prefix="ecliptica-counted-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_counted_chain(folder)


def count_alone(chain: CountedChain, root: Path, items: Iterable[FeedItem]) -> None:
    """Counts the windows that items close, in plain loops: what every runner must write."""
    parts: dict[tuple[int, int], Parts] = {}
    with open_log(chain.log_url) as log:
        transactions = ReferencedTransactions(log, SchemaRegistry())
        for item in items:
            place = (item.shard, item.window)
            key, part = part_of(item, transactions.fetch)
            parts.setdefault(place, {})[key] = part
            if isinstance(item, ClosedWindow):
                witness = witness_of(chain, log, item.shard)
                rows = window_rows(item.window, parts.pop(place), witness)
                write_window(root, chain.genesis, place, rows, item.next)


def witness_of(chain: CountedChain, log: EventLog, shard: int) -> Witness:
    """Returns who may be accused on a shard."""
    identity = identity_of(chain.genesis, shard, None, None)
    return Witness(identity.committee, identity.verifier, votes_of(log, shard))


def feed_items(
    chain: CountedChain, shard: int, start: FeedPosition | None = None, max_records: int = 64
) -> list[FeedItem]:
    """Returns everything that a shard's feed gives, up to the log's end and the closings after it."""
    with open_log(chain.log_url) as log:
        position = start or first_position(shard)
        feed = open_feed(log, chain.genesis, shard, position, f"test-{max_records}")
        items: list[FeedItem] = []
        while True:
            found, records = feed.advance(2**62, max_records)
            items += found
            if not records:
                return items


def files_of(root: Path) -> dict[str, bytes]:
    """Returns all files of counted windows by name; those of a window that is being written do not count."""
    folder = analytics_folder(root)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("shard=*/epoch=*/window=*/*"))
    }


def make_counted_chain(folder: Path) -> CountedChain:
    """Runs a chain over several windows, plants what an honest one never shows, and copies its log to disk."""
    chain = MiniChain(folder / "data", two_shards())
    claim_log(chain.log(), chain.genesis)
    poison(chain.log(), 1)
    chain.start_all(proving=False)
    rows = small_traffic(folder, chain.genesis, WORKLOAD, 60)
    chain.send(_crossing(chain.genesis), shard=1)
    half = len(rows) // 2
    _send_slowly(chain, rows[:half])
    rival, height = _plant(chain)
    _send_slowly(chain, rows[half:])
    chain.run_until(lambda: chain.view().is_sealed, 60)
    for _ in range(200):  # four seconds: the windows behind the last block close, too
        chain.step()
    poison(chain.log(), 2)
    chain.close()
    url = copy_log(chain.log(), folder / "log.sqlite")
    genesis = load_genesis(genesis_path(chain.data))
    return CountedChain(chain.data, url, genesis, rival, height)


def copy_log(source: EventLog, path: Path) -> str:
    """Copies a log to disk in order and with its times, and returns the copy's address."""
    clock = [0]
    url = f"sqlite:///{path}"
    with SqliteLog(url, path, lambda: clock[0]) as log:
        log.create_topics(dict(source.topics()))
        reader = source.reader("copy", source.topics())
        while records := reader.poll(256):
            for record in records:
                clock[0] = record.append_millis
                copied = Record(record.value, record.headers, record.key)
                offset = log.append(record.topic, [copied], is_durable=False)
                assert offset == record.offset
    return url


def _crossing(genesis: Genesis) -> list[SignedTransaction]:
    """Returns transactions of shard 1: an account, its funds, and two payments to nobody on shard 0."""
    place, issuer = (genesis.chain, 1), issuer_pair(SEED)
    address, key = bytes([7]) * 20, USER.public_key
    kinds = TransactionKind
    opens = Transaction(kinds.REGISTER, *place, 0, 0, 0, 0, 0, 7000, address, key)
    funds = Transaction(kinds.ISSUE, *place, 0, FIRST_ACCOUNT, 10**12, 0, 1, 7000)
    signed = [
        SignedTransaction(body, issuer.sign(body.body(), SIGNATURE_CONTEXT))
        for body in (opens, funds)
    ]
    for nonce in range(2):
        body = Transaction(
            kinds.OUTBOUND, *place, FIRST_ACCOUNT, 999, 5 + nonce, 1000, nonce, 7000, peer=0
        )
        signed.append(SignedTransaction(body, USER.sign(body.body(), SIGNATURE_CONTEXT)))
    return signed


def two_shards() -> Configuration:
    """Returns the configuration of the chain."""
    base = small_configuration()
    return base.model_copy(update={"chain": base.chain.model_copy(update={"shards": SHARDS})})


def _send_slowly(chain: MiniChain, rows: Sequence[CorpusRow]) -> None:
    for first in range(0, len(rows), 3):
        chain.send(rows[first : first + 3])
        for _ in range(2):
            chain.step()


def _plant(chain: MiniChain) -> tuple[bytes, int]:
    """Appends an equivocation, forged ones, a copy of a final block and a certified rival; returns the rival."""
    committee = identity_of(chain.genesis, 0, None, None).committee
    keys = [ValidatorSigner(validator_key(chain.data, index)) for index in range(committee.size)]

    def vote(phase: Phase, view: int, fill: int, signer: int, key: int) -> Vote:
        block, parent = (bytes([fill]) * 32, bytes(32)) if fill else (bytes(32), bytes(32))
        ballot = Ballot(committee.chain, 0, committee.epoch, phase, view, block, 0, parent)
        return Vote(ballot, signer, keys[key].sign(ballot.signed_bytes(committee.validators)))

    votes = [
        vote(Phase.NOTARIZE, FALSE_VIEW, 1, SIGNER, SIGNER),
        vote(Phase.NOTARIZE, FALSE_VIEW, 2, SIGNER, SIGNER),
        vote(Phase.NOTARIZE, FORGED_VIEW, 1, 1, 1),
        vote(Phase.NOTARIZE, FORGED_VIEW, 2, 1, 2),
    ]
    for one in [*votes, votes[0]]:
        row = {"sender": one.signer, "message": encode_vote(one), "sent_millis": chain.now}
        _append(chain.log(), "votes.0", CONSENSUS, row)
    last = list(TopicView(chain.log()).rows("blocks.0", BLOCKS))[-1]
    for copy in (last, {**last, "block_hash": bytes(32)}):
        _append(chain.log(), "blocks.0", BLOCKS, copy)
    header = replace(header_from_bytes(last["header"]), post_state_root=bytes(32))
    ballot = block_ballot(Block(header, last["payload"]), Phase.FINALIZE)
    signed = ballot.signed_bytes(committee.validators)
    certificate = Certificate(ballot, tuple((i, keys[i].sign(signed)) for i in (0, 1, 3)))
    rival = block_row(header, last["payload"], encode_certificate(certificate))
    _append(chain.log(), "blocks.0", BLOCKS, rival)
    unsigned = replace(certificate, signatures=((0, b"x" * 2420), *certificate.signatures[1:]))
    false = block_row(header, last["payload"], encode_certificate(unsigned))
    _append(chain.log(), "blocks.0", BLOCKS, false)
    return header.block_hash(), header.height


def _append(log: EventLog, topic: str, table: Table, row: Mapping[str, Any]) -> None:
    headers, body = encode(table, table.batch([row]))
    log.append(topic, [Record(body, headers)])
