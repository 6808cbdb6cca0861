"""Arrays in the memory of another device.

A `DeviceArray` stands where the port says array. The prover's own steps between kernels - choosing rows and
columns, strides, turns, joining matrices - happen on the device; whatever else NumPy is asked to do with one is done
on a copy in the host's memory. Its values never change once it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from proving.backends.cuda_kernels import COLLECT, PICK
from proving.backends.cuda_source import BLOCK_THREADS
from proving.backends.device import WORD_BYTES, Buffer, Device
from proving.backends.port import FieldArray

LARGEST_GRID_HEIGHT = 65535
"""Blocks in the second direction of a grid; a kernel's loop takes the rest."""


class DeviceArray(NDArrayOperatorsMixin):
    """A view of residues on a device, with the part of NumPy's interface that the prover uses.

    Attributes:
        buffer: Where the residues are.
        offset: Of the first one, in residues.
        shape: As NumPy's.
        strides: Distances in residues.
    """

    __slots__ = ("_device", "buffer", "offset", "shape", "strides")

    dtype = np.dtype(np.uint32)

    def __init__(
        self,
        device: Device,
        buffer: Buffer,
        shape: tuple[int, ...],
        *,
        offset: int = 0,
        strides: tuple[int, ...] | None = None,
    ) -> None:
        """Views a buffer from residue `offset` on; C order without strides."""
        self._device, self.buffer, self.offset = device, buffer, offset
        self.shape = shape
        self.strides = _packed_strides(shape) if strides is None else strides

    @property
    def address(self) -> int:
        """Of the first residue."""
        return self.buffer.address + WORD_BYTES * self.offset

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of residues."""
        return prod(self.shape)

    @property
    def T(self) -> DeviceArray:  # noqa: N802  - NumPy's name
        """The same residues with the axes in reverse order."""
        return self.transpose(*reversed(range(self.ndim)))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """Returns a view for integers and slices, a copy on the device for chosen rows or columns."""
        keys = key if isinstance(key, tuple) else (key,)
        if all(isinstance(one, (int, np.integer, slice)) for one in keys):
            return self._view(keys)
        chosen = _places(keys[-1])
        if chosen is not None and self.ndim == 2:
            if len(keys) == 1:
                return joined(self._device, [self._view((row,)) for row in chosen])
            if len(keys) == 2 and isinstance(keys[0], slice):
                return _picked(self._device, self._view(keys[:1]), chosen)
        return np.asarray(self)[key]

    def _view(self, keys: tuple[Any, ...]) -> Any:
        if len(keys) > self.ndim:
            raise IndexError(f"{len(keys)} indices for {self.ndim} axes")
        offset, shape, strides = self.offset, list[int](), list[int]()
        padded = [*keys, *[slice(None)] * (self.ndim - len(keys))]
        for one, length, stride in zip(padded, self.shape, self.strides, strict=True):
            if isinstance(one, slice):
                places = range(*one.indices(length))
                offset += stride * places.start
                shape.append(len(places))
                strides.append(stride * places.step)
            else:
                offset += stride * range(length)[one]
        view = DeviceArray(
            self._device, self.buffer, tuple(shape), offset=offset, strides=tuple(strides)
        )
        return view if shape else np.asarray(view)[()]

    def reshape(self, *shape: int) -> DeviceArray:
        """Returns the residues in C order with other axes; one may be -1."""
        known = prod(length for length in shape if length >= 0)
        whole = tuple(length if length >= 0 else self.size // max(known, 1) for length in shape)
        if prod(whole) != self.size:
            raise ValueError(f"{self.shape} has no shape {shape}")
        packed = self.packed()
        return DeviceArray(self._device, packed.buffer, whole, offset=packed.offset)

    def transpose(self, *axes: int) -> DeviceArray:
        """Returns a view with the axes in another order."""
        shape = tuple(self.shape[axis] for axis in axes)
        strides = tuple(self.strides[axis] for axis in axes)
        return DeviceArray(self._device, self.buffer, shape, offset=self.offset, strides=strides)

    def packed(self) -> DeviceArray:
        """Returns the same residues in C order: itself if it is, else a copy."""
        strides = zip(self.strides, _packed_strides(self.shape), self.shape, strict=True)
        if all(own == wanted or length == 1 for own, wanted, length in strides):
            return self
        return self._copied(0)

    def turned(self, places: int) -> DeviceArray:
        """Returns a copy whose last axis is turned right."""
        return self._copied(places % max(self.shape[-1], 1))

    def _copied(self, turn: int) -> DeviceArray:
        leading = [range(0, n * s, s) if s else [0] * n for n, s in self._leading()]
        rows = [self.address + WORD_BYTES * sum(place) for place in product(*leading)]
        copy = _collected(self._device, rows, self.strides[-1], self.shape[-1], turn)
        return DeviceArray(self._device, copy, self.shape)

    def _leading(self) -> list[tuple[int, int]]:
        return list(zip(self.shape[:-1], self.strides[:-1], strict=True))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Copies the residues to the host."""
        if copy is False:
            raise ValueError("an array on a device has no view on the host")
        packed = self.packed()
        found = packed.buffer.fetch(packed.offset, self.size)
        return found.reshape(self.shape).astype(dtype or self.dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Computes on copies in the host's memory."""
        return getattr(ufunc, method)(*_on_host(inputs), **options)

    def __array_function__(
        self, function: Callable[..., Any], _: Any, arguments: Any, options: Any
    ) -> Any:
        """Joins and turns on the device, does anything else on copies in the host's memory."""
        if function is np.concatenate and not options and _are_matrices(arguments[0]):
            return joined(self._device, [row for part in arguments[0] for row in part])
        on_last_axis = options.get("axis", self.ndim - 1 if self.ndim == 1 else None)
        if function is np.roll and len(arguments) == 2 and on_last_axis in (-1, self.ndim - 1):
            return self.turned(arguments[1])
        return function(*_on_host(arguments), **options)

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """Returns a copy on the host."""
        return np.asarray(self).astype(dtype)

    def tolist(self) -> Any:
        """Returns Python integers."""
        return np.asarray(self).tolist()

    def any(self) -> bool:
        """Returns whether a residue is not zero."""
        return bool(np.asarray(self).any())


def is_array(value: object) -> TypeGuard[FieldArray]:
    """Returns whether a program's input is an array, here or on a device, and no integer."""
    return isinstance(value, (np.ndarray, DeviceArray))


def on_device(device: Device, values: object) -> DeviceArray:
    """Returns an array of the device as it is, and one of the host's copied to it."""
    if isinstance(values, DeviceArray):
        return values
    array = np.ascontiguousarray(cast(FieldArray, values), dtype=np.uint32)
    return DeviceArray(device, device.upload(array), array.shape)


def as_field_array(array: DeviceArray) -> FieldArray:
    """Hands an array out under the port's type, which it acts as."""
    return cast(FieldArray, array)


def joined(device: Device, rows: Sequence[object]) -> DeviceArray:
    """Copies 1-D arrays, here or on the device, to a matrix on it.

    Raises:
        ValueError: They differ in length.
    """
    held = held_rows(device, rows)
    length = held[0].shape[0] if held else 0
    if any(row.shape != (length,) for row in held):
        raise ValueError(f"rows of {sorted({row.shape for row in held})} residues cannot be joined")
    if len({row.strides[0] for row in held}) > 1:
        held = [row.packed() for row in held]
    stride = held[0].strides[0] if held else 1
    copy = _collected(device, [row.address for row in held], stride, length, 0)
    return DeviceArray(device, copy, (len(held), length))


def held_rows(device: Device, rows: Sequence[object]) -> list[DeviceArray]:
    """Returns rows on the device; those of the host go there together."""
    own = [index for index, row in enumerate(rows) if isinstance(row, np.ndarray)]
    found: dict[int, DeviceArray] = {}
    if own:
        stack = np.stack([cast(FieldArray, rows[index]) for index in own])
        found = dict(zip(own, on_device(device, stack), strict=True))
    return [found[i] if i in found else cast(DeviceArray, row) for i, row in enumerate(rows)]


def _places(key: object) -> NDArray[np.int64] | None:
    """Returns a list of places, or None if an index is anything else."""
    if not isinstance(key, (list, np.ndarray)):
        return None
    places = np.asarray(key)
    if places.ndim != 1 or not (places.size == 0 or np.issubdtype(places.dtype, np.integer)):
        return None
    return places.astype(np.int64)


def _picked(device: Device, matrix: DeviceArray, places: NDArray[np.int64]) -> DeviceArray:
    """Copies chosen columns of a matrix."""
    count, length = matrix.shape
    if ((places < 0) | (places >= length)).any():
        raise IndexError(f"a column is not among 0 to {length - 1}")
    target, held = device.allocate(count * len(places)), device.upload(places.astype(np.uint32))
    grid = _grid(count, len(places))
    if all(grid):
        size = len(places)
        given = (matrix.address, *matrix.strides, count, held.address, size, target.address)
        device.launch(PICK, grid, given)
    return DeviceArray(device, target, (count, len(places)))


def _collected(
    device: Device, addresses: Sequence[int], stride: int, length: int, turn: int
) -> Buffer:
    target = device.allocate(len(addresses) * length)
    grid = _grid(len(addresses), length)
    if all(grid):
        rows = device.upload(np.array(addresses, dtype=np.uint64))
        given = (rows.address, len(addresses), stride, length, turn, target.address)
        device.launch(COLLECT, grid, given)
    return target


def blocks_for(size: int) -> int:
    """Returns how many full blocks have a thread for each of `size` items."""
    return -(-size // BLOCK_THREADS)


def _grid(rows: int, size: int) -> tuple[int, int]:
    return blocks_for(size), min(rows, LARGEST_GRID_HEIGHT)


def _packed_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _are_matrices(parts: Any) -> bool:
    return all(part.ndim == 2 for part in parts)


def _on_host(values: Any) -> Any:
    if isinstance(values, DeviceArray):
        return np.asarray(values)
    if isinstance(values, (tuple, list)):
        return type(values)(_on_host(value) for value in values)
    return values
