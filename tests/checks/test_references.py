"""The check of references finds each kind of break, and nothing in a whole document."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import pytest

from tests.checks.docs import with_part
from tests.checks.modules import MIRRORS, PACKAGES, ROOT, documented_folders
from tests.checks.references import (
    ITEMS,
    anchor,
    citations,
    headings,
    lost_headings,
    lost_links,
    lost_members,
    lost_names,
    lost_tests,
)

A, B = "a/README.md", "b/README.md"
"""Documents that do not exist; named apart, so that the check does not take this file's examples for its own."""


class Colour(StrEnum):
    """An enumeration to document."""

    RED = "red"
    BLUE = "blue"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_citations_may_name_several_headings_and_run_over_lines() -> None:
    source = f'"""Source: {A}\n"One", "Two" and "Three"; see {B} "Four"."""\n'
    assert list(citations(source)) == [
        ("a/README.md", "One"),
        ("a/README.md", "Two"),
        ("a/README.md", "Three"),
        ("b/README.md", "Four"),
    ]


def test_a_cited_heading_must_be_there_to_the_letter(tmp_path: Path) -> None:
    write(tmp_path, "a/README.md", "# A\n\n## Folding\n\n```\n# Layers\n```\n")
    source = write(tmp_path, "a/x.py", f'"""See {A} "Folding", "folding" and "Layers"."""')
    other = write(tmp_path, "a/y.py", f'"""See {B} "Any"."""')
    assert lost_headings(tmp_path, [source, other]) == [
        "a/x.py: no heading 'folding' in a/README.md",
        "a/x.py: no heading 'Layers' in a/README.md",
        "a/y.py: no heading 'Any' in b/README.md",
    ]


def test_a_relative_link_must_lead_to_a_file_and_a_heading(tmp_path: Path) -> None:
    write(tmp_path, "b/README.md", "# B\n\n## Public inputs\n")
    text = (
        "# A\n\n[good](b/README.md#public-inputs) [own](#a) [far](https://example.org/none)\n"
        "[file](c/README.md) [heading](b/README.md#private-inputs)\n"
    )
    document = write(tmp_path, "README.md", text)
    assert lost_links(tmp_path, [document]) == [
        "README.md: no file c/README.md",
        "README.md: no heading for b/README.md#private-inputs",
    ]


def test_every_member_needs_a_row(tmp_path: Path) -> None:
    write(tmp_path, "a/README.md", "| `red` | warm |\nblue is cold\n")
    assert lost_members(tmp_path, {"a/README.md": (Colour,)}) == [
        "a/README.md: no row for Colour blue"
    ]


def test_every_member_needs_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a/README.md", "`red` is warm, blue is cold\n")
    assert lost_names(tmp_path, {"a/README.md": (Colour,)}) == [
        "a/README.md: Colour blue is not named"
    ]


def test_a_table_of_refusals_must_name_tests_that_exist_and_every_item(tmp_path: Path) -> None:
    rows = "".join(f"| {n} | a | items `item_1` |\n" for n in sorted(ITEMS - {7}))
    text = (
        "## What a verifier must reject\n\n| item | what | tests |\n|---|---|---|\n"
        f"{rows}| s | b | `test_a` `good`, `bad`; `e2e/test_b`; `test_none` `good` |\n\n## Other\n| 7 |\n"
    )
    write(tmp_path, "tests/README.md", text)
    write(tmp_path, "tests/proving/test_stark_items.py", "def test_item_1() -> None: ...\n")
    write(tmp_path, "tests/proving/test_a.py", "def test_good_things() -> None: ...\nbad = 1\n")
    write(tmp_path, "tests/e2e/test_b.py", "")
    assert lost_tests(tmp_path) == [
        "tests/README.md: no test of proving/test_a has 'bad'",
        "tests/README.md: no tests in proving/test_none",
        "tests/README.md: no row for item 7",
    ]


def test_anchors_are_those_of_a_forge() -> None:
    assert [anchor(text) for text in headings("# What is, and is not\n## `kill -9`\n")] == [
        "what-is-and-is-not",
        "kill--9",
    ]


def test_every_folder_of_modules_is_listed_somewhere() -> None:
    folders = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert set(documented_folders()) == folders - set(MIRRORS)


def test_a_part_that_is_not_there_is_no_silence() -> None:
    with pytest.raises(ValueError, match="no part numbers"):
        with_part("<!-- begin: other -->\n<!-- end: other -->", "numbers", "1")
