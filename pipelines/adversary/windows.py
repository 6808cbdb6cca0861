"""Windows of random and of real traffic, valid and invalid, and what ledger and circuit make of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_edits import checker
from pipelines.adversary.ledger_traffic import (
    ISSUER_KEY,
    PARAMETERS,
    issue,
    random_transaction,
    register,
    transfer,
)
from pipelines.ethereum_etl import SourceRow, read_rows
from pipelines.traffic_survey import WEI_PER_UNIT
from proving.errors import ProofError
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.trace import build_trace
from proving.segment_proofs import prove_segment, segment_layout, verify_segment
from schemas.errors import ParameterError
from schemas.statement import TOUCHED_ARRAYS
from schemas.transactions import Transaction
from schemas.units import FEE_UNIT, FIRST_ACCOUNT

AIR = LedgerAir(8, 1)
"""So low that long windows are cut into segments; the claims are those of every height."""

WINDOW = 1
RANDOM_ACCOUNTS = 6
FUNDING = 10**12
FEE = 1000
MAX_BLOCKS, MAX_TRANSACTIONS = 3, 10
LONG_BLOCKS, LONG_TRANSACTIONS = 8, 24
LONG_RANDOM, LONG_REAL = 0.04, 0.3
"""Share of long windows; real ones touch so many accounts that they are cut into segments."""

FAULTY = 0.2
"""Share of real transfers that are spoiled."""

REAL = 0.4
"""Share of windows that replay real traffic."""


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """A block before anyone judged its transactions."""

    slot: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an executor says of a window.

    Attributes:
        verdicts: Per block and transaction, why it is refused, or None.
        accounts: Index -> balance and nonce, of every account with either.
        roots: Of the arrays that steps write, and the word of the state, hex.
    """

    verdicts: tuple[tuple[str | None, ...], ...]
    accounts: dict[int, tuple[int, int]]
    roots: dict[str, str]


@dataclass(frozen=True, slots=True)
class WindowRun:
    """A window, what the native executor says of it, and what the circuit does not agree with.

    Attributes:
        number: Of the window in its campaign.
        is_real: Whether it replays real traffic.
        blocks: The window.
        native: What the native executor says.
        segments: Circuits filled.
        problems: What the circuit says otherwise; empty if it agrees.
        proven: Whether prover and verifier ran on it too.
    """

    number: int
    is_real: bool
    blocks: tuple[PlannedBlock, ...]
    native: Outcome
    segments: int
    problems: tuple[str, ...]
    proven: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where windows come from.

    Attributes:
        seed: Of everything random.
        source: File of Ethereum-ETL transactions that real windows replay.
    """

    seed: int
    source: Path

    def opening(self, *, is_real: bool) -> list[PlannedBlock]:
        """Returns the blocks that register and fund the accounts."""
        return _opening(self, is_real)

    def run(self, number: int, *, prove: bool) -> WindowRun:
        """Makes a window and runs ledger and circuit on it.

        Args:
            number: Of the window; it fixes all of it together with the seed.
            prove: Prove and verify its segments too, as the pipelines do.
        """
        rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible, no secret
        is_real = rng.random() < REAL
        ledger = _funded(self, is_real).branch()
        source = self._replayed(rng, ledger) if is_real else _random_blocks(rng, ledger)
        blocks, verdicts = [], []
        final: list[Block] = []
        for block in source:
            height = ledger.height + 1
            effects = ledger.execute_block(block.transactions, height, block.slot, WINDOW)
            reasons = {place: str(reason) for place, reason in effects.rejected}
            verdicts.append(tuple(reasons.get(i) for i in range(len(block.transactions))))
            accepted = tuple(block.transactions[place] for place in effects.accepted)
            blocks.append(block)
            final.append(Block(height, block.slot, WINDOW, accepted))
        native = Outcome(tuple(verdicts), _accounts(ledger), _roots(ledger))
        segments, problems = self._check(ledger, final, is_real=is_real)
        if prove:
            problems += self._prove(ledger, final, is_real=is_real)
        return WindowRun(number, is_real, tuple(blocks), native, segments, tuple(problems), prove)

    def _check(
        self, native: Ledger, blocks: Sequence[Block], *, is_real: bool
    ) -> tuple[int, list[str]]:
        """Fills the circuit with a window and checks every row of it."""
        after = _funded(self, is_real).branch()
        segments = cut_window(after, blocks, WINDOW, AIR.layout)
        problems = []
        for place, segment in enumerate(segments):
            report = checker(AIR).check(*build_trace(AIR, segment, process_backend()))
            if not report.holds:
                problems.append(f"segment {place}: {report}")
        if _roots(after) != _roots(native):
            problems.append(f"the segments end at {_roots(after)}")
        return len(segments), problems

    def _prove(self, native: Ledger, blocks: Sequence[Block], *, is_real: bool) -> list[str]:
        """Proves a window with the registered circuit and verifies where its proofs lead."""
        after = _funded(self, is_real).branch()
        problems = []
        shown = after.boundary()
        for segment in cut_window(after, blocks, WINDOW, segment_layout()):
            backend = process_backend()
            try:
                statement, _ = verify_segment(prove_segment(segment, backend).data, backend)
            except ProofError as error:
                return [f"a true proof is refused: {error}"]
            if statement.before != shown and statement.segment:
                problems.append(f"segment {statement.segment} does not follow")
            shown = statement.after
        if shown != native.boundary():
            problems.append("the proofs end elsewhere")
        return problems

    def _replayed(self, rng: random.Random, ledger: Ledger) -> Iterable[PlannedBlock]:
        rows, places = _rows(self.source), _places(self.source)
        start = rng.randrange(len(rows))
        nonces: dict[int, int] = {}
        slot = ledger.slot
        for count in _block_sizes(rng, LONG_REAL):
            slot += rng.randrange(1, 4)
            chosen = [rows[(start + i) % len(rows)] for i in range(count)]
            start += count
            bodies = [_transfer_of(row, places, nonces) for row in chosen]
            yield PlannedBlock(
                slot, tuple(_spoiled(rng, t) if rng.random() < FAULTY else t for t in bodies)
            )


@dataclass(slots=True)
class _Opening:
    """Collects genesis transactions with the issuer's nonces."""

    transactions: list[Transaction] = field(default_factory=list)

    def fund(self, accounts: int, amount: int) -> list[PlannedBlock]:
        names = range(accounts)
        bodies = [register(2 + name, name) for name in names]
        bodies += [issue(FIRST_ACCOUNT + name, amount, accounts + name) for name in names]
        return [PlannedBlock(1, tuple(bodies))]


@cache
def _opening(traffic: Traffic, is_real: bool) -> list[PlannedBlock]:
    if not is_real:
        return _Opening().fund(RANDOM_ACCOUNTS, 2**55)
    rows = _rows(traffic.source)
    need = sum(row.wei // WEI_PER_UNIT + FEE * FEE_UNIT for row in rows)
    return _Opening().fund(len(_places(traffic.source)), need)


@cache
def _funded(traffic: Traffic, is_real: bool) -> Ledger:
    ledger = genesis_ledger(PARAMETERS, process_backend(), ISSUER_KEY)
    for block in _opening(traffic, is_real):
        effects = ledger.execute_block(block.transactions, ledger.height + 1, block.slot, 0)
        if effects.rejected:
            raise ParameterError(f"the accounts of {traffic.source} cannot be funded")
    return ledger


@cache
def _rows(source: Path) -> tuple[SourceRow, ...]:
    rows = tuple(
        row for row in read_rows(source) if isinstance(row, SourceRow) and row.recipient is not None
    )
    if not rows:
        raise ParameterError(f"{source} holds no transfers")
    return rows


@cache
def _places(source: Path) -> dict[bytes, int]:
    """Returns the account of each address, in order of appearance."""
    seen = dict.fromkeys(
        name for row in _rows(source) for name in (row.sender, row.recipient or row.sender)
    )
    return {name: FIRST_ACCOUNT + place for place, name in enumerate(seen)}


def _transfer_of(row: SourceRow, places: dict[bytes, int], nonces: dict[int, int]) -> Transaction:
    sender = places[row.sender]
    nonce = nonces.get(sender, 0)
    nonces[sender] = nonce + 1
    amount = row.wei // WEI_PER_UNIT
    return transfer(sender, places[row.recipient or row.sender], amount, nonce, FEE, expiry=30_000)


def _spoiled(rng: random.Random, body: Transaction) -> Transaction:
    """Returns a transaction with one field that is mostly wrong; what follows of its sender is wrong too."""
    faults: list[tuple[str, Any]] = [
        ("nonce", body.nonce + rng.choice((1, 2, 2**20))),
        ("nonce", max(0, body.nonce - 1)),
        ("amount", 2**60 - 1 - rng.randrange(1000)),
        ("sender", rng.choice((0, 1, 3, 15, 2**20))),
        ("recipient", rng.choice((0, 1, 15, 2**29, 2**30 - 1))),
        ("fee", rng.randrange(1000)),
        ("expiry", rng.choice((0, 2**29))),
        ("chain", body.chain + 1),
        ("shard", body.shard + 1),
        ("peer", 1),
    ]
    name, value = rng.choice(faults)
    return replace(body, **{name: value})


def _random_blocks(rng: random.Random, ledger: Ledger) -> Iterable[PlannedBlock]:
    slot = ledger.slot
    for count in _block_sizes(rng, LONG_RANDOM):
        slot += rng.randrange(4)
        bodies = [random_transaction(rng, ledger) for _ in range(count)]
        later = slot - ledger.slot  # what they were made for
        yield PlannedBlock(slot, tuple(replace(b, expiry=b.expiry + later) for b in bodies))


def _block_sizes(rng: random.Random, share_of_long: float) -> list[int]:
    is_long = rng.random() < share_of_long
    blocks, size = (LONG_BLOCKS, LONG_TRANSACTIONS) if is_long else (MAX_BLOCKS, MAX_TRANSACTIONS)
    return [
        rng.randrange(size + 1) for _ in range(blocks if is_long else 1 + rng.randrange(blocks))
    ]


def _accounts(ledger: Ledger) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    above: Ledger | None = ledger
    while above is not None:
        for index, account in above.accounts.items():
            found.setdefault(index, (account.balance, account.nonce))
        above = above.parent
    return {index: values for index, values in found.items() if any(values)}


def _roots(ledger: Ledger) -> dict[str, str]:
    roots = {array.name: ledger.root(array).hex() for array in TOUCHED_ARRAYS}
    return {**roots, "state": ledger.state_root().hex()}
