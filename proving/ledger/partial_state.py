"""A ledger that holds only some cells of a state, each shown by its path: enough to execute what touches no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from proving.backends.port import Hasher
from proving.ledger.permutation import hash_bytes
from proving.ledger.rules import LedgerParameters, account_of
from proving.ledger.state import Ledger
from proving.ledger.trees import WordTree, partial_tree
from schemas.errors import InvariantError, ParameterError
from schemas.fault import OPENED_ARRAYS, ArrayOpening, StateOpening
from schemas.units import STATE_ARRAYS, WORD_BYTES, Array
from schemas.wire import Writer


class PathRejected(Exception):
    """Cells and siblings do not lead to the root that they should."""


def open_cells(ledger: Ledger, array: Array, indices: Iterable[int]) -> ArrayOpening:
    """Returns some cells of a ledger's array with their paths."""
    tree, places = ledger.trees[array], sorted(set(indices))
    cells = zip(places, tree.cells_at(places), strict=True) if places else ()
    return ArrayOpening(tree.root, tuple(cells), tuple(tree.multiproof(places)))


def open_state(ledger: Ledger, touched: Mapping[Array, Iterable[int]]) -> StateOpening:
    """Returns some cells of a ledger's state; `touched` names them by array."""
    parts = tuple(open_cells(ledger, array, touched.get(array, ())) for array in OPENED_ARRAYS)
    return StateOpening(ledger.num_keys, parts)


def check_cells(
    hasher: Hasher, cells: Mapping[int, bytes], siblings: Sequence[bytes], root: bytes
) -> WordTree:
    """Returns the partial tree of shown cells.

    Raises:
        PathRejected: They do not lead to the root.
    """
    try:
        tree = partial_tree(hasher, cells, siblings)
    except InvariantError as error:
        raise PathRejected(str(error)) from error
    if tree.root != root:
        raise PathRejected("the cells lead to another root")
    return tree


def check_opening(
    hasher: Hasher, opening: StateOpening, state_root: bytes, empty: Sequence[bytes]
) -> dict[Array, WordTree]:
    """Checks an opening against a state root, and returns the partial trees of the arrays that it shows cells of.

    Args:
        hasher: Where permutations run.
        opening: What is shown; its cells are canonical words.
        state_root: The trusted root.
        empty: `empty_digests(hasher)`: the arrays that nothing writes have the last of them as root.

    Raises:
        PathRejected: It is not an opening of that state.
    """
    roots = dict(zip(OPENED_ARRAYS, (part.root for part in opening.arrays), strict=True))
    writer = Writer()
    for array in STATE_ARRAYS:
        writer.fixed(roots.get(array, empty[-1]), WORD_BYTES)
    if hash_bytes(hasher, "state", writer.u32(opening.keys).finish()) != state_root:
        raise PathRejected("the roots are not those of the state")
    trees: dict[Array, WordTree] = {}
    for array, part in zip(OPENED_ARRAYS, opening.arrays, strict=True):
        if part.cells:
            trees[array] = check_cells(hasher, dict(part.cells), part.siblings, part.root)
        elif part.siblings:
            raise PathRejected("there are siblings of no cell")
    return trees


class OpenedLedger(Ledger):
    """A ledger over shown cells; it knows no account's address, so it finds duplicates within a block alone.

    Args:
        parameters: Constants of the shard.
        hasher: Where permutations run.
        opening: Holds all cells that will be touched.
        state_root: The state's root.
        empty: `empty_digests(hasher)`.

    Raises:
        PathRejected: It is not an opening of that state, or shows an account cell that is none.
    """

    def __init__(
        self,
        parameters: LedgerParameters,
        hasher: Hasher,
        opening: StateOpening,
        state_root: bytes,
        empty: tuple[bytes, ...],
    ) -> None:
        super().__init__(parameters, hasher, None, empty)
        self._roots = {
            array: part.root
            for array, part in zip(OPENED_ARRAYS, opening.arrays, strict=True)
            if not part.cells
        }
        self.trees |= check_opening(hasher, opening, state_root, self.empty)
        self.next_index = opening.keys
        try:
            for index, word in opening.array(Array.ACC).cells:
                self.accounts[index] = account_of(word)
        except ParameterError as error:
            raise PathRejected(str(error)) from error

    def root(self, array: Array) -> bytes:
        """Returns an array's root, also of one that no cell is shown of."""
        return self._roots.get(array) or super().root(array)
