"""Where long tasks report their progress to."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a long task reports to."""

    def phase(self, name: str, total: int | None) -> None:
        """Starts a phase of `total` steps, or of an unknown number."""
        ...

    def advance(self, steps: int) -> None:
        """Counts steps of the phase."""
        ...

    def note(self, text: str) -> None:
        """Tells the user something while the task goes on."""
        ...
