"""Selects the ML-DSA-44 vectors of this folder from a checkout of Project Wycheproof.

Usage: python tests/vectors/select_ml_dsa_44.py WYCHEPROOF_CHECKOUT > tests/vectors/ml_dsa_44.json
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PER_FLAGS = {"InvalidHintsEncoding": 8, "InvalidContext": 5, "ModifiedSignature": 7}
"""How many verification cases of a kind to keep; three of every other kind."""


def _read(checkout: str, name: str) -> Any:
    command = ["git", "-C", checkout, "show", f"HEAD:testvectors_v1/{name}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603


def _verification(document: Any) -> list[dict[str, Any]]:
    kept: dict[str, int] = {}
    cases = []
    for group in document["testGroups"]:
        for test in group["tests"]:
            flags = ",".join(test["flags"])
            kept[flags] = kept.get(flags, 0) + 1
            if kept[flags] <= PER_FLAGS.get(flags, 3):
                cases.append(
                    {
                        "id": test["tcId"],
                        "comment": test["comment"],
                        "flags": flags,
                        "key": group["publicKey"],
                        "message": test["msg"],
                        "context": test.get("ctx", ""),
                        "signature": test["sig"],
                        "valid": test["result"] == "valid",
                    }
                )
    return cases


def _signing(document: Any) -> list[dict[str, Any]]:
    cases = []
    for group in document["testGroups"]:
        for test in group["tests"]:
            flags = set(test["flags"])
            if test["result"] == "valid" and not flags & {"Internal", "Randomized"}:
                cases.append(
                    {
                        "id": test["tcId"],
                        "seed": group["privateSeed"],
                        "key": group["publicKey"],
                        "message": test["msg"],
                        "context": test.get("ctx", ""),
                        "signature": test["sig"],
                    }
                )
    return cases[:6] + cases[6::8]


def main(checkout: str) -> None:
    """Prints the selection as JSON."""
    command = ["git", "-C", checkout, "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
    document = {
        "provenance": {
            "source": "C2SP/wycheproof testvectors_v1/mldsa_44_{verify,sign_seed}_test.json",
            "commit": commit,
            "licence": "Apache-2.0",
            "command": "python tests/vectors/select_ml_dsa_44.py CHECKOUT",
            "date": "2026-11-24",
        },
        "signing": _signing(_read(checkout, "mldsa_44_sign_seed_test.json")),
        "verification": _verification(_read(checkout, "mldsa_44_verify_test.json")),
    }
    json.dump(document, sys.stdout, indent=0)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
