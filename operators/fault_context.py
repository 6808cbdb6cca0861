"""What evidence of a fault is judged against, and how it is refused."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from proving.signatures import SignatureBackend
from schemas.block import BlockHeader, genesis_hash
from schemas.genesis import Genesis
from schemas.refusal import EvidenceRefusal


class RefusedEvidence(Exception):
    """Evidence convicts nobody.

    Attributes:
        refusal: Its stable name.
    """

    def __init__(self, refusal: EvidenceRefusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a judge knows of one shard, none of it from the evidence.

    Attributes:
        genesis: The chain's constants.
        parameters: The shard's.
        hasher: Where permutations run.
        genesis_state_root: Root of the state before the shard's first block.
        empty: Digests of empty subtrees per level.
        committees: By epoch of the validator set: who votes, and what checks their signatures.
        signatures: Backend for users' signatures; the default one if None.
        final_blocks: Blocks that the beacon has recorded as final; their evidence needs no certificate.
        judged: Digests of evidence that was judged before.
        shown_signatures: By a transaction's digest: the signature that somebody showed when it was demanded.
        is_answer_time_over: Whether no signature may be shown any more for the evidence at hand.
    """

    genesis: Genesis
    parameters: LedgerParameters
    hasher: Hasher
    genesis_state_root: bytes
    empty: tuple[bytes, ...]
    committees: Mapping[int, tuple[Committee, Verifier]]
    signatures: SignatureBackend | None = None
    final_blocks: Container[bytes] = frozenset()
    judged: Container[bytes] = frozenset()
    shown_signatures: Mapping[bytes, bytes] = field(default_factory=dict)
    is_answer_time_over: bool = False

    @property
    def first_parent(self) -> bytes:
        """Hash that the shard's first block names as its parent."""
        return genesis_hash(self.parameters.chain, self.parameters.shard)

    def root_before(self, parent: BlockHeader | None) -> bytes:
        """Returns the state root that a block stands on."""
        return self.genesis_state_root if parent is None else parent.post_state_root

    def epoch_of(self, header: BlockHeader) -> int:
        """Returns the epoch of a block's slot, by which the beacon counts windows."""
        return self.genesis.epoch_of(self.genesis.window_of(header.slot))

    def opens_window(self, header: BlockHeader, parent: BlockHeader | None) -> bool:
        """Says whether a block's list of transactions begins anew."""
        window = self.genesis.window_of
        return parent is None or window(header.slot) != window(parent.slot)


def fault_context(
    genesis: Genesis,
    parameters: LedgerParameters,
    hasher: Hasher,
    committees: Mapping[int, tuple[Committee, Verifier]],
    signatures: SignatureBackend | None = None,
) -> FaultContext:
    """Returns the context of a shard with nothing judged or recorded yet; the rest is set by `dataclasses.replace`."""
    first = genesis_ledger(parameters, hasher, genesis.issuer_key)
    root = first.state_root()
    return FaultContext(genesis, parameters, hasher, root, first.empty, committees, signatures)
