from __future__ import annotations

from pathlib import Path

import pytest

from operators.event_log import LogCorrupt, Record, open_log
from pipelines.chain_setup import (
    check_history,
    check_log,
    create_topics,
    genesis_path,
    open_chain,
    prepare_chain,
    validator_directory,
)
from schemas.config import profile_configuration
from schemas.errors import EclipticaError, ParameterError

NOW = 1_800_000_000_000
LOCAL = profile_configuration("local")


def test_a_chain_is_made_once(tmp_path: Path) -> None:
    made = prepare_chain(tmp_path, LOCAL, 1, lambda: NOW)
    assert prepare_chain(tmp_path, LOCAL, 1, lambda: NOW + 5) == made
    with pytest.raises(ParameterError, match="seed 2 does not give the issuer"):
        prepare_chain(tmp_path, LOCAL, 2, lambda: NOW)


def test_an_empty_log_under_validators_that_have_voted_is_refused(tmp_path: Path) -> None:
    genesis = prepare_chain(tmp_path, LOCAL, 1, lambda: NOW)
    with open_log(f"sqlite:///{tmp_path / 'log.sqlite'}") as log:
        create_topics(log, genesis)
        check_history(log, tmp_path)
        (validator_directory(tmp_path, 2) / "shard-0.snapshot").write_bytes(b"state")
        with pytest.raises(EclipticaError, match=r"log .* is empty, but the validators"):
            check_history(log, tmp_path)
        log.append("votes.0", [Record(b"a vote")])
        check_history(log, tmp_path)


def test_a_log_of_a_chain_is_refused_to_another_data_directory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    first, second = tmp_path / "first", tmp_path / "second"
    check_log(url, first)
    genesis = prepare_chain(first, LOCAL, 1, lambda: NOW)
    with open_log(url) as log:
        open_chain(log, first, genesis)
        open_chain(log, first, genesis)
        assert log.end_offset("genesis") == 1
    check_log(url, first)
    with pytest.raises(ParameterError, match=r"is of a chain, and .*second holds none"):
        check_log(url, second)
    assert not genesis_path(second).exists()
    other = prepare_chain(second, LOCAL, 1, lambda: NOW + 1)
    with open_log(url) as log, pytest.raises(ParameterError, match="is of another chain than"):
        open_chain(log, second, other)


def test_a_log_that_begins_with_no_genesis_is_refused(tmp_path: Path) -> None:
    genesis = prepare_chain(tmp_path, LOCAL, 1, lambda: NOW)
    with open_log(f"sqlite:///{tmp_path / 'log.sqlite'}") as log:
        create_topics(log, genesis)
        log.append("genesis", [Record(b"garbage")])
        with pytest.raises(LogCorrupt, match="begins with no genesis document"):
            open_chain(log, tmp_path, genesis)
