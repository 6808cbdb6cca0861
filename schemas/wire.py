"""Canonical bytes: fixed-width little-endian fields, every length checked, one encoding per record.

Records are written and read field by field in a fixed order. There are no optional fields and no padding;
a reader refuses bytes that are left over, so that two encodings of one record do not exist.
"""

from __future__ import annotations

from struct import unpack

from schemas.errors import ParameterError, WireError
from schemas.units import MODULUS, WORD_BYTES, WORD_ELEMENTS


class Writer:
    """Appends fields to a growing byte string."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def uint(self, value: int, width: int) -> Writer:
        """Appends an unsigned integer of `width` bytes.

        Raises:
            ParameterError: The value does not fit.
        """
        if not 0 <= value < 1 << (8 * width):
            raise ParameterError(f"{value} does not fit {width} bytes")
        self._parts.append(value.to_bytes(width, "little"))
        return self

    def u8(self, value: int) -> Writer:
        """Appends one byte."""
        return self.uint(value, 1)

    def u16(self, value: int) -> Writer:
        """Appends two bytes."""
        return self.uint(value, 2)

    def u32(self, value: int) -> Writer:
        """Appends four bytes."""
        return self.uint(value, 4)

    def u64(self, value: int) -> Writer:
        """Appends eight bytes."""
        return self.uint(value, 8)

    def fixed(self, data: bytes, length: int) -> Writer:
        """Appends bytes whose length the format fixes.

        Raises:
            ParameterError: The length differs.
        """
        if len(data) != length:
            raise ParameterError(f"expected {length} bytes, got {len(data)}")
        self._parts.append(bytes(data))
        return self

    def sized(self, data: bytes) -> Writer:
        """Appends a 32-bit length and the bytes."""
        return self.u32(len(data)).fixed(data, len(data))

    def finish(self) -> bytes:
        """Returns everything written so far."""
        return b"".join(self._parts)


class Reader:
    """Reads fields in order; every failure names the record and the field."""

    def __init__(self, data: bytes, record: str) -> None:
        self._data = bytes(data)
        self._record = record
        self._position = 0

    def fail(self, field: str, message: str) -> WireError:
        """Returns the error to raise for a field whose value the record's own rules exclude."""
        return WireError(f"{self._record}.{field}", message)

    def fixed(self, field: str, length: int) -> bytes:
        """Reads `length` bytes.

        Raises:
            WireError: Fewer bytes are left.
        """
        left = len(self._data) - self._position
        if left < length:
            raise self.fail(field, f"needs {length} bytes, {left} are left")
        start = self._position
        self._position = start + length
        return self._data[start : self._position]

    def uint(self, field: str, width: int, below: int | None = None) -> int:
        """Reads an unsigned integer of `width` bytes.

        Args:
            field: Name of the field in errors.
            width: Bytes.
            below: Exclusive upper bound, or None for the width's own.

        Raises:
            WireError: Fewer bytes are left, or the value is not below the bound.
        """
        value = int.from_bytes(self.fixed(field, width), "little")
        if below is not None and value >= below:
            raise self.fail(field, f"{value} is not below {below}")
        return value

    def u8(self, field: str, below: int | None = None) -> int:
        """Reads one byte."""
        return self.uint(field, 1, below)

    def u16(self, field: str, below: int | None = None) -> int:
        """Reads two bytes."""
        return self.uint(field, 2, below)

    def u32(self, field: str, below: int | None = None) -> int:
        """Reads four bytes."""
        return self.uint(field, 4, below)

    def u64(self, field: str, below: int | None = None) -> int:
        """Reads eight bytes."""
        return self.uint(field, 8, below)

    def word(self, field: str) -> bytes:
        """Reads a word of eight canonical residues, as its 32 bytes.

        Raises:
            WireError: Fewer bytes are left, or a residue is not below the modulus.
        """
        return self.words(field, 1)[0]

    def words(self, field: str, count: int) -> tuple[bytes, ...]:
        """Reads words one after the other, as `word` each.

        Raises:
            WireError: Fewer bytes are left, or a residue is not below the modulus.
        """
        data = self.fixed(field, WORD_BYTES * count)
        elements = unpack(f"<{WORD_ELEMENTS * count}I", data)
        if elements and max(elements) >= MODULUS:
            place = next(j for j, element in enumerate(elements) if element >= MODULUS)
            raise self.fail(field, f"element {place % WORD_ELEMENTS} is not a canonical residue")
        starts = range(0, len(data), WORD_BYTES)
        return tuple([data[start : start + WORD_BYTES] for start in starts])

    def sized(self, field: str, limit: int) -> bytes:
        """Reads a 32-bit length and that many bytes.

        Raises:
            WireError: The length exceeds `limit`, or fewer bytes are left.
        """
        return self.fixed(field, self.u32(field, limit + 1))

    def finish(self) -> None:
        """Checks that nothing is left.

        Raises:
            WireError: Bytes follow the last field.
        """
        left = len(self._data) - self._position
        if left:
            raise self.fail("end", f"{left} bytes follow the last field")
