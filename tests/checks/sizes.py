"""The generated tables of proof sizes: by proven bits and by blow-up, computed as `ecliptica bench sizes` does."""

from __future__ import annotations

from pipelines.bench_sizes import SHAPES, SHOWN_BITS, SizePoint, size_points
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.kinds import verifying_key
from proving.stark.parameters import MAX_LOG_BLOWUP

SHOWN = range(90, 129, 4)
"""Bits in the table; the picture has every second one."""


def size_tables() -> str:
    """Returns both tables."""
    keys = {shape: verifying_key(shape, NumpyHasher()) for shape in SHAPES}
    heads = [f"`{shape}`, 2^{key.parameters.log_blowup}" for shape, key in keys.items()]
    lines = [f"| proven bits | {' | '.join(heads)} |", "|---|---|---|"]
    columns = [
        list(size_points(shape, key, key.parameters.log_blowup, SHOWN))
        for shape, key in keys.items()
    ]
    for bits, *points in zip(SHOWN, *columns, strict=True):
        lines.append(f"| {bits} | {' | '.join(map(_cell, points))} |")
    lines += ["", f"| blow-up, {SHOWN_BITS} bits | {' | '.join(map('`{}`'.format, SHAPES))} |"]
    lines.append("|---|---|---|")
    for power in range(1, MAX_LOG_BLOWUP + 1):
        found = [
            next(iter(size_points(shape, key, power, (SHOWN_BITS,)))) for shape, key in keys.items()
        ]
        lines.append(f"| 2^{power} | {' | '.join(map(_cell, found))} |")
    return "\n".join(lines)


def _cell(point: SizePoint) -> str:
    if point.bytes is None:
        return "none"
    others = " + ".join(map(str, point.grinding))
    return f"{point.bytes:,} bytes, {point.queries} queries, grinding {others}"
