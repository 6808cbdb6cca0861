"""The statements that the sample committee votes on."""

from __future__ import annotations

from functools import cache

from pipelines.sample_votes import committee
from proving.recursion.global_span import GlobalSpan
from schemas.validators import validators_word
from tests.suites.proven_days import days


@cache
def statement(day: int = 0) -> GlobalSpan:
    """Returns what the proof of a day says."""
    return days(validators_word(committee().keys))[day]
