from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.account_keys import issuer_pair
from pipelines.cli.actions.traffic import chain_terms, generate, import_
from pipelines.cli.actions.wallet import new, scan
from pipelines.cli.contract import Call, StopFlag
from pipelines.corpus import read_corpus_info
from pipelines.key_store import key_path, list_keys
from pipelines.wallet import NewWallet
from schemas.config import Configuration
from schemas.errors import EnvironmentMissing, ParameterError
from schemas.genesis import Genesis, encode_key
from tests.pipelines.test_traffic_import import Notes

CONFIGURATION = Configuration()


def _call(data: Path) -> Call:
    return Call(Notes(), StopFlag(), flags={"storage.data": str(data), "demo.seed": 6})


def _genesis(data: Path, seed: int, age_slots: int) -> None:
    key = encode_key(issuer_pair(seed).public_key)
    document = Genesis(
        chain=77,
        shards=1,
        slot_micros=60_000_000,
        slots_per_window=4,
        windows_per_epoch=2,
        start_millis=time.time_ns() // 1_000_000 - age_slots * 60_000 - 30_000,
        issuer=key,
        validators=(key,),
    )
    (data / "genesis.json").write_text(document.model_dump_json())


def test_without_a_chain_the_terms_are_those_of_the_configuration(tmp_path: Path) -> None:
    assert chain_terms(tmp_path, CONFIGURATION, 1) == (1, 7680)


def test_a_chain_that_runs_sets_number_and_expiry(tmp_path: Path) -> None:
    _genesis(tmp_path, seed=6, age_slots=100)
    assert chain_terms(tmp_path, CONFIGURATION, 6) == (77, 7780)


def test_a_seed_that_is_not_the_issuers_is_refused_before_anything_is_signed(
    tmp_path: Path,
) -> None:
    _genesis(tmp_path, seed=6, age_slots=0)
    with pytest.raises(ParameterError, match="seed 5 does not give the issuer of the chain"):
        chain_terms(tmp_path, CONFIGURATION, 5)


def test_import_then_generate_give_one_corpus(tmp_path: Path) -> None:
    source, base, out = (tmp_path / name for name in ("t.csv", "base.parquet", "out.parquet"))
    source.write_text(f"from_address,to_address,value\n0x{1:040x},0x{2:040x},5\n")
    workload = tmp_path / "w.yaml"
    workload.write_text("accounts: 2")
    imported = import_(
        _call(tmp_path),
        source=source,
        out=base,
        shard=0,
        strict=False,
        limit=None,
        dry_run=False,
        threads=1,
    )
    generated = generate(
        _call(tmp_path), workload=workload, count=3, out=out, base=base, shard=0, threads=1
    )
    info = read_corpus_info(out)
    assert (imported.transfers, generated.transactions) == (1, 4)
    assert (info.seed, info.chain, info.expiry_slot, info.accounts) == (6, 2, 7680, 4)


def test_wallet_new_makes_a_key_and_what_needs_a_log_says_so(tmp_path: Path) -> None:
    made = new(_call(tmp_path), name="alice", register_with=None, shard=0)
    assert made == NewWallet("alice", made.address, str(key_path(tmp_path, "alice")))  # type: ignore[union-attr]
    with pytest.raises(ParameterError, match="does not exist"):
        new(_call(tmp_path), name="carol", register_with="bob", shard=0)
    with pytest.raises(EnvironmentMissing, match="no notes to scan for"):
        scan(_call(tmp_path), wallet="alice")
    assert list_keys(tmp_path) == ("alice",)
