from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.economics import ECLIPT, FRAUD_TERMS
from schemas.errors import ParameterError
from schemas.genesis import Bonds, Genesis, encode_key, load_genesis

OLD: dict[str, Any] = {
    "schema_version": 1,
    "chain": 7,
    "shards": 2,
    "slot_micros": 468_750,
    "slots_per_window": 64,
    "windows_per_epoch": 15,
    "start_millis": 1_800_000_000_000,
    "issuer": encode_key(b"i" * 1312),
    "validators": [encode_key(bytes([n]) * 1312) for n in range(1, 5)],
}
BOND = 100_000 * ECLIPT
NEW = {**OLD, "schema_version": 2, "bonds": {"terms": 1, "units": [BOND] * 4}}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def test_a_document_without_bonds_keeps_its_bytes() -> None:
    genesis = Genesis.model_validate_json(_text(OLD))
    assert genesis.bonds is None
    assert genesis.model_dump_json() == _text(OLD)
    digest = hashlib.sha256((genesis.model_dump_json(indent=2) + "\n").encode()).hexdigest()
    assert digest == hashlib.sha256((json.dumps(OLD, indent=2) + "\n").encode()).hexdigest()


def test_a_document_with_bonds_survives_its_bytes_and_is_another_chain(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_text(_text(NEW), encoding="utf-8")
    genesis = load_genesis(path)
    assert genesis.bonds == Bonds(terms=1, units=(BOND,) * 4)
    assert genesis.fraud_terms == FRAUD_TERMS[1]
    assert genesis.model_dump_json() == _text(NEW)
    assert genesis != Genesis.model_validate(OLD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 1}, "has bonds from version 2"),
        ({"bonds": None}, "has bonds from version 2"),
        ({"schema_version": 3}, "less than or equal to 2"),
        ({"bonds": {"units": [BOND] * 3}}, "every validator has one bond"),
        ({"bonds": {"units": [BOND - 1, BOND, BOND, BOND]}}, "a bond has"),
        ({"bonds": {"units": [2**60, BOND, BOND, BOND]}}, "a bond has"),
        ({"bonds": {"terms": 2, "units": [BOND] * 4}}, "terms 2 are unknown"),
        ({"bonds": {"units": [BOND] * 4, "more": 1}}, "Extra inputs"),
    ],
)
def test_bonds_that_are_none_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Genesis.model_validate({**NEW, **changes})
    path = tmp_path / "genesis.json"
    path.write_text(_text({**NEW, **changes}), encoding="utf-8")
    with pytest.raises(ParameterError, match=message):
        load_genesis(path)
