"""`run export` with a Beam runner, as the command puts it together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.analytics_files import counted_windows
from operators.export_files import exported_epochs
from pipelines.service import Service
from pipelines.settings import Settings
from schemas.config import Configuration
from schemas.errors import EnvironmentMissing
from tests.suites.counted_chain import (
    SHARDS,
    count_alone,
    counted_chain,
    feed_items,
    files_of,
    two_shards,
)
from tests.suites.mini_chain import SEED, Quiet

pytestmark = pytest.mark.beam


def _settings(data: Path, runner: str, log_url: str | None = None) -> Settings:
    log_url = counted_chain().log_url if log_url is None else log_url
    base = two_shards()
    storage = {"data": str(data), "log_url": log_url}
    demo = {**base.demo.model_dump(), "seed": SEED}
    update = {
        "storage": storage,
        "demo": demo,
        "streaming": {"runner": runner, "job_server": "127.0.0.1:1"},
    }
    return Settings(Configuration.model_validate({**base.model_dump(), **update}), {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that knows the chain."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("genesis.json", "keys", "validators"):
        source = counted_chain().data / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    return folder


def test_the_export_with_the_direct_runner_counts_windows_until_the_epoch_is_done(
    data: Path, tmp_path: Path
) -> None:
    chain = counted_chain()
    outcome = Service(_settings(data, "direct"), "export", 1).run(Quiet(), lambda: False)
    found = {shard: counted_windows(data, shard) for shard in range(SHARDS)}
    end = 2 * chain.genesis.windows_per_epoch
    for shard, windows in found.items():
        count_alone(chain, tmp_path / "alone", feed_items(chain, shard))
        expected = counted_windows(tmp_path / "alone", shard)
        assert [one for one in windows if one < end] == [one for one in expected if one < end]
    assert files_of(data).items() <= files_of(tmp_path / "alone").items()
    assert outcome.windows == sum(map(len, found.values()))
    assert {(0, 0), (0, 1)} <= set(exported_epochs(data))
    assert outcome.sealed_epoch is not None


def test_the_loop_runner_counts_nothing(data: Path) -> None:
    outcome = Service(_settings(data, "loop"), "export", 1).run(Quiet(), lambda: False)
    assert (outcome.windows, files_of(data)) == (0, {})


@pytest.mark.parametrize("pipeline", ["export", "windows", "all"])
def test_without_a_job_server_nothing_is_made(pipeline: str, tmp_path: Path) -> None:
    service = Service(_settings(tmp_path / "new", "flink", ""), pipeline, 1)
    with pytest.raises(EnvironmentMissing, match=r"no Flink job server answers at 127\.0\.0\.1:1"):
        service.run(Quiet(), lambda: False)
    assert not (tmp_path / "new").exists()
