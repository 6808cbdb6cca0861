"""`traffic generate`: seeded transfers of a workload, valid and invalid, each with the verdict to expect.

On a base corpus the new traffic continues the accounts' nonces and spends only what they have left. The
file holds all genesis transactions first, then the base's traffic, then the generated.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.account_keys import KeyRing
from pipelines.corpus import (
    ADMITTED,
    GENESIS_PHASE,
    TRAFFIC_PHASE,
    CorpusInfo,
    CorpusRow,
    CorpusWriter,
    map_in_order,
    read_corpus,
    read_corpus_info,
    write_corpus,
)
from pipelines.forge import PUBLIC_FEE_UNITS, Forge, usable_cores
from pipelines.progress import Progress
from pipelines.traffic_faults import EXPECTED, TransactionMaker
from pipelines.traffic_plan import Accounts, Planned, Routes, no_accounts, plan_traffic
from schemas.transactions import Transaction, TransactionKind, decode_body
from schemas.units import ADDRESS_BYTES, EXPIRY_SPAN, FEE_UNIT, FIRST_ACCOUNT
from schemas.workload import Invalidity, Workload

GENERATED_ADDRESS_DOMAIN = b"ecliptica/generated-address/v1"

GENERATED = "generated"
"""Origin of a valid generated transaction; that of an invalid one is its kind of fault."""

REPLAY_MEMORY = 1024
"""Latest valid transactions that a replay is picked from."""


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What to generate.

    Attributes:
        workload: The mix.
        out: Corpus to write.
        count: Transactions of the traffic to add.
        seed: Seed of the draws and, without a base, of the keys.
        base: Corpus to continue, or None. Its seed, chain, shard and expiry are kept.
        chain: Chain number to sign for.
        shard: Shard to sign for.
        expiry_slot: Last slot of every valid transaction.
        threads: Signing threads; 0 for one per usable core.
        shards: Shards of the chain. Each other one is taken to have the workload's accounts.
    """

    workload: Workload
    out: Path
    count: int
    seed: int = 0
    base: Path | None = None
    chain: int = 1
    shard: int = 0
    expiry_slot: int = EXPIRY_SPAN - 1
    threads: int = 0
    shards: int = 1


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """What was generated.

    Attributes:
        transactions: Rows of traffic in the file, the base's included.
        generated: Rows of traffic added.
        genesis_rows: Rows of genesis in the file.
        accounts: Registered accounts.
        expected: Added rows by expected verdict.
        invalid: Added rows by kind of fault.
        seconds: Wall time.
        out: Corpus.
        out_bytes: Its size.
    """

    transactions: int
    generated: int
    genesis_rows: int
    accounts: int
    expected: dict[str, int]
    invalid: dict[str, int]
    seconds: float
    out: str
    out_bytes: int


@dataclass(slots=True)
class World:
    """The accounts before the generated traffic.

    Attributes:
        info: Description of the base, or of nothing.
        accounts: Funds and nonces.
        labels: Address of each account, by place.
        last_millis: Latest recorded time of the base's traffic.
        issued: Units issued in all.
    """

    info: CorpusInfo
    accounts: Accounts = field(default_factory=no_accounts)
    labels: list[bytes] = field(default_factory=list)
    last_millis: int = 0
    issued: int = 0


def generate_traffic(options: GenerateOptions, report: Progress) -> GenerateResult:
    """Generates a corpus.

    Raises:
        ParameterError: The base is no corpus, or its funds or accounts do not suffice.
        EclipticaError: The corpus cannot be written.
    """
    started = time.monotonic()
    world = _base_world(options, report)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    with write_corpus(options.out) as writer:
        for row in _base_rows(options, GENESIS_PHASE):
            writer.add(row)
        _write_accounts(options, world, writer, report)
        for row in _base_rows(options, TRAFFIC_PHASE):
            writer.add(row)
        report.phase("sign", options.count)
        for row in _traffic(options, world):
            writer.add(row)
            counts[row.expected] += 1
            if row.origin != GENERATED:
                kinds[row.origin] += 1
            report.advance(1)
        writer.describe(_describe(options, world, writer, counts))
    return GenerateResult(
        transactions=writer.traffic_rows,
        generated=options.count,
        genesis_rows=writer.genesis_rows,
        accounts=len(world.labels),
        expected=dict(sorted(counts.items())),
        invalid=dict(sorted(kinds.items())),
        seconds=time.monotonic() - started,
        out=str(options.out),
        out_bytes=options.out.stat().st_size,
    )


def _base_rows(options: GenerateOptions, phase: str) -> Iterator[CorpusRow]:
    if options.base is not None:
        yield from (row for row in read_corpus(options.base) if row.phase == phase)


def _base_world(options: GenerateOptions, report: Progress) -> World:
    """Reads what the base leaves each account with.

    Credits are not counted: see `pipelines.traffic_plan`.
    """
    if options.base is None:
        fresh = CorpusInfo(
            options.chain, options.shard, options.seed, 0, 0, 0, options.expiry_slot, ()
        )
        return World(fresh)
    world = World(read_corpus_info(options.base))
    report.phase("base", world.info.genesis_rows + world.info.traffic_rows)
    for row in read_corpus(options.base):
        report.advance(1)
        world.last_millis = max(world.last_millis, row.event_millis or 0)
        if row.expected == ADMITTED:
            _book(world, decode_body(row.body))
    return world


def _write_accounts(
    options: GenerateOptions, world: World, writer: CorpusWriter, report: Progress
) -> None:
    """Registers and funds the workload's own accounts after those of the base."""
    info, workload = world.info, options.workload
    forge, ring = _forge(info), KeyRing(info.seed)
    first, nonce = len(world.labels), info.genesis_rows
    for number in range(workload.accounts):
        world.labels.append(generated_address(options.seed, first + number))
        world.accounts.add(workload.funding)
    world.issued += workload.accounts * workload.funding

    def register(number: int) -> CorpusRow:
        label = world.labels[first + number]
        signed = forge.register(nonce + number, label, ring.pair(label).public_key)
        return signed.row(GENESIS_PHASE, ADMITTED, f"account 0x{label.hex()}")

    def fund(number: int) -> CorpusRow:
        place = first + number
        signed = forge.issue(nonce + workload.accounts + number, place, workload.funding)
        return signed.row(GENESIS_PHASE, ADMITTED, f"funding of account {place}")

    threads = options.threads or usable_cores()
    works = (register, fund) if workload.funding else (register,)
    report.phase("genesis", len(works) * workload.accounts)
    for work in works:
        for row in map_in_order(range(workload.accounts), work, threads):
            writer.add(row)
            report.advance(1)


def _traffic(options: GenerateOptions, world: World) -> Iterator[CorpusRow]:
    """The generated rows in order; replays repeat the bytes of a row already yielded."""
    rng = random.Random(options.seed)  # noqa: S311 - reproducible draws, not secrets
    plan = plan_traffic(options.workload, world.accounts, options.count, PUBLIC_FEE_UNITS, rng)
    maker = TransactionMaker(
        _forge(world.info), KeyRing(world.info.seed), world.labels, world.issued
    )
    routes = Routes(options.shards, world.info.shard, options.workload)

    def make(item: tuple[int, Planned]) -> CorpusRow:
        index, planned = item
        millis = world.last_millis + int(index * 1000 / options.workload.rate)
        if planned.invalid is None:
            signed = maker.valid(planned, routes.destination(planned))
            return signed.row(TRAFFIC_PHASE, ADMITTED, GENERATED, millis)
        signed = maker.invalid(planned, planned.invalid)
        return signed.row(TRAFFIC_PHASE, EXPECTED[planned.invalid], planned.invalid, millis)

    recent: deque[CorpusRow] = deque(maxlen=REPLAY_MEMORY)
    for row in map_in_order(enumerate(plan), make, options.threads or usable_cores()):
        if row.origin == Invalidity.REPLAY:
            again = recent[int.from_bytes(row.body, "little") % len(recent)]
            yield replace(row, body=again.body, signature=again.signature)
            continue
        if row.expected == ADMITTED:
            recent.append(row)
        yield row


def generated_address(seed: int, place: int) -> bytes:
    """Returns the 20-byte address of a generated account."""
    content = GENERATED_ADDRESS_DOMAIN + seed.to_bytes(8, "little") + place.to_bytes(8, "little")
    return hashlib.shake_256(content).digest(ADDRESS_BYTES)


def _forge(info: CorpusInfo) -> Forge:
    return Forge(info.chain, info.shard, info.seed, info.expiry_slot)


def _book(world: World, transaction: Transaction) -> None:
    """Books an admitted transaction of the base."""
    fee = transaction.fee * FEE_UNIT
    match transaction.kind:
        case TransactionKind.REGISTER:
            world.labels.append(transaction.address)
            world.accounts.add(0)
        case TransactionKind.ISSUE:
            world.accounts.spendable[transaction.recipient - FIRST_ACCOUNT] += transaction.amount
            world.issued += transaction.amount
        case TransactionKind.TRANSFER | TransactionKind.OUTBOUND:
            place = transaction.sender - FIRST_ACCOUNT
            world.accounts.debit(place, transaction.amount + fee)


def _describe(
    options: GenerateOptions, world: World, writer: CorpusWriter, expected: Counter[str]
) -> CorpusInfo:
    source = {
        "kind": "generate",
        "seed": options.seed,
        "rows": options.count,
        "expected": dict(sorted(expected.items())),
        "workload": options.workload.model_dump(mode="json"),
    }
    return replace(
        world.info,
        genesis_rows=writer.genesis_rows,
        traffic_rows=writer.traffic_rows,
        accounts=len(world.labels),
        sources=(*world.info.sources, source),
    )
