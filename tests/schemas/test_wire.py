from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ParameterError, WireError
from schemas.units import MODULUS
from schemas.wire import Reader, Writer

WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


@given(st.data())
def test_what_is_written_is_read_back(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*WIDTHS, "fixed", "sized"]), max_size=12))
    writer = Writer()
    expected: list[Any] = []
    for name in names:
        if name in WIDTHS:
            value = data.draw(st.integers(0, 2 ** (8 * WIDTHS[name]) - 1))
            getattr(writer, name)(value)
            expected.append(value)
        else:
            part = data.draw(st.binary(max_size=40))
            _ = writer.fixed(part, len(part)) if name == "fixed" else writer.sized(part)
            expected.append(part)
    reader = Reader(writer.finish(), "record")
    for name, value in zip(names, expected, strict=True):
        if name == "fixed":
            assert reader.fixed("part", len(value)) == value
        elif name == "sized":
            assert reader.sized("part", 40) == value
        else:
            assert getattr(reader, name)("number") == value
    reader.finish()


@pytest.mark.parametrize("name", sorted(WIDTHS))
@pytest.mark.parametrize("value", [-1, None])
def test_a_number_that_does_not_fit_is_refused(name: str, value: int | None) -> None:
    number = 2 ** (8 * WIDTHS[name]) if value is None else value
    with pytest.raises(ParameterError, match=f"does not fit {WIDTHS[name]} bytes"):
        getattr(Writer(), name)(number)


def test_a_fixed_part_has_its_length() -> None:
    with pytest.raises(ParameterError, match="expected 3 bytes, got 2"):
        Writer().fixed(b"ab", 3)


@pytest.mark.parametrize("size", range(8))
def test_missing_bytes_name_the_field(size: int) -> None:
    with pytest.raises(WireError) as refused:
        Reader(bytes(size), "record").u64("height")
    assert refused.value.where == "record.height"
    assert f"needs 8 bytes, {size} are left" in str(refused.value)


def test_bytes_left_over_are_refused() -> None:
    reader = Reader(b"\1\2", "record")
    assert reader.u8("one") == 1
    with pytest.raises(WireError, match="1 bytes follow the last field") as refused:
        reader.finish()
    assert refused.value.where == "record.end"


@pytest.mark.parametrize(("value", "is_read"), [(9, True), (10, False), (255, False)])
def test_a_bound_is_exclusive(value: int, is_read: bool) -> None:
    reader = Reader(bytes([value]), "record")
    if is_read:
        assert reader.u8("count", 10) == value
        return
    with pytest.raises(WireError, match=f"{value} is not below 10"):
        reader.u8("count", 10)


def test_a_declared_length_is_checked_before_anything_is_taken() -> None:
    data = (2**32 - 1).to_bytes(4, "little") + b"x"
    with pytest.raises(WireError, match="is not below 6") as refused:
        Reader(data, "record").sized("part", 5)
    assert refused.value.where == "record.part"


@pytest.mark.parametrize("position", range(8))
@pytest.mark.parametrize("value", [MODULUS, MODULUS + 1, 2**32 - 1])
def test_a_word_holds_canonical_residues_only(position: int, value: int) -> None:
    elements = [MODULUS - 1] * 8
    whole = b"".join(element.to_bytes(4, "little") for element in elements)
    assert Reader(whole, "record").word("root") == whole
    elements[position] = value
    wrong = b"".join(element.to_bytes(4, "little") for element in elements)
    with pytest.raises(WireError, match=f"element {position} is not a canonical residue"):
        Reader(wrong, "record").word("root")


def test_words_in_a_row_are_read_as_one_by_one() -> None:
    data = bytes(32) + (MODULUS - 1).to_bytes(4, "little") * 8 + bytes(31) + b"\x01"
    alone = Reader(data, "words")
    assert Reader(data, "words").words("w", 3) == tuple(alone.word("w") for _ in range(3))
    assert Reader(b"", "words").words("w", 0) == ()
    wrong = data[:44] + MODULUS.to_bytes(4, "little") + data[48:]
    with pytest.raises(WireError, match="element 3 is not a canonical residue"):
        Reader(wrong, "words").words("w", 3)
    with pytest.raises(WireError, match="needs 96 bytes, 95 are left"):
        Reader(data[:95], "words").words("w", 3)
