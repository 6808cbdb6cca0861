"""The constants of the two fields; every other module derives its own from these.

KoalaBear is the prime 2^31 - 2^24 + 1. Challenges live in its extension of degree five.
"""

from __future__ import annotations

P = 2**31 - 2**24 + 1
"""The KoalaBear prime, 2130706433; x^3 permutes the field because 3 does not divide P - 1."""

TWO_ADICITY = 24
"""The largest power of two dividing P - 1 is 2^24: the longest evaluation domain."""

GENERATOR = 3
"""Smallest generator of the multiplicative group; also the shift of the evaluation coset."""

EXTENSION_DEGREE = 5
"""Coordinates of a challenge: 155 bits, so that 100 proven bits need no grinding but the queries'."""

EXTENSION_TAIL = (1, 0, P - 1, 0, 0)
"""X^5 = 1 - X^2, lowest power first: the field is F_P[X] / (X^5 + X^2 - 1)."""

WORD = 8
"""Elements in a word (a digest, an account cell, a note): 248 bits, 124-bit collisions."""

PERMUTATION_WIDTH = 16
"""State of the Poseidon2 permutation: two words."""
