"""ML-DSA-44 in plain Python, written from FIPS 204: slow, deterministic, standard library only.

It is the independent check of the fast backends, the signer for reproducible signatures, and the verifier
where nothing but Python is installed. About 10 ms per verification. It does not run in constant time, so
keys that guard real value are not to be used for signing with it where timing can be observed.

Polynomials are lists of 256 integers in [0, q) unless a function says otherwise.
Source: FIPS 204 (August 2024), algorithm numbers in the docstrings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from schemas.errors import ParameterError

MODULUS = 8380417
"""q = 2^23 - 2^13 + 1."""
DEGREE = 256
"""Coefficients of a polynomial."""
DROPPED_BITS = 13
"""d: low bits of t that the public key leaves out."""
CHALLENGE_WEIGHT = 39
"""tau: non-zero coefficients of the challenge."""
MASK_RANGE = 1 << 17
"""gamma1: coefficients of the mask lie in (-gamma1, gamma1]."""
LOW_RANGE = (MODULUS - 1) // 88
"""gamma2: half the width of a rounding interval."""
ROWS = 4
"""k."""
COLUMNS = 4
"""l."""
SECRET_RANGE = 2
"""eta: coefficients of the secret lie in [-eta, eta]."""
NORM_SLACK = CHALLENGE_WEIGHT * SECRET_RANGE
"""beta = tau * eta."""
MAX_HINTS = 80
"""omega: ones in the hint."""
CHALLENGE_BYTES = 32
"""lambda / 4."""
SEED_BYTES = 32
PUBLIC_KEY_BYTES = 1312
SIGNATURE_BYTES = 2420
MAX_CONTEXT_BYTES = 255
_MASK_BYTES = 576
_T1_BYTES = 320

Polynomial = list[int]
Vector = list[Polynomial]


def _shake256(data: bytes, length: int) -> bytes:
    return hashlib.shake_256(data).digest(length)


@cache
def _zetas() -> tuple[int, ...]:
    """zeta^brv(m) for m in [0, 256), zeta = 1753 (appendix B)."""
    return tuple(pow(1753, int(f"{m:08b}"[::-1], 2), MODULUS) for m in range(DEGREE))


def _ntt(polynomial: Polynomial) -> Polynomial:
    """Algorithm 41; any integers in, residues in [0, q) out."""
    values, zetas, q = list(polynomial), _zetas(), MODULUS
    m, length = 0, 128
    while length:
        for start in range(0, DEGREE, 2 * length):
            m += 1
            zeta = zetas[m]
            for j in range(start, start + length):
                t = zeta * values[j + length] % q
                values[j + length] = values[j] - t
                values[j] += t
        length //= 2
    return [value % q for value in values]


def _inverse_ntt(polynomial: Polynomial) -> Polynomial:
    """Algorithm 42."""
    values, zetas, q = list(polynomial), _zetas(), MODULUS
    m, length = DEGREE, 1
    while length < DEGREE:
        for start in range(0, DEGREE, 2 * length):
            m -= 1
            zeta = zetas[m]
            for j in range(start, start + length):
                low, high = values[j], values[j + length]
                values[j] = low + high
                values[j + length] = zeta * (high - low) % q
        length *= 2
    scale = pow(DEGREE, -1, q)
    return [value * scale % q for value in values]


def _pack(values: Iterable[int], bits: int) -> bytes:
    """Algorithm 16: little-endian fields of `bits` bits; values in [0, 2^bits)."""
    total = 0
    for index, value in enumerate(values):
        total |= value << (index * bits)
    return total.to_bytes(DEGREE * bits // 8, "little")


def _unpack(data: bytes, bits: int) -> Polynomial:
    """Algorithm 18."""
    total, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [(total >> (index * bits)) & mask for index in range(DEGREE)]


def _matrix_entry(rho: bytes, row: int, column: int) -> Polynomial:
    """Algorithm 30 at one place of algorithm 32: uniform residues by rejection, in NTT form."""
    seed, blocks = rho + bytes([column, row]), 6
    while True:
        stream = hashlib.shake_128(seed).digest(168 * blocks)
        out = []
        for at in range(0, len(stream) - 2, 3):
            value = stream[at] | stream[at + 1] << 8 | (stream[at + 2] & 0x7F) << 16
            if value < MODULUS:
                out.append(value)
        if len(out) >= DEGREE:
            return out[:DEGREE]
        blocks *= 2


def _matrix(rho: bytes) -> list[Vector]:
    return [[_matrix_entry(rho, r, c) for c in range(COLUMNS)] for r in range(ROWS)]


def _secret_polynomial(rho_prime: bytes, nonce: int) -> Polynomial:
    """Algorithm 31; coefficients in [-eta, eta]."""
    seed, blocks = rho_prime + nonce.to_bytes(2, "little"), 2
    while True:
        out: Polynomial = []
        for byte in _shake256(seed, 136 * blocks):
            out.extend(SECRET_RANGE - h % 5 for h in (byte & 15, byte >> 4) if h < 15)
        if len(out) >= DEGREE:
            return out[:DEGREE]
        blocks *= 2


def _challenge(seed: bytes) -> Polynomial:
    """Algorithm 29: tau coefficients of +-1."""
    blocks = 1
    while True:
        stream = _shake256(seed, 136 * blocks)
        signs, at, out = int.from_bytes(stream[:8], "little"), 8, [0] * DEGREE
        for i in range(DEGREE - CHALLENGE_WEIGHT, DEGREE):
            while at < len(stream) and stream[at] > i:
                at += 1
            if at == len(stream):
                break
            j = stream[at]
            at += 1
            out[i] = out[j]
            out[j] = 1 - 2 * (signs >> (i + CHALLENGE_WEIGHT - DEGREE) & 1)
        else:
            return out
        blocks *= 2


def _centred(value: int) -> int:
    value %= MODULUS
    return value - MODULUS if value > MODULUS // 2 else value


def _norm(vector: Vector) -> int:
    return max(abs(_centred(value)) for polynomial in vector for value in polynomial)


def _decompose(value: int) -> tuple[int, int]:
    """Algorithm 36: value = high * 2 gamma2 + low (mod q)."""
    value %= MODULUS
    low = value % (2 * LOW_RANGE)
    if low > LOW_RANGE:
        low -= 2 * LOW_RANGE
    if value - low == MODULUS - 1:
        return 0, low - 1
    return (value - low) // (2 * LOW_RANGE), low


def _use_hint(hint: int, value: int) -> int:
    """Algorithm 40."""
    high, low = _decompose(value)
    if not hint:
        return high
    return (high + 1) % 44 if low > 0 else (high - 1) % 44


def _pack_hints(hints: Vector) -> bytes:
    """Algorithm 20."""
    out, index = bytearray(MAX_HINTS + ROWS), 0
    for row, polynomial in enumerate(hints):
        for j, bit in enumerate(polynomial):
            if bit:
                out[index] = j
                index += 1
        out[MAX_HINTS + row] = index
    return bytes(out)


def _unpack_hints(data: bytes) -> Vector | None:
    """Algorithm 21; None unless positions rise strictly, ends do not fall and padding is zero."""
    hints, index = [[0] * DEGREE for _ in range(ROWS)], 0
    for row in range(ROWS):
        end = data[MAX_HINTS + row]
        if not index <= end <= MAX_HINTS:
            return None
        positions = data[index:end]
        if any(a >= b for a, b in pairwise(positions)):
            return None
        for position in positions:
            hints[row][position] = 1
        index = end
    return None if any(data[index:MAX_HINTS]) else hints


def _multiply_matrix(matrix: list[Vector], vector: Vector) -> Vector:
    """Matrix times vector, all in NTT form."""
    return [
        [
            sum(a[j] * v[j] for a, v in zip(row, vector, strict=True)) % MODULUS
            for j in range(DEGREE)
        ]
        for row in matrix
    ]


def _scale(challenge: Polynomial, vector: Vector) -> Vector:
    """Challenge times vector, in NTT form in, in normal form out."""
    return [
        _inverse_ntt([c * v % MODULUS for c, v in zip(challenge, polynomial, strict=True)])
        for polynomial in vector
    ]


def _add(left: Vector, right: Vector, sign: int = 1) -> Vector:
    return [
        [(a + sign * b) % MODULUS for a, b in zip(x, y, strict=True)]
        for x, y in zip(left, right, strict=True)
    ]


def _pack_high(vector: Vector) -> bytes:
    """Algorithm 28: high parts in [0, 44) in 6 bits each."""
    return b"".join(_pack(polynomial, 6) for polynomial in vector)


def _representative(key_hash: bytes, message: bytes, context: bytes) -> bytes:
    """Returns mu of algorithms 7 and 8 over the message with its context (algorithms 2 and 3)."""
    return _shake256(key_hash + bytes([0, len(context)]) + context + message, 64)


@dataclass(frozen=True, slots=True, repr=False)
class ExpandedKey:
    """A key pair with everything that signing needs.

    Attributes:
        public_key: 1312 bytes.
        key: K, the seed of the masks.
        key_hash: tr, 64 bytes.
        matrix: A in NTT form.
        s1: Secret, in NTT form.
        s2: Secret, in NTT form.
        t0: Low parts of t, in NTT form.
    """

    public_key: bytes
    key: bytes
    key_hash: bytes
    matrix: list[Vector]
    s1: Vector
    s2: Vector
    t0: Vector


def expand_seed(seed: bytes) -> ExpandedKey:
    """Algorithm 6: the key pair of a 32-byte seed.

    Raises:
        ParameterError: The seed is not 32 bytes.
    """
    if len(seed) != SEED_BYTES:
        raise ParameterError(f"an ML-DSA-44 seed is {SEED_BYTES} bytes, got {len(seed)}")
    expanded = _shake256(seed + bytes([ROWS, COLUMNS]), 128)
    rho, rho_prime, key = expanded[:32], expanded[32:96], expanded[96:]
    matrix = _matrix(rho)
    s1 = [_ntt(_secret_polynomial(rho_prime, n)) for n in range(COLUMNS)]
    s2 = [_secret_polynomial(rho_prime, COLUMNS + n) for n in range(ROWS)]
    t = _add([_inverse_ntt(p) for p in _multiply_matrix(matrix, s1)], s2)
    half = 1 << (DROPPED_BITS - 1)
    t1 = [[(value + half - 1) >> DROPPED_BITS for value in p] for p in t]
    t0 = [
        _ntt([value - (high << DROPPED_BITS) for value, high in zip(p, h, strict=True)])
        for p, h in zip(t, t1, strict=True)
    ]
    public_key = rho + b"".join(_pack(p, 10) for p in t1)
    return ExpandedKey(
        public_key, key, _shake256(public_key, 64), matrix, s1, [_ntt(p) for p in s2], t0
    )


def _masks(seed: bytes, counter: int) -> Vector:
    """Algorithm 34; coefficients in (-gamma1, gamma1]."""
    return [
        [
            MASK_RANGE - value
            for value in _unpack(_shake256(seed + n.to_bytes(2, "little"), _MASK_BYTES), 18)
        ]
        for n in range(counter, counter + COLUMNS)
    ]


def _attempt(key: ExpandedKey, mu: bytes, masks: Vector) -> bytes | None:
    """One pass of the loop of algorithm 7, or None when the candidate is to be rejected."""
    w = [_inverse_ntt(p) for p in _multiply_matrix(key.matrix, [_ntt(p) for p in masks])]
    high = [[_decompose(value)[0] for value in p] for p in w]
    seed = _shake256(mu + _pack_high(high), CHALLENGE_BYTES)
    challenge = _ntt(_challenge(seed))
    z = _add(masks, _scale(challenge, key.s1))
    remainder = _add(w, _scale(challenge, key.s2), -1)
    low = max(abs(_decompose(value)[1]) for p in remainder for value in p)
    if _norm(z) >= MASK_RANGE - NORM_SLACK or low >= LOW_RANGE - NORM_SLACK:
        return None
    ct0 = _scale(challenge, key.t0)
    corrected = _add(remainder, ct0)
    hints = [
        [int(_decompose(a)[0] != _decompose(b)[0]) for a, b in zip(x, y, strict=True)]
        for x, y in zip(corrected, remainder, strict=True)
    ]
    if _norm(ct0) >= LOW_RANGE or sum(map(sum, hints)) > MAX_HINTS:
        return None
    packed = b"".join(_pack((MASK_RANGE - _centred(v) for v in p), 18) for p in z)
    return seed + packed + _pack_hints(hints)


def sign(seed: bytes, message: bytes, context: bytes, randomness: bytes = bytes(32)) -> bytes:
    """Algorithms 2 and 7: a signature of 2420 bytes; the deterministic variant by default.

    Args:
        seed: 32 bytes.
        message: Any length.
        context: At most 255 bytes.
        randomness: 32 bytes; zeros give the deterministic variant, fresh ones the hedged.

    Raises:
        ParameterError: A length is wrong.
    """
    if len(context) > MAX_CONTEXT_BYTES:
        raise ParameterError(f"a context has at most 255 bytes, got {len(context)}")
    if len(randomness) != 32:
        raise ParameterError(f"signing randomness is 32 bytes, got {len(randomness)}")
    key = expand_seed(seed)
    mu = _representative(key.key_hash, message, context)
    mask_seed, counter = _shake256(key.key + randomness + mu, 64), 0
    while True:
        signature = _attempt(key, mu, _masks(mask_seed, counter))
        if signature is not None:
            return signature
        counter += COLUMNS


def verify(public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
    """Algorithms 3 and 8: whether `signature` is one of `message` under `public_key`; never raises.

    Lengths other than 1312 and 2420 bytes and contexts over 255 bytes are refused, as are hints that are
    not in canonical order and responses whose norm is too large.
    """
    lengths = (len(public_key), len(signature))
    if lengths != (PUBLIC_KEY_BYTES, SIGNATURE_BYTES) or len(context) > MAX_CONTEXT_BYTES:
        return False
    seed, hint_start = signature[:CHALLENGE_BYTES], CHALLENGE_BYTES + COLUMNS * _MASK_BYTES
    hints = _unpack_hints(signature[hint_start:])
    z = [
        [MASK_RANGE - v for v in _unpack(signature[at : at + _MASK_BYTES], 18)]
        for at in range(CHALLENGE_BYTES, hint_start, _MASK_BYTES)
    ]
    if hints is None or _norm(z) >= MASK_RANGE - NORM_SLACK:
        return False
    t1 = [
        _ntt([v << DROPPED_BITS for v in _unpack(public_key[at : at + _T1_BYTES], 10)])
        for at in range(32, PUBLIC_KEY_BYTES, _T1_BYTES)
    ]
    mu = _representative(_shake256(public_key, 64), message, context)
    product = _multiply_matrix(_matrix(public_key[:32]), [_ntt(p) for p in z])
    w = _add([_inverse_ntt(p) for p in product], _scale(_ntt(_challenge(seed)), t1), -1)
    high = [
        [_use_hint(h, v) for h, v in zip(x, y, strict=True)] for x, y in zip(hints, w, strict=True)
    ]
    return seed == _shake256(mu + _pack_high(high), CHALLENGE_BYTES)
