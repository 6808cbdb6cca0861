"""Actions of `ecliptica wallet`."""

from __future__ import annotations

from pipelines.cli.contract import Call
from pipelines.wallet import NewWallet, new_wallet, scan_notes
from schemas.errors import EnvironmentMissing


def new(call: Call, *, name: str, register_with: str | None, shard: int) -> NewWallet:
    """Makes a key pair.

    Raises:
        EnvironmentMissing: A registration is asked for, which needs the event log.
    """
    if register_with is not None:
        raise EnvironmentMissing(
            f"not built yet: registering with {register_with!r} on shard {shard} from the command",
            "make the key without --register-with",
        )
    return new_wallet(call.settings().data, name)


def scan(call: Call, *, wallet: str) -> None:
    """Finds incoming notes of the private tiers.

    Raises:
        EnvironmentMissing: Always: the private tiers are not built yet.
    """
    scan_notes()
