"""The tables of modules in the READMEs, from the first line of each module's docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("deploy", "operators", "pipelines", "proving", "schemas", "tests")
"""Top-level folders that each have a README."""

MIRRORS = (
    "tests/deploy",
    "tests/e2e",
    "tests/operators",
    "tests/pipelines",
    "tests/proving",
    "tests/schemas",
    "tests/vectors",
)
"""Folders whose modules are named after what they test; no table lists them."""


def documented_folders() -> dict[str, str]:
    """Returns every folder of a package -> the README that lists its modules, its own or the nearest above."""
    found = {}
    for package in PACKAGES:
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            above = [folder, *folder.parents]
            home = next(place for place in above if (place / "README.md").is_file())
            name = str(folder.relative_to(ROOT))
            if name not in MIRRORS:
                found[name] = str((home / "README.md").relative_to(ROOT))
    return found


def module_table(readme: str) -> str:
    """Returns the table of the modules that a README answers for.

    Args:
        readme: Its path, relative to the root.

    Raises:
        ValueError: A module has no docstring.
    """
    home = (ROOT / readme).parent
    folders = [folder for folder, place in documented_folders().items() if place == readme]
    lines = ["| module | holds |", "|---|---|"]
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.py")):
            if path.name == "__init__.py":
                continue
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            if not text:
                raise ValueError(f"{path.relative_to(ROOT)} has no docstring")
            summary = text.splitlines()[0].replace("|", "\\|")
            lines.append(f"| `{path.relative_to(home)}` | {summary} |")
    return "\n".join(lines)
