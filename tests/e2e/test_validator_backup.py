"""A validator that has lost its journal comes back from a backup and never contradicts what it has signed."""

from __future__ import annotations

import json
import shutil
import stat
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.consensus_messages import decode_message
from operators.topic_view import TopicView
from pipelines.chain_setup import validator_directory
from pipelines.cli.main import build_app
from pipelines.validator_backup import QUIET_SECONDS, back_up, restore
from schemas.block import Phase, Vote
from schemas.errors import EclipticaError, ParameterError
from schemas.tables import CONSENSUS
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")
LOST = 2


def votes(chain: MiniChain) -> list[Vote]:
    rows = TopicView(chain.log()).rows("votes.0", CONSENSUS)
    found = [decode_message(row["message"]) for row in rows]
    return [one for one in found if isinstance(one, Vote) and one.signer == LOST]


def contradictions(found: list[Vote]) -> list[tuple[int, Phase]]:
    said: dict[tuple[int, Phase], set[bytes]] = defaultdict(set)
    for one in found:
        said[one.ballot.view, one.ballot.phase].add(one.ballot.block_hash)
    return [place for place, hashes in said.items() if len(hashes) > 1]


def height(chain: MiniChain) -> int:
    return TopicView(chain.log()).end("blocks.0")


def played(folder: Path) -> MiniChain:
    chain = MiniChain(folder / "data")
    rows = small_traffic(folder, chain.genesis, Workload(accounts=4, funding=10**12), 60)
    chain.start(*ROLES)
    chain.send(rows[:30])
    chain.run_until(lambda: height(chain) >= 4, 60)
    back_up(chain.data, LOST, folder / "early.backup")
    chain.send(rows[30:])
    chain.run_until(lambda: height(chain) >= 8, 60)
    return chain


def test_a_restored_validator_votes_again_and_only_above_all_that_it_has_signed(
    tmp_path: Path,
) -> None:
    chain = played(tmp_path)
    chain.kill(f"validator-{LOST}")
    before = votes(chain)
    shutil.rmtree(validator_directory(chain.data, LOST))
    later = chain.now + (QUIET_SECONDS + 1) * 1000
    told = restore(chain.data, tmp_path / "early.backup", chain.log(), later, margin=4)
    floor = told["votes_above_view"]["shard-0"]
    assert floor > max(one.ballot.view for one in before)

    chain.now = later
    chain.start(f"validator-{LOST}")
    chain.run_until(lambda: len(votes(chain)) > len(before), 3600)
    after = votes(chain)[len(before) :]
    assert min(one.ballot.view for one in after) > floor
    assert contradictions(before + after) == []
    tall = height(chain)
    chain.kill("validator-0")  # a quorum now needs the restored one
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 90)
    chain.send(rows[-30:])
    chain.run_until(lambda: height(chain) > tall, 600)
    chain.roles[f"validator-{LOST}"].close()
    chain.roles.pop(f"validator-{LOST}")
    chain.start(f"validator-{LOST}")
    chain.close()


def test_a_validator_that_stops_below_its_floor_keeps_the_floor(tmp_path: Path) -> None:
    chain = played(tmp_path)
    name = f"validator-{LOST}"
    chain.kill(name)
    shutil.rmtree(validator_directory(chain.data, LOST))
    later = chain.now + (QUIET_SECONDS + 1) * 1000
    told = restore(chain.data, tmp_path / "early.backup", chain.log(), later)
    floor = told["votes_above_view"]["shard-0"]
    before, tall = len(votes(chain)), height(chain)
    chain.start(name)
    chain.send(
        small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 80)[-20:]
    )
    chain.run_until(lambda: height(chain) > tall, 60)
    chain.roles.pop(name).close()
    chain.start(name)
    node = chain.roles[name].node  # type: ignore[attr-defined]
    assert node.core.tip.view < floor == node.core.floor
    assert len(votes(chain)) == before
    chain.close()


def test_a_validator_that_may_still_run_is_not_restored(tmp_path: Path) -> None:
    chain = played(tmp_path)
    backup = tmp_path / "early.backup"
    with pytest.raises(EclipticaError, match="it seems to run"):
        restore(chain.data, backup, chain.log(), chain.now)  # it has never sat on the beacon
    (validator_directory(chain.data, LOST) / "beacon.journal").touch()
    with pytest.raises(ParameterError, match="has its journals"):
        restore(chain.data, backup, chain.log(), chain.now)
    chain.kill(f"validator-{LOST}")
    shutil.rmtree(validator_directory(chain.data, LOST))
    with pytest.raises(EclipticaError, match="it seems to run"):
        restore(chain.data, backup, chain.log(), chain.now + 1000)
    assert not validator_directory(chain.data, LOST).exists()
    chain.close()


def stuck(folder: Path, *gone: str) -> MiniChain:
    """Returns a chain that has waited for a quorum for longer than `QUIET_SECONDS`, repeating itself."""
    chain = played(folder)
    for name in gone:
        chain.kill(name)
    rows = small_traffic(folder, chain.genesis, Workload(accounts=4, funding=10**12), 90)
    chain.send(rows[-30:])
    end = chain.now + (QUIET_SECONDS + 5) * 1000
    while chain.now < end:
        chain.step()
        chain.now += 400
    return chain


def test_survivors_that_repeat_its_signatures_do_not_keep_a_validator_away(tmp_path: Path) -> None:
    chain = stuck(tmp_path, f"validator-{LOST}", "validator-3")
    records = list(TopicView(chain.log()).records("certificates.0"))
    assert chain.now - records[-1].append_millis < 10_000  # they go on
    shutil.rmtree(validator_directory(chain.data, LOST))
    told = restore(chain.data, tmp_path / "early.backup", chain.log(), chain.now)
    assert told["validator"] == LOST
    chain.close()


def test_a_validator_that_waits_for_a_quorum_still_seems_to_run(tmp_path: Path) -> None:
    chain = stuck(tmp_path, "validator-0", "validator-3")
    with pytest.raises(EclipticaError, match=f"validator {LOST} has signed . s ago"):
        restore(tmp_path / "elsewhere", tmp_path / "early.backup", chain.log(), chain.now)
    chain.close()


def test_a_restored_key_is_its_owners_alone_and_a_torn_attempt_is_made_again(
    tmp_path: Path,
) -> None:
    chain = played(tmp_path)
    chain.kill(f"validator-{LOST}")
    directory = validator_directory(chain.data, LOST)
    key = (directory / "keys" / "validator.json").read_bytes()
    shutil.rmtree(directory)
    draft = directory / "keys" / ".validator.json.draft"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(key[:10])  # the power went while it was written
    later = chain.now + (QUIET_SECONDS + 1) * 1000
    restore(chain.data, tmp_path / "early.backup", chain.log(), later)
    restored = directory / "keys" / "validator.json"
    assert restored.read_bytes() == key
    assert stat.S_IMODE(restored.stat().st_mode) == 0o600
    assert not draft.exists()
    chain.close()


def test_a_backup_is_its_owners_alone_and_holds_no_journal(tmp_path: Path) -> None:
    chain = played(tmp_path)
    backup = tmp_path / "early.backup"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with tarfile.open(backup) as archive:
        names = archive.getnames()
    assert "validator.json" in names
    assert not [name for name in names if "journal" in name]
    with pytest.raises(ParameterError, match="exists"):
        back_up(chain.data, LOST, backup)
    chain.close()


def test_an_attempt_that_broke_off_is_finished_by_the_next(tmp_path: Path) -> None:
    chain = played(tmp_path)
    chain.kill(f"validator-{LOST}")
    directory = validator_directory(chain.data, LOST)
    shutil.rmtree(directory)
    later = chain.now + (QUIET_SECONDS + 1) * 1000
    first = restore(chain.data, tmp_path / "early.backup", chain.log(), later)
    shutil.rmtree(directory / "keys")
    (directory / "beacon.journal").unlink()
    assert restore(chain.data, tmp_path / "early.backup", chain.log(), later) == first
    chain.close()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    chain = MiniChain(tmp_path / "data")
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ParameterError, match="is no backup of a validator"):
        restore(chain.data, file, chain.log(), chain.now)


def test_the_command_wants_to_be_told_that_the_old_one_is_gone(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    out = tmp_path / "two.backup"
    data = ["--data", str(chain.data), "--json"]
    made = CliRunner().invoke(build_app(), ["validator", "backup", "2", str(out), *data])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["validator"] == 2
    refused = CliRunner().invoke(build_app(), ["validator", "restore", str(out), *data])
    assert isinstance(refused.exception, ParameterError)
    assert "stop the old one for good" in refused.exception.hint


def test_a_log_of_another_chain_says_nothing_of_a_validators_votes(tmp_path: Path) -> None:
    chain = played(tmp_path)
    backup = tmp_path / "early.backup"
    chain.kill(f"validator-{LOST}")
    shutil.rmtree(validator_directory(chain.data, LOST))
    other = MiniChain(tmp_path / "other")
    with pytest.raises(ParameterError, match="is not of this chain"):
        restore(chain.data, backup, other.log(), chain.now + 10**6)
    assert not validator_directory(chain.data, LOST).exists()
    chain.close()
