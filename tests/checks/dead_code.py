"""Finds unused code with vulture; parameters of protocol methods do not count, since nothing can use them.

Run as `python -m tests.checks.dead_code`.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "operators", "schemas", "proving", "deploy")
LEAST_CONFIDENCE = 80
"""Percent; below it vulture guesses about names that other programs call."""


def protocol_lines(source: str) -> set[int]:
    """Returns the lines that belong to classes with `Protocol` among their bases."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(
            "Protocol" in ast.unparse(entry) for entry in node.bases
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def dead_code(root: Path, packages: tuple[str, ...]) -> list[str]:
    """Returns one line per unused import, variable or branch."""
    vulture = Vulture()
    vulture.scavenge([root / package for package in packages])
    found = []
    for item in vulture.get_unused_code(min_confidence=LEAST_CONFIDENCE):
        source = Path(item.filename).read_text(encoding="utf-8")
        if item.typ == "variable" and item.first_lineno in protocol_lines(source):
            continue
        found.append(f"{item.filename}:{item.first_lineno}: {item.message}")
    return found


def main() -> int:
    """Prints what is unused and returns how the process ends."""
    found = dead_code(ROOT, PACKAGES)
    for line in found:
        sys.stderr.write(line + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
