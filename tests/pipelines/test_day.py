"""The day that a demo plays: what is refused before it begins."""

from __future__ import annotations

import pytest

from pipelines.chain_setup import prepare_chain
from pipelines.day import check_days_are_left
from schemas.config import profile_configuration
from schemas.errors import EclipticaError
from schemas.genesis import Genesis

START, WINDOWS = 1_700_000_000_000, 12


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Genesis:
    folder = tmp_path_factory.mktemp("chain")
    return prepare_chain(folder, profile_configuration("local"), 1, lambda: START)


def end_of(genesis: Genesis, windows: int) -> int:
    """Returns the first millisecond after the first windows."""
    micros = windows * genesis.slots_per_window * genesis.slot_micros
    return genesis.start_millis + -(-micros // 1000)


def test_days_that_were_over_before_the_first_block_are_refused(genesis: Genesis) -> None:
    with pytest.raises(EclipticaError, match="when the days to be proven were over"):
        check_days_are_left(genesis, WINDOWS, [0, 0], end_of(genesis, WINDOWS))


@pytest.mark.parametrize(
    ("windows", "heights", "late"),
    [(WINDOWS, [0, 0], -1), (WINDOWS, [0, 1], 0), (WINDOWS, [7, 9], 10**6), (0, [0, 0], 10**6)],
    ids=["in_the_last_window", "one_shard_has_begun", "gone_on_with", "nothing_to_prove"],
)
def test_other_days_are_played(
    genesis: Genesis, windows: int, heights: list[int], late: int
) -> None:
    check_days_are_left(genesis, windows, heights, end_of(genesis, WINDOWS) + late)
