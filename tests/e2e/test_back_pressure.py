from __future__ import annotations

from pathlib import Path

from operators.accepted_tips import AcceptedTips
from schemas.config import Configuration
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_configuration, small_traffic

WORKLOAD = Workload(accounts=4, funding=10**12)
AHEAD = 1


def bounded_configuration() -> Configuration:
    document = small_configuration().model_dump()
    document["proving"]["max_unproven_windows"] = AHEAD
    return Configuration.model_validate(document)


def test_windows_wait_on_the_log_until_proofs_have_caught_up(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data", bounded_configuration())
    rows = small_traffic(tmp_path, chain.genesis, WORKLOAD, 3)
    chain.start_all(proving=False)
    chain.send(rows[:-3])
    for row in rows[-3:]:  # about one window of 800 ms each
        chain.send([row])
        for _ in range(42):
            chain.step()
    stopped = chain.view()
    assert len(stopped.window_segments) == AHEAD
    chain.kill("chain")  # what waits is on the log, so a kill changes nothing
    chain.start("chain")
    chain.step()
    assert len(chain.view().window_segments) == AHEAD
    chain.start(*(f"beacon-{index}" for index in range(4)), "prover")
    chain.run_until(lambda: chain.view().is_sealed and chain.view().is_proven, 120)
    assert len(chain.view().window_segments) > AHEAD
    tips, last = AcceptedTips(chain.log(), chain.genesis), max(chain.view().window_segments)
    assert not tips.is_too_far(0, last + AHEAD, AHEAD)
    assert tips.is_too_far(0, last + AHEAD + 1, AHEAD)
    chain.close()
