"""What a chain's processes say of themselves is what stands on its log."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import operators
import schemas.metrics
from operators.metered_log import MeteredLog
from operators.metrics import PrometheusMetrics
from operators.topic_view import TopicView
from pipelines.corpus import ADMITTED
from pipelines.node import NodePlace, build_role
from schemas.metrics import Metric
from schemas.tables import BLOCKS, REJECTED
from schemas.workload import Invalidity, Workload
from tests.operators.test_metrics import samples
from tests.suites.mini_chain import MiniChain, small_traffic

WORKLOAD = Workload(accounts=4, funding=10**12, invalid=dict.fromkeys(Invalidity, 0.05))
ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")


def test_the_figures_of_a_run_are_those_of_its_log(tmp_path: Path) -> None:
    metrics = PrometheusMetrics()
    chain = MiniChain(tmp_path / "data")
    rows = small_traffic(tmp_path, chain.genesis, WORKLOAD, 40)
    wanted = Counter(row.expected for row in rows)
    for name in ROLES:
        role, _, index = name.partition("-")
        log = MeteredLog(chain.log(), metrics)
        place = NodePlace(
            chain.data, chain.configuration, chain.genesis, log, int(index or 0), metrics=metrics
        )
        chain.roles[name] = build_role(role, place)
    chain.send(rows)
    view = TopicView(chain.log())
    chain.run_until(lambda: view.end("windows.0") > 0, 60)
    for running in chain.roles.values():
        running.measure()

    blocks = list(view.rows("blocks.0", BLOCKS))
    transactions = sum(row["transactions"] for row in blocks)
    letters = Counter((r["stage"], r["reason"]) for r in view.rows("rejected", REJECTED))
    assert transactions == wanted[ADMITTED]
    assert letters.total() == len(rows) - wanted[ADMITTED] > 0

    found = samples(metrics)
    of_shard = (("shard", "0"),)
    assert found["ecliptica_final_blocks_total", of_shard] == len(blocks)
    assert found["ecliptica_final_transactions_total", of_shard] == transactions
    assert found["ecliptica_submission_latency_seconds_count", of_shard] == transactions
    assert found["ecliptica_certificate_latency_seconds_count", of_shard] == len(blocks)
    assert found["ecliptica_final_height_number", of_shard] == len(blocks)
    assert found["ecliptica_mempool_transactions", of_shard] == 0
    assert {
        (dict(labels)["stage"], dict(labels)["reason"]): value
        for (name, labels), value in found.items()
        if name == "ecliptica_dead_letters_total"
    } == letters
    windows = (("stage", "windows.0"), ("topic", "windows.0"))
    assert found["ecliptica_stage_rows_total", windows] == view.end("windows.0")
    assert found["ecliptica_consensus_messages_total", (("kind", "proposal"), *of_shard)] > 0
    written = {
        dict(labels)["topic"]: value
        for (name, labels), value in found.items()
        if name == "ecliptica_log_records_total"
    }
    assert {topic: count for topic, count in written.items() if topic != "tx.0"} == {
        topic: view.end(topic) for topic in written if topic != "tx.0"
    }
    chain.close()


def test_every_metric_is_recorded_by_some_driver() -> None:
    root = Path(operators.__file__).parents[1]
    names = {name for name, value in vars(schemas.metrics).items() if isinstance(value, Metric)}
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("operators", "pipelines")
        for path in (root / folder).glob("*.py")
    ]
    recorded = {
        name
        for name in names
        for source in sources
        if re.search(rf"\.(count|set|observe)\(\s*{name}\b", source)
    }
    assert names - recorded == set()
