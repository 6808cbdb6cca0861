"""`ecliptica proof`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

ProofFile = Annotated[Path, typer.Argument(help="Proof file.")]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app("Proofs: make, verify, understand.", example="ecliptica proof soundness")
    root.add_typer(app, name="proof")

    @command(
        app,
        "create",
        example="ecliptica proof create --window 2 --out proofs/",
        settings=("log",),
        drains=True,
    )
    def create(
        window: Annotated[int, typer.Option(min=0, help="Window to prove.")],
        shard: Annotated[int, typer.Option(min=0, help="Shard of the window.")] = 0,
        out: Annotated[Path | None, typer.Option(help="Folder.", show_default="DATA")] = None,
    ) -> Work:
        """Prove a closed window from the log; a proof on file that holds is kept."""
        return Work("proof:create_proof", {"window": window, "shard": shard, "out": out})

    @command(
        app,
        "verify",
        example="ecliptica proof verify ecliptica-data/proofs/segment/1f.proof",
        settings=("minimum_bits",),
    )
    def verify(
        files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Proof files.")],
    ) -> Work:
        """Verify proofs; prints what was proven and at how many bits."""
        return Work("proof:verify_proof", {"files": files})

    @command(
        app,
        "explain",
        example="ecliptica proof explain ecliptica-data/proofs/segment/1f.proof",
        settings=("log",),
    )
    def explain(
        file: ProofFile,
        against: Annotated[
            Path | None,
            typer.Option(
                help="A proof of the same statement that holds; its transcript is the prover's.",
                show_default="proven again from the log, or a proof on the log",
            ),
        ] = None,
    ) -> Work:
        """Print both sides' transcripts with labels, and where they part; also of a damaged proof."""
        return Work("explain:explain_proof", {"file": file, "against": against})

    @command(app, "soundness", example="ecliptica proof soundness --kind segment_s")
    def soundness(
        kind: Annotated[
            str | None,
            typer.Option(help="Kind of proof, such as segment_s or S.", show_default="all"),
        ] = None,
    ) -> Work:
        """The soundness error of every round in both regimes, proven."""
        return Work("proof:show_soundness", {"kind": kind})
