"""Keeps the generated parts of the documents equal to the program, and their references whole.

A generated part stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. Run as
`python -m tests.checks.docs` to compare and with `--write` to bring the documents up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from typer.main import get_command

from pipelines.cli.main import build_app
from pipelines.settings import environment_name, setting_keys
from schemas.config import profile_configuration
from schemas.metrics import METRICS
from tests.checks.costs import cost_tables
from tests.checks.modules import ROOT, documented_folders, module_table
from tests.checks.protocol import (
    bus_table,
    key_table,
    lane_table,
    layout_table,
    public_table,
    soundness_table,
    step_table,
)
from tests.checks.references import broken_references
from tests.checks.sizes import size_tables


def commands() -> Iterator[tuple[str, str]]:
    """Yields every command with the first line of its help, in the order of the help."""
    root = get_command(build_app())
    for noun, entry in getattr(root, "commands", {}).items():
        verbs = getattr(entry, "commands", None)
        if verbs is None:
            yield noun, first_line(entry.help)
            continue
        for verb, command in verbs.items():
            yield f"{noun} {verb}", first_line(command.help)


def first_line(text: str | None) -> str:
    """Returns the first line of a help text."""
    return (text or "").strip().splitlines()[0]


def command_table() -> str:
    """Returns the table of commands."""
    lines = ["| command | does |", "|---|---|"]
    lines += [f"| `ecliptica {name}` | {text} |" for name, text in commands()]
    return "\n".join(lines)


def setting_table() -> str:
    """Returns the table of configuration keys."""
    local = profile_configuration("local").model_dump()
    target = profile_configuration("target").model_dump()
    lines = ["| key | local | target | variable | meaning |", "|---|---|---|---|---|"]
    for key, meaning in setting_keys().items():
        section, _, name = key.rpartition(".")
        values = [(table[section] if section else table)[name] for table in (local, target)]
        shown = " | ".join(f"`{value}`" if value != "" else "" for value in values)
        lines.append(f"| `{key}` | {shown} | `{environment_name(key)}` | {meaning} |")
    return "\n".join(lines)


def metric_table() -> str:
    """Returns the table of metrics."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(lines)


PARTS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "commands": ("pipelines/README.md", command_table),
    "costs": ("pipelines/README.md", cost_tables),
    "settings": ("deploy/README.md", setting_table),
    "metrics": ("deploy/README.md", metric_table),
    "key": ("proving/README.md", key_table),
    "layout": ("proving/README.md", layout_table),
    "soundness": ("proving/README.md", soundness_table),
    "sizes": ("proving/recursion/README.md", size_tables),
    "lanes": ("proving/ledger/README.md", lane_table),
    "buses": ("proving/ledger/README.md", bus_table),
    "steps": ("proving/ledger/README.md", step_table),
    "publics": ("proving/ledger/README.md", public_table),
}
"""Name of a part -> the document that holds it and what makes it."""

MODULES = "modules"
"""Name of the part with the table of modules, in every README that answers for some."""


def parts() -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Yields name, document and maker of every generated part."""
    for name, (place, make) in PARTS.items():
        yield name, place, make
    for place in dict.fromkeys(documented_folders().values()):
        yield MODULES, place, partial(module_table, place)


def with_part(document: str, name: str, content: str) -> str:
    """Returns a document with one part replaced.

    Raises:
        ValueError: The document has no such part.
    """
    pattern = re.compile(
        rf"(<!-- begin: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL
    )
    if pattern.search(document) is None:
        raise ValueError(f"no part {name}")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", document)


def main(arguments: list[str]) -> int:
    """Compares or rewrites the documents and returns how the process ends."""
    stale = []
    for name, place, make in parts():
        path = ROOT / place
        before = path.read_text(encoding="utf-8")
        after = with_part(before, name, make())
        if after != before:
            stale.append(f"{place}: part {name}")
            if "--write" in arguments:
                path.write_text(after, encoding="utf-8")
    broken = broken_references()
    if broken:
        sys.stderr.write("\n".join(broken) + "\n")
        return 1
    if stale and "--write" not in arguments:
        sys.stderr.write("out of date, run `make docs`: " + ", ".join(stale) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
