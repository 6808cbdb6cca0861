"""The command through its real entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pipelines.cli.frame import SETTING_FLAGS
from pipelines.cli.main import build_app, main
from pipelines.cli.planned import NOT_BUILT
from pipelines.settings import environment_name
from schemas.config import profile_configuration

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("ray", "pyarrow", "duckdb", "numpy", "llvmlite", "apache_beam", "confluent_kafka")
"""What `--help` must not load: each costs a tenth of a second or more."""


def commands() -> Iterator[tuple[str, ...]]:
    root = get_command(build_app())
    for noun, entry in sorted(getattr(root, "commands", {}).items()):
        verbs = getattr(entry, "commands", None)
        if verbs is None:
            yield (noun,)
        else:
            yield from ((noun, verb) for verb in sorted(verbs))


COMMANDS = list(commands())


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ECLIPTICA_")}
    environment = {**kept, **variables, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: ecliptica {' '.join(command)}" in shown
    assert "--json" in shown


@pytest.mark.parametrize("noun", ["", *sorted({command[0] for command in COMMANDS})])
def test_every_noun_has_help_with_an_example(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*noun.split(), "--help"]) == 0
    assert f"Example: ecliptica {noun}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["--help"], ["epoch", "check", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pipelines.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))\n"
        "sys.exit(code)"
    )
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_what_is_not_built_says_so_and_ends_with_5(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*name.split(), "--json"]) == 5
    captured = capsys.readouterr()
    assert f"`{name}` is not built yet" in captured.err
    assert json.loads(captured.out)["error"]["exit_code"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["surprise"], 2, "surprise"),
        (["epoch", "surprise"], 2, "surprise"),
        (["demo", "--surprise"], 2, "--surprise"),
        (["wallet", "send"], 2, "Missing argument 'wallet'"),
        (["demo", "--tps", "many"], 2, "--tps"),
        (["demo", "--validators", "0"], 2, "validators"),
        (["config", "show", "--config", "missing.toml"], 2, "missing.toml"),
        (["graph", "surprise"], 2, "surprise"),
        (["proof", "verify", "missing.proof"], 2, "missing.proof"),
        (["epoch", "check"], 2, "genesis.json does not exist"),
        (["run", "all", "--log", "memory://"], 2, "memory://"),
        (["demo", "--log", "memory://x"], 2, "memory://x"),
        (["traffic", "import", "x.csv", "--limit", "-1"], 2, "--limit"),
        (["traffic", "import", "x.csv", "--threads", "-3"], 2, "--threads"),
        (["traffic", "import", "/dev/zero"], 2, "/dev/zero is not a file"),
        (["traffic", "import", "x.csv", "--shard", "5"], 2, "no shard 5"),
        (["bench", "batch", "--repeat", "0"], 2, "--repeat"),
        (["run", "windows", "--dry-run"], 2, "run windows --runner direct"),
        (["run", "all", "--runner", "spark", "--dry-run"], 2, "streaming.runner"),
        (["demo", "--runner", "prism"], 5, "prism"),
        (["run", "export", "--runner", "prism", "--dry-run"], 5, "prism"),
        (
            ["bench", "hop", "--log", "kafka://user:secret@127.0.0.1:1"],
            2,
            "must not hold a password",
        ),
    ],
)
def test_mistakes_end_in_one_line_a_hint_and_their_code(  # noqa: PLR0917 - fixtures
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert message in captured.err


def test_the_flags_show_the_defaults_of_the_local_profile() -> None:
    values = profile_configuration("local").model_dump()
    for flag in SETTING_FLAGS.values():
        section, _, name = flag.key.rpartition(".")
        value = values[section][name] if section else values[name]
        assert flag.environment == environment_name(flag.key)
        assert flag.default == str(value) or value == "", flag.key


@pytest.mark.parametrize(
    "arguments",
    [
        ["dead-letter", "list"],
        ["wallet", "receipt", "00" * 32],
        ["proof", "create", "--window", "1"],
        ["epoch", "export"],
        ["epoch", "list"],
        ["epoch", "check"],
    ],
    ids=" ".join,
)
def test_reading_a_mistyped_directory_makes_nothing_there(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent"
    code = main([*arguments, "--data", str(absent)])
    captured = capsys.readouterr()
    assert not absent.exists()
    if arguments != ["epoch", "list"]:
        assert code == 2
        assert "absent" in captured.err
    (file := tmp_path / "file").write_text("x")
    assert main([*arguments, "--data", str(file)]) in {0, 2}
    assert "Errno" not in capsys.readouterr().err


def test_doctor_says_that_a_file_is_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "file").write_text("x")
    assert main(["doctor", "--data", str(file), "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["missing_required"] == ["data directory"]


def test_an_error_of_several_lines_is_printed_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("{[")
    assert main(["traffic", "generate", str(file), "--out", str(tmp_path / "x")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["error"]
    assert "not YAML" in lines[0]


def test_a_profile_that_is_no_word_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.toml"
    file.write_text('profile = ["local"]\n')
    assert main(["config", "show", "--config", str(file)]) == 2
    assert "there is no profile ['local']" in capsys.readouterr().err


def test_the_variable_for_json_holds_for_errors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECLIPTICA_JSON", "1")
    assert main(["epoch", "show", "3"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_garbage_is_a_malformed_proof_and_ends_with_4(tmp_path: Path) -> None:
    (tmp_path / "garbage.proof").write_bytes(os.urandom(4096))
    done = run("proof", "verify", "garbage.proof", "--json", folder=tmp_path)
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["reason"], error["where"]) == (
        "ProofMalformed",
        "bad_magic",
        "header",
    )


def test_no_more_of_a_file_is_read_than_a_proof_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("sparse.proof").open("wb") as file:
        file.truncate(2**34)
    Path("short.proof").write_bytes(b"ECLP")
    assert main(["proof", "verify", "sparse.proof", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "too_large"
    assert main(["proof", "verify", "/dev/zero"]) == 4
    assert main(["proof", "explain", "/dev/zero"]) == 4
    capsys.readouterr()
    assert main(["proof", "verify", "sparse.proof", "short.proof", "--json"]) == 4
    reports = json.loads(capsys.readouterr().out)["proofs"]
    assert [(one["bytes"], one["accepted"]) for one in reports] == [(2**34, False), (4, False)]


def test_settings_come_from_flag_variable_file_and_profile(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[demo]\nseed = 5\ndays = 2\n[chain]\nnumber = 9\n")
    done = run(
        "config",
        "show",
        "--json",
        "--config",
        "mine.toml",
        folder=tmp_path,
        ECLIPTICA_DEMO_DAYS="3",
        ECLIPTICA_DATA="elsewhere",
    )
    shown = json.loads(done.stdout)
    assert shown["schema_version"] == 1
    rows: dict[str, dict[str, Any]] = {row["key"]: row for row in shown["rows"]}
    found = {
        key: (rows[key]["value"], rows[key]["origin"])
        for key in ("demo.seed", "demo.days", "chain.number", "storage.data", "chain.validators")
    }
    assert found == {
        "demo.seed": (5, "mine.toml"),
        "demo.days": (3, "env ECLIPTICA_DEMO_DAYS"),
        "chain.number": (9, "mine.toml"),
        "storage.data": ("elsewhere", "env ECLIPTICA_DATA"),
        "chain.validators": (4, "profile local"),
    }


def test_a_closed_pipe_is_no_defect(tmp_path: Path) -> None:
    code = f"cd {tmp_path} && {sys.executable} -m pipelines.cli config show | head -n 1"
    done = subprocess.run(  # noqa: S603 - our own module
        ["/bin/sh", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def test_closed_streams_are_no_defect(tmp_path: Path) -> None:
    code = f"{sys.executable} -m pipelines.cli config show >&- && {sys.executable} -m pipelines.cli version 2>&-"
    done = subprocess.run(  # noqa: S603 - our own module
        ["/bin/sh", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "python" in done.stdout


@pytest.mark.parametrize("style", ["mermaid", "dot", "json"])
def test_a_pipeline_draws_itself(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "all", "--format", style]) == 0
    shown = capsys.readouterr().out
    for part in ("admission", "tx.0", "jobs", "proofs"):
        assert part in shown
