from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import pytest

from pipelines.account_keys import issuer_pair
from pipelines.corpus import ADMITTED, CorpusRow, read_corpus, read_corpus_info
from pipelines.ethereum_etl import SourceRow, read_rows
from pipelines.traffic_import import ImportResult, import_traffic
from pipelines.traffic_survey import ImportOptions
from proving.ledger.rules import LedgerParameters
from schemas.errors import EclipticaError, ParameterError
from schemas.transactions import decode_body
from schemas.units import FIRST_ACCOUNT
from tests.pipelines.corpus_judge import Judge

SAMPLE = "data/ethereum_blocks_17173049_17173050.csv"
HEADER = "from_address,to_address,value"
FEE = 1_000_000


@dataclass
class Notes:
    phases: list[tuple[str, int | None]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def phase(self, name: str, total: int | None) -> None:
        self.phases.append((name, total))

    def advance(self, steps: int) -> None:
        self.steps[self.phases[-1][0]] += steps

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImportResult, Notes, list[CorpusRow]]:
    out = tmp_path_factory.mktemp("corpus") / "sample.parquet"
    notes = Notes()
    with resources.as_file(resources.files("pipelines") / SAMPLE) as path:
        result = import_traffic(ImportOptions(path, out, seed=11, chain=5), notes)
    return result, notes, list(read_corpus(out))


def _source_rows() -> list[SourceRow]:
    with resources.as_file(resources.files("pipelines") / SAMPLE) as path:
        return [row for row in read_rows(path) if isinstance(row, SourceRow) and row.recipient]


def test_the_sample_gives_the_counts_of_the_file(
    sample: tuple[ImportResult, Notes, list[CorpusRow]],
) -> None:
    result, notes, rows = sample
    source = _source_rows()
    senders = {row.sender for row in source}
    accounts = senders | {row.recipient for row in source}
    units = [row.wei // 10**9 for row in source]
    assert result == ImportResult(
        rows=298,
        transfers=297,
        contract_creations=1,
        broken={},
        problems=(),
        zero_values=sum(row.wei == 0 for row in source),
        rounded=sum(row.wei % 10**9 > 0 for row in source),
        rounded_wei=sum(row.wei % 10**9 for row in source),
        accounts=len(accounts),
        senders=len(senders),
        issued=sum(units) + 297 * FEE,
        genesis_rows=len(accounts) + len(senders),
        seconds=result.seconds,
        out=result.out,
        out_bytes=Path(str(result.out)).stat().st_size,
    )
    assert len(rows) == result.genesis_rows + result.transfers
    assert notes.steps == {"read": 298, "genesis": result.genesis_rows, "sign": 297}
    assert dict(notes.phases)["genesis"] == result.genesis_rows


def test_every_transaction_of_the_sample_is_valid_in_order_and_empties_its_sender(
    sample: tuple[ImportResult, Notes, list[CorpusRow]],
) -> None:
    _, _, rows = sample
    judge = Judge(LedgerParameters(chain=5, shard=0), issuer_pair(11).public_key)
    assert judge.verdicts(rows) == [row.expected for row in rows] == [ADMITTED] * len(rows)
    received: Counter[bytes] = Counter()
    for source in _source_rows():
        received[source.recipient or b""] += source.wei // 10**9
    balances = {
        address: judge.account(FIRST_ACCOUNT + place).balance
        for place, address in enumerate(judge.addresses)
    }
    assert balances == {address: received[address] for address in judge.addresses}


def test_the_order_of_the_file_the_values_and_the_nonces_are_kept(
    sample: tuple[ImportResult, Notes, list[CorpusRow]],
) -> None:
    result, _, rows = sample
    addresses = [decode_body(row.body).address for row in rows[: result.accounts]]
    sent: Counter[bytes] = Counter()
    expected = []
    for source in _source_rows():
        pair = (source.sender, source.recipient)
        expected.append((*pair, source.wei // 10**9, sent[source.sender], f"line {source.line}"))
        sent[source.sender] += 1
    actual = []
    for row in rows[result.genesis_rows :]:
        body = decode_body(row.body)
        pair = (addresses[body.sender - 16], addresses[body.recipient - 16])
        actual.append((*pair, body.amount, body.nonce, row.origin))
    assert actual == expected
    assert {row.event_millis for row in rows[result.genesis_rows :]} == {
        1683029999000,
        1683030011000,
    }


def _hex(number: int) -> str:
    return f"0x{number:040x}"


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def _import(path: Path, **changes: object) -> tuple[ImportResult, Notes]:
    notes = Notes()
    options = ImportOptions(path, path.with_name("out.parquet"))
    return import_traffic(replace(options, **changes), notes), notes  # type: ignore[arg-type]


def test_broken_rows_are_named_counted_and_skipped(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f"{_hex(1)},{_hex(2)},-5",
        f"{_hex(1)},{_hex(2)},5000000000",
        f"{_hex(1)},0xzz,5",
        f"{_hex(1)},{_hex(2)},{2**60 * 10**9}",
        f"{_hex(1)},,7",
    )
    result, notes = _import(path)
    assert result.broken == {"address": 1, "negative": 1, "too_large": 1}
    assert (result.rows, result.transfers, result.contract_creations) == (5, 1, 1)
    assert notes.notes == [f"skipped {problem}" for problem in result.problems]
    assert [problem.split(":")[0] for problem in result.problems] == ["line 2", "line 4", "line 5"]
    info = read_corpus_info(tmp_path / "out.parquet")
    assert (info.accounts, info.traffic_rows, info.sources[0]["broken"]) == (2, 1, 3)


def test_strict_stops_at_the_first_broken_row_and_writes_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, f"{_hex(1)},{_hex(2)},5", f"{_hex(1)},{_hex(2)},x")
    with pytest.raises(EclipticaError, match=r"line 3: value: 'x'"):
        _import(path, strict=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]


def test_a_dry_run_counts_the_same_and_writes_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, *(f"{_hex(n % 5)},{_hex(n % 3)},{n}" for n in range(50)))
    dry, _ = _import(path, dry_run=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]
    wet, _ = _import(path)
    assert dry == replace(wet, out=None, out_bytes=0, seconds=dry.seconds)


def test_a_limit_reads_only_the_first_rows(tmp_path: Path) -> None:
    path = _file(tmp_path, *(f"{_hex(1)},{_hex(2)},{n}" for n in range(9)))
    result, _ = _import(path, limit=4)
    assert (result.rows, result.transfers) == (4, 4)


def test_gzip_gives_the_same_bodies_and_another_seed_other_keys(tmp_path: Path) -> None:
    path = _file(tmp_path, f"{_hex(1)},{_hex(2)},5", f"{_hex(2)},{_hex(2)},6")
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    def bodies(source: Path, seed: int) -> list[bytes]:
        _import(source, seed=seed)
        return [row.body for row in read_corpus(tmp_path / "out.parquet")]

    plain = bodies(path, 1)
    assert bodies(packed, 1) == plain
    assert bodies(path, 2)[0] != plain[0]
    assert bodies(path, 2)[2:] == plain[2:]


def test_more_money_than_there_is_is_refused_with_what_to_do(tmp_path: Path) -> None:
    half = 2**59 * 10**9
    by_one = _file(tmp_path, f"{_hex(1)},{_hex(2)},{half}", f"{_hex(1)},{_hex(2)},{half}")
    with pytest.raises(ParameterError, match=r"line 3: 0x0+1 sends more than an account can hold"):
        _import(by_one)
    by_two = _file(tmp_path, f"{_hex(1)},{_hex(2)},{half}", f"{_hex(2)},{_hex(1)},{half}")
    with pytest.raises(ParameterError, match=r"moves \d+ units in all") as caught:
        _import(by_two)
    assert caught.value.hint == "import fewer rows with --limit"


def test_a_file_of_contract_creations_gives_an_empty_corpus(tmp_path: Path) -> None:
    result, _ = _import(_file(tmp_path, f"{_hex(1)},,5"))
    assert (result.transfers, result.accounts, result.genesis_rows) == (0, 0, 0)
    assert list(read_corpus(tmp_path / "out.parquet")) == []
