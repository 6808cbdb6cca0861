"""Loads that costs are told for: the two of the design, always, and one that the user names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipelines.costs.figures import Basis, Figure
from schemas.errors import ParameterError

LOADS: Final[Mapping[str, str]] = MappingProxyType(
    {"demo": "50,000 tx/hour", "target": "50,000 tx/s"}
)
"""Load -> what tables call it."""

OWN = "own"
"""The load that a user names."""

LARGEST = 1e9
"""Transactions a second; more is a slip of the pen."""

_LOAD = re.compile(
    r"(?P<count>[0-9][0-9_,]*(?:\.[0-9]+)?) *(?:(?:tx)?/ *(?P<per>s|second|h|hour))?"
)
_PER = {"s": "second", "second": "second", "h": "hour", "hour": "hour", None: "second"}


def parse_load(text: str) -> Figure:
    """Returns a load from `50000/hour`, `50000/s` or `50000`, which is a second's.

    Raises:
        ParameterError: The text is something else, or the load zero or absurd.
    """
    found = _LOAD.fullmatch(text.strip().lower())
    if found is None:
        raise ParameterError(
            f"{text!r} is no load", "write 50000/hour, 50000/s, or a number per second"
        )
    count = float(found["count"].replace("_", "").replace(",", ""))
    per = _PER[found["per"]]
    if not 0 < count <= LARGEST:
        raise ParameterError(f"a load is above 0 and at most {LARGEST:.0e}, not {text!r}")
    return Figure(f"load_{OWN}", count, f"transaction/{per}", Basis.ASSUMED, f"--load {text}")


def load_title(load: Figure) -> str:
    """Returns how tables call a load."""
    per = {"transaction/hour": "hour", "transaction/second": "s"}[load.unit]
    return f"{load.value:,.10g} tx/{per}"
