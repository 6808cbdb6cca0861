from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import ParameterError, WireError
from schemas.run import RUN_BYTES, RunStatement, why_no_run
from schemas.units import MODULUS

WORDS = [tuple(range(start, start + 8)) for start in (10, 20, 30, 40)]
RUN = RunStatement(7, 2, 12, 24, *WORDS)


def test_a_run_reads_back_from_its_bytes() -> None:
    data = RUN.to_bytes()
    assert len(data) == RUN_BYTES
    assert RunStatement.from_bytes(data) == RUN
    assert why_no_run(RUN) is None


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [
        (0, 2**30, "run.chain"),
        (1, 2**16, "run.shards"),
        (2, 2**30, "run.first_window"),
        (3, 2**31, "run.end_window"),
        (4, 1, "run.filling"),
        (7, 1, "run.filling"),
        (8, MODULUS, "run.validators"),
        (16, MODULUS, "run.before"),
        (31, 2**32 - 1, "run.after"),
        (39, MODULUS, "run.history"),
    ],
)
def test_elements_out_of_range_are_refused_by_name(at: int, value: int, field: str) -> None:
    data = bytearray(RUN.to_bytes())
    data[4 * at : 4 * at + 4] = value.to_bytes(4, "little")
    with pytest.raises(WireError, match=field):
        RunStatement.from_bytes(bytes(data))


def test_other_lengths_are_refused() -> None:
    data = RUN.to_bytes()
    for wrong in (b"", data[:-1], data + b"\0"):
        with pytest.raises(WireError):
            RunStatement.from_bytes(wrong)
    with pytest.raises(ParameterError):
        replace(RUN, history=(1,)).to_bytes()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"shards": 0}, "no chain"),
        ({"chain": 2**30}, "no chain"),
        ({"end_window": 12}, "are no run"),
        ({"end_window": 12 + 2**24 + 1}, "are no run"),
        ({"before": (MODULUS,) * 8}, "eight residues"),
    ],
)
def test_a_run_out_of_range_has_a_reason(fields: dict[str, Any], problem: str) -> None:
    assert problem in (why_no_run(replace(RUN, **fields)) or "")
