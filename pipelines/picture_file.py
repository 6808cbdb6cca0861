"""Pictures as PNG files, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.errors import ParameterError


def write_png(figure: Any, out: Path, dots_per_inch: int) -> None:
    """Writes a figure of matplotlib beside its place and moves it there.

    Raises:
        ParameterError: The file cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=dots_per_inch)
        partial.replace(out)
    except OSError as error:
        raise ParameterError(f"{out} cannot be written: {error.strerror}") from error
