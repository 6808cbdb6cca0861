from __future__ import annotations

from collections.abc import Iterator

import pytest

from operators.export import ExportSource, export_epochs
from operators.proof_index import write_index
from pipelines.chain_setup import genesis_path
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.workload import Invalidity, Workload
from tests.suites.mini_chain import MiniChain, small_traffic
from tests.suites.poison import poison

WORKLOAD = Workload(accounts=4, funding=10**12, invalid={Invalidity.NONCE_GAP: 0.2})


@pytest.fixture(scope="session")
def proven_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniChain]:
    """A chain whose traffic of two windows is final, proven, accepted by the beacon and exported.

    The log has been poisoned on every topic, before the start and on the way.
    """
    folder = tmp_path_factory.mktemp("day")
    chain = MiniChain(folder / "data")
    poison(chain.log(), 1)
    chain.start_all(proving=True)
    rows = small_traffic(folder, chain.genesis, WORKLOAD, 10)
    chain.send(rows[:-2])
    second_window = chain.now + 900
    chain.run_until(lambda: chain.now >= second_window, 2)
    poison(chain.log(), 2)
    chain.send(rows[-2:])
    chain.run_until(lambda: chain.view().is_sealed and chain.view().is_proven, 60)
    source = ExportSource(chain.log(), genesis_path(chain.data), 1000, NumpyHasher())
    export_epochs(source, chain.data, [0])
    write_index(chain.log(), chain.data, chain.genesis, chain.planner())
    yield chain
    chain.close()
