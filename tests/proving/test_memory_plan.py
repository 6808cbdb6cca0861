"""What a proof is said to take against what a process that makes it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proving import memory_plan
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProvingError
from proving.kinds import verifying_key
from proving.memory_plan import available_bytes, plan_memory, require_memory
from proving.stark.air import Air
from proving.stark.key import make_verifying_key
from proving.stark.parameters import ProofParameters
from tests.suites.circuits import Exchange

PROVE = """
from pathlib import Path
from proving.backends.cpu import CpuBackend
from proving.prover import prove_stark
from proving.stark.parameters import ProofParameters
from proving.stark.setup import make_proving_key
from tests.suites.circuits import Exchange

air = Exchange(log_height={height})
key = make_proving_key(7, air, ProofParameters(log_blowup={blowup}, num_queries=8), CpuBackend())
publics, trace = air.witness()
prove_stark(key, publics, trace, CpuBackend())
status = Path("/proc/self/status").read_text("ascii").splitlines()
print(*[int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")])
"""
"""`VmHWM`, not `ru_maxrss`: Linux lets a child begin with the largest size that its parent had."""


@pytest.mark.parametrize(("height", "blowup"), [(16, 1), (15, 4), (13, 7)])
def test_the_plan_holds_and_is_not_far_above_the_peak_of_a_process(
    height: int, blowup: int
) -> None:
    code = PROVE.format(height=height, blowup=blowup)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    peak = int(ran.stdout)
    parameters = ProofParameters(log_blowup=blowup, num_queries=8)
    air: Air = Exchange(log_height=height)
    cap = [[0] * 8] * 16
    plan = plan_memory(make_verifying_key(7, air, parameters, cap, NumpyHasher()))
    assert peak <= plan.peak <= 1.4 * peak


def test_the_shipped_kinds_fit_six_gibibytes() -> None:
    for name in ("segment_s", "lift_s", "join", "day", "wrap"):
        assert plan_memory(verifying_key(name, NumpyHasher())).peak < 6 * 2**30


def test_a_proof_that_does_not_fit_is_refused_with_both_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = verifying_key("lift_s", NumpyHasher())
    require_memory(key)
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: 2**30)
    with pytest.raises(
        ProvingError, match=r"takes \d\.\d GiB \(2\^16 rows, blow-up 16\), and 1\.0"
    ):
        require_memory(key)


def test_the_system_says_how_much_there_is() -> None:
    found = available_bytes()
    assert found is not None
    assert found > 2**28
