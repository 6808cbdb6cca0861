from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.supervisor import (
    MAX_QUICK_DEATHS,
    MISSING_CODE,
    WAITING_CODE,
    ProcessPlan,
    Supervisor,
)
from schemas.errors import EclipticaError

OBEDIENT = """
import sys, signal, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
stop.wait()
"""

PATIENCE_SECONDS = 20.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Supervisor]:
    plans = [ProcessPlan(name, ["-c", OBEDIENT]) for name in ("first", "second")]
    supervisor = Supervisor(plans, tmp_path / "run")
    supervisor.start()
    yield supervisor
    supervisor.stop()


def wait_until_ready(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not supervisor.are_ready:
        assert time.monotonic() < deadline, supervisor.waiting_for
        supervisor.poll(0.1)


def test_children_become_ready_and_stop_when_asked(started: Supervisor) -> None:
    wait_until_ready(started)
    pids = started.pids()
    assert sorted(pids) == ["first", "second"]

    started.stop()

    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_second_supervisor_of_the_same_process_is_refused(started: Supervisor) -> None:
    wait_until_ready(started)
    pids = started.pids()
    plans = [ProcessPlan(name, ["-c", OBEDIENT]) for name in ("other", "second")]
    second = Supervisor(plans, started.directory)
    for begin in (second.claim, second.start):
        with pytest.raises(EclipticaError, match=r"second of .* is run by another command"):
            begin()
    assert second.pids() == {}
    assert started.pids() == pids
    started.stop()
    second.start()
    assert sorted(second.pids()) == ["other", "second"]
    second.stop()


def test_a_killed_child_is_started_again(started: Supervisor) -> None:
    wait_until_ready(started)
    before = started.pids()
    os.kill(before["first"], signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while started.restarts["first"] == 0 or "first" not in started.pids():
        assert time.monotonic() < deadline
        started.poll(0.1)

    after = started.pids()
    assert after["second"] == before["second"]
    assert after["first"] != before["first"]


def test_a_hopeless_child_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    last_words = "import sys; sys.stderr.write('no such thing'); sys.exit(5)"
    plan = ProcessPlan("lost", ["-c", last_words])
    supervisor = Supervisor([plan], tmp_path)
    supervisor.start()
    with pytest.raises(EclipticaError, match="lost ended with code 5: no such thing"):
        poll_often(supervisor)
    supervisor.stop()


@pytest.mark.parametrize("code", [MISSING_CODE, WAITING_CODE])
def test_what_was_there_once_is_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("pipelines.supervisor.MAX_BACKOFF_SECONDS", 0.0)
    ready_once = f"import sys; print('ready', flush=True); sys.exit({code})"
    supervisor = Supervisor([ProcessPlan("prover", ["-c", ready_once])], tmp_path)
    supervisor.start()
    deadline = time.monotonic() + 60
    while supervisor.restarts["prover"] <= MAX_QUICK_DEATHS + 1:
        supervisor.poll(0.1)
        assert time.monotonic() < deadline
    supervisor.stop()


def test_what_was_never_there_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.supervisor.MAX_BACKOFF_SECONDS", 0.0)
    never = f"import sys; sys.stderr.write('the disk is full'); sys.exit({WAITING_CODE})"
    supervisor = Supervisor([ProcessPlan("chain", ["-c", never])], tmp_path)
    supervisor.start()
    with pytest.raises(EclipticaError, match=f"chain ended with code {WAITING_CODE}: the disk"):
        poll_often(supervisor)
    supervisor.stop()


def test_a_child_is_started_through_its_wrapper(tmp_path: Path) -> None:
    says = "import os; open(os.environ['SAY'], 'w').write('here'); print('ready', flush=True)"
    plan = ProcessPlan("one", ["-c", says], ("env", f"SAY={tmp_path / 'said'}"))
    supervisor = Supervisor([plan], tmp_path / "run")
    supervisor.start()
    wait_until_ready(supervisor)
    supervisor.stop()
    assert (tmp_path / "said").read_text() == "here"


def test_children_leave_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipelines.supervisor import ProcessPlan, Supervisor\n"
        f"supervisor = Supervisor([ProcessPlan('child', ['-c', {OBEDIENT!r}])], Path(sys.argv[1]))\n"
        "supervisor.start()\n"
        "while not supervisor.are_ready: supervisor.poll(0.1)\n"
        "print(supervisor.pids()['child'], flush=True)\n"
        "while True: supervisor.poll(1)\n"
    )
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=root
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def poll_often(supervisor: Supervisor) -> None:
    for _ in range(200):
        supervisor.poll(0.1)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
