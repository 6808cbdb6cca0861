"""Whether what the documents and the code say of one another exists: headings, links, READMEs, names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

from proving.errors import RejectionReason as ProofRejectionReason
from proving.stark.transcript import Label
from schemas.receipt import ReceiptState
from schemas.rejection import RejectionReason
from tests.checks.modules import PACKAGES, ROOT

CITATION = re.compile(r'`?([\w/]+/README\.md)`?:? ("[^"]+"(?:(?:,| and) "[^"]+")*)')
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"#+ (.+)")

LISTED: Mapping[str, tuple[type[Enum], ...]] = {
    "schemas/README.md": (RejectionReason, ReceiptState),
    "proving/README.md": (ProofRejectionReason,),
}
"""Documents whose tables name every member of an enumeration."""


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


def lost_labels(root: Path) -> list[str]:
    """Returns the labels of the transcript that proving/README.md does not name."""
    text = (root / "proving/README.md").read_text(encoding="utf-8")
    return [
        f"proving/README.md: no label {label.name} = {label.value}"
        for label in Label
        if f"{label.name} ({label.value})" not in text
    ]


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
        *lost_labels(ROOT),
        *(f"{name}: no README.md" for name in missing),
    ]
