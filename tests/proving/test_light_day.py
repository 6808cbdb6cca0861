"""A day as a light client sees it: all parts together, alone in an empty folder, and nothing that does not belong together."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.cli.main import main
from pipelines.sample_votes import COUNT, QUORUM, Voted
from proving.light.certificate import check_certificate, decode_certificate
from proving.light.checkpoint import checkpoint_of
from proving.light.command import FILES
from proving.light.day import DayFiles, trusted_checkpoint, verify_day
from proving.light.errors import ProofError, ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.inclusion import check_inclusion, decode_inclusion
from proving.light.signature_check import PLAIN_PYTHON, best_signature_check
from schemas.run import RunStatement
from tests.suites.day_votes import statement
from tests.suites.proven_days import HASHER
from tests.suites.whole_days import WholeDay, companions, whole_day

ROOT = Path(__file__).resolve().parents[2]
FAST = best_signature_check()
RUN = RunStatement.from_bytes(statement().to_bytes())
WORD = statement().digest(HASHER)


def write(folder: Path, day: WholeDay) -> list[str]:
    """Writes a day's files and returns the arguments that name them."""
    folder.mkdir(exist_ok=True)
    names = {"day=0.proof": day.proof, "day=0.certificate": day.certificate}
    names |= {"genesis.checkpoint": day.checkpoint, "one.inclusion": day.inclusion}
    for name, data in names.items():
        (folder / name).write_bytes(data)
    given = {"--previous": "genesis.checkpoint", "--inclusion": "one.inclusion"}
    listed = [part for name, file in given.items() for part in (name, str(folder / file))]
    return [str(folder / "day=0.proof"), *listed]


def alone(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Copies the listed files into an empty folder and runs the client in a bare interpreter there."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, "-I", "-S", "proving/light", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)  # noqa: S603


def test_bytes_that_are_no_proof_end_with_4_alone_and_in_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write(tmp_path / "day", companions())
    done = alone(tmp_path / "alone", arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: truncated at ") or "bad_magic" in done.stderr
    assert main(["light", "verify", *arguments, "--json"]) == 4
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["error"]["exit_code"] == 4
    assert shown["error"]["reason"] in {"truncated", "bad_magic"}


def test_files_that_are_not_there_end_with_1(tmp_path: Path) -> None:
    done = alone(tmp_path / "alone", [str(tmp_path / "day=0.proof")])
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert main(["light", "verify", str(tmp_path / "day=0.proof")]) == 1


def test_the_companions_are_checked_alone_without_a_package(tmp_path: Path) -> None:
    """The parts beside the proof, by the standard library alone; the signatures in plain Python."""
    arguments = write(tmp_path / "day", companions())
    alone(tmp_path / "alone", arguments)
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from proving.light.certificate import check_certificate, decode_certificate
from proving.light.checkpoint import check_link
from proving.light.day import trusted_checkpoint
from proving.light.inclusion import check_inclusion, decode_inclusion
from proving.light.signature_check import best_signature_check
day, signatures = Path(sys.argv[2]), best_signature_check()
read = lambda name: (day / name).read_bytes()
found = check_certificate(decode_certificate(read("day=0.certificate")), signatures)
check_link(found.run, trusted_checkpoint(read("genesis.checkpoint"), signatures))
shown = check_inclusion(decode_inclusion(read("one.inclusion")), found.run)
foreign = sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
print(json.dumps([signatures.name, found.votes, shown.digest, foreign]))
"""
    command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "alone")]
    done = subprocess.run(  # noqa: S603
        [*command, str(tmp_path / "day")], check=True, capture_output=True, cwd=tmp_path
    )
    digest = companions().digest
    assert json.loads(done.stdout) == [
        "reference",
        QUORUM,
        digest,
        ["__main__", "proving", "schemas"],
    ]


def test_what_is_trusted_is_a_certificate_a_statement_or_a_checkpoint() -> None:
    wanted = checkpoint_of(RUN)
    for data in (Voted(RUN).certificate().to_bytes(), RUN.to_bytes(), wanted.to_bytes()):
        assert trusted_checkpoint(data, PLAIN_PYTHON) == wanted
    certificate = Voted(RUN).certificate()
    bad = replace(certificate, votes=Voted(RUN, height=6).votes()).to_bytes()
    with pytest.raises(ProofRejected) as error:
        trusted_checkpoint(bad, FAST)
    assert error.value.reason == DayFlaw.BAD_SIGNATURE
    for data in (b"", b"anything", RUN.to_bytes()[:-1], b"ECLC\x02" + bytes(200)):
        with pytest.raises(ProofMalformed):
            trusted_checkpoint(data, FAST)


def test_every_flaw_has_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_light_*.py"))
    assert {flaw for flaw in DayFlaw if f"DayFlaw.{flaw.name}" not in tests} == set()


def flawed(files: DayFiles, reason: str) -> None:
    with pytest.raises(ProofError) as error:
        verify_day(files, FAST)
    assert error.value.reason == reason


@pytest.mark.slow
def test_a_proven_day_is_verified_alone_and_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = whole_day()
    arguments = write(tmp_path / "day", day)
    done = alone(tmp_path / "alone", [*arguments, "--json"])
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert main(["light", "verify", *arguments, "--json"]) == 0
    other = json.loads(capsys.readouterr().out.splitlines()[-1])
    word = bytes(b for e in WORD for b in e.to_bytes(4, "little"))
    for found, signatures in ((shown, "reference"), (other, "cryptography")):
        assert (found["statement"], found["signatures"]) == (word.hex(), signatures)
        assert (found["votes"], found["committee"], found["linked"]) == (QUORUM, COUNT, True)
        assert (found["first_window"], found["end_window"]) == (0, 2)
        assert found["transaction"]["digest"] == day.digest
        assert min(found["proof_ms"], found["certificate_ms"], found["inclusion_ms"]) > 0
    text = alone(tmp_path / "alone", arguments).stdout
    assert "3 of 4 validators" in text
    assert day.digest in text
    assert "not checked" in alone(tmp_path / "alone", arguments[:1]).stdout


@pytest.mark.slow
def test_parts_that_do_not_belong_together_are_refused_by_name(tmp_path: Path) -> None:
    day = whole_day()
    good = DayFiles(day.proof, day.certificate, day.checkpoint, day.inclusion)
    assert verify_day(good, FAST).linked
    second = RunStatement.from_bytes(statement(1).to_bytes())
    flawed(replace(good, certificate=Voted(second).certificate().to_bytes()), "other_statement")
    flawed(replace(good, previous=RUN.to_bytes()), "not_the_next_day")
    flawed(replace(good, proof=day.proof[:-1]), "truncated")
    flawed(replace(good, certificate=day.certificate[:-1]), "malformed")
    flawed(replace(good, inclusion=day.inclusion[:-1]), "malformed")
    flawed(replace(good, previous=day.checkpoint[:-1]), "malformed")
    inclusion = decode_inclusion(day.inclusion)
    moved = replace(inclusion, index=inclusion.index ^ 1).to_bytes()
    flawed(replace(good, inclusion=moved), "not_included")
    changed = bytearray(day.proof)
    changed[len(changed) // 2] ^= 1
    with pytest.raises(ProofError):
        verify_day(replace(good, proof=bytes(changed)), FAST)
    arguments = write(tmp_path / "day", replace(day, inclusion=moved))
    assert alone(tmp_path / "alone", arguments).returncode == 3
    assert main(["light", "verify", *arguments]) == 3


def path_checked(data: bytes) -> None:
    check_inclusion(decode_inclusion(data), RUN)


def certificate_checked(data: bytes) -> None:
    check_certificate(decode_certificate(data), FAST, WORD)


@pytest.mark.slow
def test_ten_thousand_changed_certificates_and_paths_end_in_two_errors() -> None:
    rng, rest = random.Random(3), companions()  # noqa: S311 - a seed, no secret
    counts = {"malformed": 0, "rejected": 0}
    for number in range(10_000):
        is_path = number % 2
        data = bytearray(rest.inclusion if is_path else rest.certificate)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        kind = rng.random()
        if kind < 0.1:
            del data[rng.randrange(len(data)) :]
        elif kind < 0.2:
            at = rng.randrange(len(data))
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
        if bytes(data) in (rest.inclusion, rest.certificate):
            continue
        check = path_checked if is_path else certificate_checked
        with pytest.raises((ProofMalformed, ProofRejected)) as error:
            check(bytes(data))
        counts["malformed" if isinstance(error.value, ProofMalformed) else "rejected"] += 1
    assert min(counts.values()) > 1000
