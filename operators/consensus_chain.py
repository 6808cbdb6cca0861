"""The tree of blocks above the last final one: which are held, checked, missing, and which become final."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from operators.application import CheckState
from schemas.block import Block, Certificate, genesis_hash


@dataclass(frozen=True, slots=True)
class FinalTip:
    """The last final block as far as the application has taken it in.

    Attributes:
        hash: Block hash.
        height: Its height; 0 is the genesis.
        slot: Its slot.
        view: The view it was proposed in.
    """

    hash: bytes
    height: int
    slot: int
    view: int


def genesis_tip(chain: int, shard: int) -> FinalTip:
    """Returns the tip of a shard before its first block."""
    return FinalTip(genesis_hash(chain, shard), 0, 0, 0)


class Standing(StrEnum):
    """What can be said about a block and all its ancestors above the final tip."""

    VALID = "valid"
    UNCHECKED = "unchecked"
    WAITING = "waiting"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"
    FORKED = "forked"


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Result of `BlockTree.standing`.

    Attributes:
        standing: The verdict.
        block: The block to check next, when `unchecked`.
        missing: Hash of the block that is not held, when `incomplete`.
    """

    standing: Standing
    block: Block | None = None
    missing: bytes | None = None


_VALID = Standpoint(Standing.VALID)
_WAITING = Standpoint(Standing.WAITING)
_INVALID = Standpoint(Standing.INVALID)
_FORKED = Standpoint(Standing.FORKED)


class BlockTree:
    """Blocks above the final tip, their verdicts, and the final blocks kept for others.

    Attributes:
        tip: The last final block.
        retained: The last final blocks with the certificate that made each final.
    """

    def __init__(self, tip: FinalTip, retained_blocks: int) -> None:
        self.tip = tip
        self.retained: deque[tuple[Block, Certificate]] = deque(maxlen=retained_blocks)
        self._blocks: dict[bytes, Block] = {}
        self._verdicts: dict[bytes, CheckState] = {}
        self._asked: set[bytes] = set()
        self._finals: dict[int, Certificate] = {}

    @property
    def pending(self) -> tuple[Certificate, ...]:
        """Finalize certificates above the tip whose blocks are missing or unchecked, rising."""
        return tuple(self._finals[view] for view in sorted(self._finals))

    def get(self, block_hash: bytes) -> Block | None:
        """Returns a held block above the tip."""
        return self._blocks.get(block_hash)

    def place_of(self, block_hash: bytes) -> FinalTip | None:
        """Returns hash, height, slot and view of the tip or of a held block."""
        if block_hash == self.tip.hash:
            return self.tip
        block = self._blocks.get(block_hash)
        if block is None:
            return None
        return FinalTip(block.hash, block.header.height, block.header.slot, block.header.view)

    def add(self, block: Block) -> None:
        """Keeps a block above the tip; the caller bounds how many."""
        if block.header.view > self.tip.view:
            self._blocks.setdefault(block.hash, block)

    def add_final(self, certificate: Certificate) -> None:
        """Takes in a verified finalize certificate."""
        if certificate.ballot.view > self.tip.view:
            self._finals.setdefault(certificate.ballot.view, certificate)

    def record_verdict(self, block_hash: bytes, state: CheckState) -> None:
        """Keeps the application's verdict; `missing` is asked again after `ask_again`."""
        if block_hash not in self._blocks or self._verdicts.get(block_hash) in {
            CheckState.VALID,
            CheckState.INVALID,
        }:
            return
        self._verdicts[block_hash] = state

    def mark_asked(self, block_hash: bytes) -> None:
        """Notes that a check is under way."""
        self._asked.add(block_hash)

    def ask_again(self) -> bool:
        """Forgets the verdicts `missing`, so that those blocks are checked again; says whether any."""
        stale = [h for h, state in self._verdicts.items() if state is CheckState.MISSING]
        for block_hash in stale:
            del self._verdicts[block_hash]
            self._asked.discard(block_hash)
        return bool(stale)

    @property
    def lacks_data(self) -> bool:
        """Says whether the application misses something that a held block refers to."""
        return CheckState.MISSING in self._verdicts.values()

    def verdict(self, block_hash: bytes) -> CheckState | None:
        """Returns what the application said about a block, or None."""
        return self._verdicts.get(block_hash)

    def standing(self, block_hash: bytes) -> Standpoint:
        """Walks from a block down to the nearest valid ancestor and says what is to be done first."""
        lowest: Block | None = None
        current = block_hash
        while current != self.tip.hash:
            verdict = self._verdicts.get(current)
            if verdict is CheckState.VALID:
                break
            if verdict is CheckState.INVALID:
                return _INVALID
            block = self._blocks.get(current)
            if block is None:
                return Standpoint(Standing.INCOMPLETE, missing=current)
            if block.header.height <= self.tip.height + 1 and (
                block.header.parent_hash != self.tip.hash
            ):
                return _FORKED
            lowest, current = block, block.header.parent_hash
        if lowest is None:
            return _VALID
        if lowest.hash in self._asked:
            return _WAITING
        return Standpoint(Standing.UNCHECKED, block=lowest)

    def finalize(self, certificate: Certificate) -> list[tuple[Block, Certificate]]:
        """Makes a valid block and its ancestors final and forgets the views up to its own.

        Returns:
            The new final blocks, heights rising, with their certificate.
        """
        path: list[Block] = []
        current = certificate.ballot.block_hash
        while current != self.tip.hash:
            block = self._blocks[current]
            path.append(block)
            current = block.header.parent_hash
        done = [(block, certificate) for block in reversed(path)]
        head = path[0].header
        self.tip = FinalTip(path[0].hash, head.height, head.slot, head.view)
        self.retained.extend(done)
        self._forget()
        return done

    def _forget(self) -> None:
        view = self.tip.view
        self._finals = {v: c for v, c in self._finals.items() if v > view}
        stale = [h for h, block in self._blocks.items() if block.header.view <= view]
        for block_hash in stale:
            del self._blocks[block_hash]
            self._verdicts.pop(block_hash, None)
            self._asked.discard(block_hash)

    def final_run(
        self, above_height: int, limit: int
    ) -> tuple[tuple[Block, ...], Certificate] | None:
        """Returns retained final blocks above a height, up to the first one with a certificate of its own.

        The run is cut to its last `limit` blocks. None when the height is the tip's or is no longer retained.
        """
        if not self.retained or self.retained[0][0].header.height > above_height + 1:
            return None
        run: list[Block] = []
        for block, certificate in self.retained:
            if block.header.height <= above_height:
                continue
            run.append(block)
            if certificate.ballot.block_hash == block.hash:
                return tuple(run[-limit:]), certificate
        return None

    def branch(self, block_hash: bytes, limit: int) -> tuple[Block, ...]:
        """Returns a held or retained block and the ancestors held above the tip, rising, at most `limit`."""
        final = [block for block, _ in self.retained]
        for index, block in enumerate(final):
            if block.hash == block_hash:
                return tuple(final[max(0, index + 1 - limit) : index + 1])
        found: list[Block] = []
        current = self._blocks.get(block_hash)
        while current is not None and len(found) < limit:
            found.append(current)
            current = self._blocks.get(current.header.parent_hash)
        return tuple(reversed(found))
