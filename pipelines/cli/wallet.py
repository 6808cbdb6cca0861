"""`ecliptica wallet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

Shard = Annotated[int, typer.Option(min=0, envvar="ECLIPTICA_SHARD", help="Shard of the account.")]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app(
        "Keys, transactions and what became of them.", example="ecliptica wallet new alice"
    )
    root.add_typer(app, name="wallet")

    @command(
        app, "new", example="ecliptica wallet new alice --register-with bob", settings=("log",)
    )
    def new(
        name: Annotated[str, typer.Argument(help="Name of the wallet.")],
        register_with: Annotated[
            str | None,
            typer.Option(
                help="Wallet that registers the key on the ledger and pays for it.",
                show_default="keys only",
            ),
        ] = None,
        shard: Shard = 0,
    ) -> Work:
        """Make a key pair, owner-only on disk, and register it if a payer is named."""
        return Work("wallet:new", {"name": name, "register_with": register_with, "shard": shard})

    @command(
        app,
        "send",
        example="ecliptica wallet send alice 0x3f5c...e1 1.5",
        settings=("log",),
    )
    def send(
        wallet: Annotated[str, typer.Argument(help="Wallet that pays.")],
        recipient: Annotated[str, typer.Argument(help="Address or account index.")],
        amount: Annotated[str, typer.Argument(help="ECLIPT, at most nine decimals.")],
        *,
        tier: Annotated[
            Literal["public", "private", "max-private"], typer.Option(help="Privacy tier.")
        ] = "public",
        shard: Shard = 0,
        to_shard: Annotated[
            int | None,
            typer.Option(
                min=0, help="Shard of the recipient, if another.", show_default="the payer's"
            ),
        ] = None,
        nonce: Annotated[
            int | None, typer.Option(min=0, help="Set by hand.", show_default="read from the log")
        ] = None,
    ) -> Work:
        """Sign a transaction and append it to the log."""
        fields = {"wallet": wallet, "recipient": recipient, "amount": amount, "tier": tier}
        return Work("wallet:send", {**fields, "shard": shard, "to_shard": to_shard, "nonce": nonce})

    @command(app, "scan", example="ecliptica wallet scan alice", settings=("log",))
    def scan(wallet: Annotated[str, typer.Argument(help="Wallet.")]) -> Work:
        """Find incoming notes (Private and MaxPrivacy tiers)."""
        return Work("wallet:scan", {"wallet": wallet})

    @command(app, "receipt", example="ecliptica wallet receipt 9f86d081...", settings=("log",))
    def receipt(
        transaction: Annotated[str, typer.Argument(help="Transaction digest, hex.")],
        shard: Shard = 0,
        inclusion: Annotated[
            Path | None,
            typer.Option(help="Write the path to the day's statement here.", show_default="none"),
        ] = None,
    ) -> Work:
        """The finality that a transaction has reached, and what stands for it."""
        return Work(
            "wallet:receipt", {"transaction": transaction, "shard": shard, "inclusion": inclusion}
        )
