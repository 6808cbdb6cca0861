"""Where the elements of a proof lie in a circuit's input: the proof's body, word after word."""

from __future__ import annotations

from math import prod

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.recursion.arrays import Integers
from proving.stark.encoding import proof_sections
from proving.stark.key import VerifyingKey


class ProofPositions:
    """Input positions of a proof's sections.

    Attributes:
        size: Elements of the whole body.
    """

    def __init__(self, key: VerifyingKey, start: int) -> None:
        """Lays a body out from an input position on."""
        self._sections: dict[str, Integers] = {}
        place = start
        for section in proof_sections(key):
            count = prod(section.shape)
            self._sections[section.name] = np.arange(place, place + count).reshape(section.shape)
            place += count
        self.size = place - start

    def all_of(self, name: str) -> list[int]:
        """Returns the positions of a whole section; none if the key has no such section."""
        found = self._sections.get(name)
        return [] if found is None else [int(position) for position in found.reshape(-1)]

    def of(self, name: str, query: int) -> list[int]:
        """Returns the positions of one query's part of a section."""
        return [int(position) for position in self._sections[name][query].reshape(-1)]

    def paths(self, name: str, query: int) -> list[list[int]]:
        """Returns the positions of a query's siblings, leaf first; none if the tree is all cap."""
        found = self._sections.get(name)
        if found is None:
            return []
        return [
            [int(position) for position in sibling] for sibling in found[query].reshape(-1, WORD)
        ]
