from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.account_keys import issuer_pair
from pipelines.corpus import read_corpus
from pipelines.demo_traffic import planned_transactions, prepare_traffic
from proving.ledger.rules import LedgerParameters
from schemas.config import profile_configuration
from schemas.errors import ParameterError
from schemas.genesis import Genesis, encode_key
from tests.pipelines.corpus_judge import Judge
from tests.pipelines.test_traffic_import import Notes


def _genesis(seed: int) -> Genesis:
    configuration = profile_configuration("local")
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
    configuration = profile_configuration("local")
    genesis = _genesis(seed)
    traffic = prepare_traffic(tmp_path, configuration, genesis, seed, Notes())
    rows = list(read_corpus(traffic.corpus))
    judge = Judge(LedgerParameters(genesis.chain, 0), genesis.issuer_key)
    assert judge.verdicts(rows) == [row.expected for row in rows]
    assert traffic.rows == planned_transactions(configuration)
    assert len({row.expected for row in rows}) > 10
    again = prepare_traffic(tmp_path, configuration, genesis, seed, Notes())
    assert again == traffic


def test_traffic_that_is_there_is_not_taken_for_another(tmp_path: Path) -> None:
    base = profile_configuration("local")
    genesis, notes = _genesis(1), Notes()
    small = base.model_copy(
        update={"demo": base.demo.model_copy(update={"transactions_per_second": 1})}
    )
    traffic = prepare_traffic(tmp_path, small, genesis, 1, Notes())
    assert prepare_traffic(tmp_path, base, genesis, 1, notes).rows == traffic.rows
    assert any(f"{traffic.rows} transactions" in line for line in notes.notes)
    other = base.model_copy(
        update={"demo": base.demo.model_copy(update={"traffic": "/elsewhere/mine.csv"})}
    )
    with pytest.raises(ParameterError, match=r"not of mine\.csv"):
        prepare_traffic(tmp_path, other, genesis, 1, Notes())
