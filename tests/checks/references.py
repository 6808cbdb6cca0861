"""Whether what the documents and the code say of one another exists: headings, links, READMEs, names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

from proving.errors import RejectionReason as ProofRejectionReason
from proving.stark.transcript import Label
from schemas.receipt import ReceiptState
from schemas.refusal import FeeRefusal, FraudRefusal, MarketRefusal
from schemas.rejection import RejectionReason
from tests.checks.modules import PACKAGES, ROOT

CITATION = re.compile(r'`?([\w/]+/README\.md)`?:? ("[^"]+"(?:(?:,| and) "[^"]+")*)')
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"#+ (.+)")

NAMED = re.compile(r"`([\w/]+)`")
TABLE_OF_TESTS = "tests/README.md"
ITEMS = {*range(1, 25), 31}
"""Numbers of the failures that the table of refusals must show; the others wait for recursion and privacy."""

LISTED: Mapping[str, tuple[type[Enum], ...]] = {
    "schemas/README.md": (RejectionReason, ReceiptState),
    "proving/README.md": (ProofRejectionReason,),
}
"""Documents whose tables have a row for every member of an enumeration."""

NAMED_IN: Mapping[str, tuple[type[Enum], ...]] = {
    "operators/rules.md": (FraudRefusal, MarketRefusal, FeeRefusal),
}
"""Documents that name every member of an enumeration."""


def headings(text: str) -> list[str]:
    """Returns the headings of a document; lines inside fenced code are none."""
    found, is_code = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and (match := HEADING.fullmatch(line)):
            found.append(match[1].strip())
    return found


def anchor(heading: str) -> str:
    """Returns the anchor that a forge makes of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def citations(source: str) -> Iterator[tuple[str, str]]:
    """Yields (document, heading) for every heading that a source cites."""
    text = " ".join(line.strip().removeprefix("#").strip() for line in source.splitlines())
    for place, quoted in CITATION.findall(text):
        for heading in re.findall(r'"([^"]+)"', quoted):
            yield place, heading


def lost_headings(root: Path, sources: Iterable[Path]) -> list[str]:
    """Returns the cited headings that do not exist."""
    lost = []
    for source in sources:
        for place, heading in citations(source.read_text(encoding="utf-8")):
            document = root / place
            known = headings(document.read_text(encoding="utf-8")) if document.is_file() else []
            if heading not in known:
                lost.append(f"{source.relative_to(root)}: no heading {heading!r} in {place}")
    return lost


def lost_links(root: Path, documents: Iterable[Path]) -> list[str]:
    """Returns the relative links, with their anchors, that lead nowhere."""
    lost = []
    for document in documents:
        for link in LINK.findall(document.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, wanted = link.partition("#")
            target = document.parent / path if path else document
            if not target.exists():
                lost.append(f"{document.relative_to(root)}: no file {path}")
            elif wanted and wanted not in map(anchor, headings(target.read_text(encoding="utf-8"))):
                lost.append(f"{document.relative_to(root)}: no heading for {link}")
    return lost


def lost_members(root: Path, listed: Mapping[str, tuple[type[Enum], ...]]) -> list[str]:
    """Returns members of enumerations that the document in charge has no table row for."""
    lost = []
    for place, kinds in listed.items():
        text = (root / place).read_text(encoding="utf-8")
        lost += [
            f"{place}: no row for {kind.__name__} {member.value}"
            for kind in kinds
            for member in kind
            if f"| `{member.value}` |" not in text
        ]
    return lost


def lost_names(root: Path, named: Mapping[str, tuple[type[Enum], ...]]) -> list[str]:
    """Returns members of enumerations that the document in charge does not name."""
    return [
        f"{place}: {kind.__name__} {member.value} is not named"
        for place, kinds in named.items()
        for kind in kinds
        for member in kind
        if f"`{member.value}`" not in (root / place).read_text(encoding="utf-8")
    ]


def lost_labels(root: Path) -> list[str]:
    """Returns the labels of the transcript that proving/README.md does not name."""
    text = (root / "proving/README.md").read_text(encoding="utf-8")
    return [
        f"proving/README.md: no label {label.name} = {label.value}"
        for label in Label
        if f"{label.name} ({label.value})" not in text
    ]


def lost_tests(root: Path) -> list[str]:
    """Returns what tests/README.md's table of refusals names and nobody defines, and items without a row.

    A cell of tests names a module, `items` for test_stark_items, and parts of its tests' names.
    """
    text = (root / TABLE_OF_TESTS).read_text(encoding="utf-8")
    table = text.partition("## What a verifier must reject")[2].partition("\n## ")[0]
    lost: list[str] = []
    shown: set[int] = set()
    for line in table.splitlines():
        item, _, cell = (part.strip() for part in line.strip("|").rpartition("|"))
        if not line.startswith("| ") or item.startswith("item "):
            continue
        shown.update(int(number) for number in re.findall(r"\d+", item.split("|")[0]))
        lost += [f"{TABLE_OF_TESTS}: {fault}" for fault in _lost_names(root, cell)]
    return lost + [f"{TABLE_OF_TESTS}: no row for item {n}" for n in sorted(ITEMS - shown)]


def _lost_names(root: Path, cell: str) -> Iterator[str]:
    """Yields the modules and tests of a cell that do not exist."""
    for group in cell.split(";"):
        module, *parts = NAMED.findall(group.replace("items ", "`items` "))
        home = "proving/test_stark_items" if module == "items" else module
        place = home if "/" in home else f"proving/{home}"
        file = root / "tests" / f"{place}.py"
        if not file.is_file():
            yield f"no tests in {place}"
            continue
        names = re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
        yield from (
            f"no test of {place} has {part!r}" for part in parts if part not in " ".join(names)
        )


def broken_references() -> list[str]:
    """Returns everything that is cited, linked or due and does not exist."""
    sources = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    documents = [*sorted(ROOT.glob("*.md"))]
    documents += sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.md"))
    missing = [name for name in PACKAGES if not (ROOT / name / "README.md").is_file()]
    return [
        *lost_headings(ROOT, sources),
        *lost_links(ROOT, documents),
        *lost_members(ROOT, LISTED),
        *lost_names(ROOT, NAMED_IN),
        *lost_labels(ROOT),
        *lost_tests(ROOT),
        *(f"{name}: no README.md" for name in missing),
    ]
