from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.account_keys import issuer_pair
from pipelines.corpus import GENESIS_PHASE, TRAFFIC_PHASE, CorpusRow, read_corpus, read_corpus_info
from pipelines.traffic_faults import EXPECTED
from pipelines.traffic_generate import GenerateOptions, GenerateResult, generate_traffic
from pipelines.traffic_import import import_traffic
from pipelines.traffic_survey import ImportOptions
from proving.ledger.rules import LedgerParameters
from schemas.errors import ParameterError
from schemas.rejection import RejectionReason
from schemas.workload import Amounts, Invalidity, Workload
from tests.pipelines.corpus_judge import Judge
from tests.pipelines.test_traffic_import import Notes

ALL_FAULTS = Workload(
    accounts=6, funding=10**12, invalid=dict.fromkeys(Invalidity, 0.04), recipient_exponent=1.0
)


def _generate(options: GenerateOptions) -> tuple[GenerateResult, list[CorpusRow]]:
    return generate_traffic(options, Notes()), list(read_corpus(options.out))


def _judge(chain: int, seed: int, shard: int = 0) -> Judge:
    return Judge(LedgerParameters(chain=chain, shard=shard), issuer_pair(seed).public_key)


def test_every_verdict_is_the_expected_one_whatever_the_fault(tmp_path: Path) -> None:
    options = GenerateOptions(ALL_FAULTS, tmp_path / "g.parquet", 400, seed=3, chain=9, shard=2)
    result, rows = _generate(options)
    assert _judge(9, 3, 2).verdicts(rows) == [row.expected for row in rows]
    assert set(result.invalid) == {kind.value for kind in Invalidity}
    assert result == GenerateResult(
        transactions=400,
        generated=400,
        genesis_rows=12,
        accounts=6,
        expected=dict(sorted(Counter(row.expected for row in rows[12:]).items())),
        invalid={
            kind.value: sum(row.origin == kind for row in rows[12:]) for kind in sorted(Invalidity)
        },
        seconds=result.seconds,
        out=str(options.out),
        out_bytes=options.out.stat().st_size,
    )


def test_a_replay_repeats_bytes_that_were_sent_before(tmp_path: Path) -> None:
    workload = Workload(accounts=3, invalid={Invalidity.REPLAY: 0.5})
    _, rows = _generate(GenerateOptions(workload, tmp_path / "g.parquet", 40, seed=1))
    seen = set()
    for row in rows:
        sent = (row.body, row.signature)
        assert (sent in seen) == (row.origin == Invalidity.REPLAY)
        seen.add(sent)


def test_generated_traffic_continues_an_import(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    lines = [f"0x{n % 4:040x},0x{(n + 1) % 5:040x},{n * 10**18}" for n in range(30)]
    source.write_text("\n".join(["from_address,to_address,value", *lines]))
    base = tmp_path / "base.parquet"
    import_traffic(ImportOptions(source, base, seed=8, chain=4), Notes())
    options = GenerateOptions(ALL_FAULTS, tmp_path / "g.parquet", 100, seed=77, base=base)
    result, rows = _generate(options)
    base_rows = list(read_corpus(base))
    phases = [row.phase for row in rows]
    assert phases == sorted(phases, key=[GENESIS_PHASE, TRAFFIC_PHASE].index)
    assert [row for row in rows if row in base_rows] == base_rows
    assert _judge(4, 8).verdicts(rows) == [row.expected for row in rows]
    assert (result.transactions, result.generated, result.accounts) == (130, 100, 11)
    info, base_info = read_corpus_info(options.out), read_corpus_info(base)
    assert (info.seed, info.chain, info.accounts, len(info.sources)) == (8, 4, 11, 2)
    assert info.sources[0] == base_info.sources[0]


def test_generating_twice_in_steps_is_valid_too(tmp_path: Path) -> None:
    workload = Workload(accounts=3, invalid={Invalidity.NONCE_GAP: 0.2})
    first = GenerateOptions(workload, tmp_path / "a.parquet", 30, seed=1)
    _generate(first)
    second = GenerateOptions(workload, tmp_path / "b.parquet", 30, seed=2, base=first.out)
    result, rows = _generate(second)
    assert _judge(1, 1).verdicts(rows) == [row.expected for row in rows]
    assert (result.accounts, result.transactions) == (6, 60)
    times = [row.event_millis for row in rows if row.phase == TRAFFIC_PHASE]
    assert times == [10 * n for n in range(30)] + [290 + 10 * n for n in range(30)]


def test_the_same_seed_gives_the_same_bodies_on_any_number_of_threads(tmp_path: Path) -> None:
    one = GenerateOptions(ALL_FAULTS, tmp_path / "1.parquet", 60, seed=5, threads=1)
    many = replace(one, out=tmp_path / "2.parquet", threads=3)
    bodies = [[(row.body, row.expected) for row in _generate(o)[1]] for o in (one, many)]
    assert bodies[0] == bodies[1]


def test_funds_that_do_not_suffice_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    workload = Workload(accounts=2, funding=3_000_000, amounts=Amounts(maximum=0))
    with pytest.raises(ParameterError, match="no account has the 1000000 units"):
        _generate(GenerateOptions(workload, tmp_path / "g.parquet", 7))
    assert list(tmp_path.iterdir()) == []


def test_every_fault_has_one_expected_reason() -> None:
    assert set(EXPECTED) == set(Invalidity)
    assert set(EXPECTED.values()) <= set(RejectionReason)
