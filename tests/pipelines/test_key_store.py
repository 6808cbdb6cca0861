from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pipelines.key_store import create_key, list_keys, load_key
from schemas.errors import EclipticaError, ParameterError


def test_a_key_reads_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = create_key(tmp_path, "alice")
    path = tmp_path / "keys" / "alice.json"
    assert load_key(tmp_path, "alice") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["alice.json"]


def test_two_keys_differ_unless_their_seed_is_given(tmp_path: Path) -> None:
    seed = bytes(range(32))
    addresses = [
        create_key(tmp_path, name, given).address
        for name, given in (("a", None), ("b", None), ("c", seed), ("d", seed))
    ]
    assert len(set(addresses)) == 3
    assert addresses[2] == addresses[3]
    assert list_keys(tmp_path) == ("a", "b", "c", "d")


def test_a_taken_name_keeps_its_key(tmp_path: Path) -> None:
    made = create_key(tmp_path, "alice")
    with pytest.raises(ParameterError, match="there is already a key 'alice'"):
        create_key(tmp_path, "alice")
    assert load_key(tmp_path, "alice") == made
    assert len(list((tmp_path / "keys").iterdir())) == 1


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", "a" * 65, "-a", "a.json"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    for use in (create_key, load_key):
        with pytest.raises(ParameterError, match="a wallet's name is made of"):
            use(tmp_path, name)


def test_an_absent_key_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="there is no key 'bob'") as caught:
        load_key(tmp_path, "bob")
    assert caught.value.hint == "ecliptica wallet new bob"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path, "alice")
    (tmp_path / "keys" / "alice.json").chmod(0o644)
    with pytest.raises(ParameterError, match=r"can be read by others \(mode 644\)"):
        load_key(tmp_path, "alice")


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(EclipticaError, match=r"cannot make .*keys: File exists$"):
        create_key(tmp_path, "alice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "00" * 32}, "its seed does not give its public key"),
        ({"seed": "00"}, "an ML-DSA-44 seed is 32 bytes, got 1"),
        ({"seed": None}, "is not a key file"),
        ({"address": 5}, "is not a key file"),
        ({"address": "0x00"}, "is damaged"),
        ({"format": "other"}, "has key format 'other'"),
    ],
)
def test_a_damaged_key_file_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    create_key(tmp_path, "alice")
    path = tmp_path / "keys" / "alice.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ParameterError, match=message):
        load_key(tmp_path, "alice")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "\x00"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    create_key(tmp_path, "alice")
    (tmp_path / "keys" / "alice.json").write_text(text)
    with pytest.raises(ParameterError, match="is not a key file"):
        load_key(tmp_path, "alice")


def test_an_account_registered_under_another_address_keeps_it(tmp_path: Path) -> None:
    made = create_key(tmp_path, "alice", bytes(32), b"a" * 20)
    assert load_key(tmp_path, "alice") == made
    assert made.address == b"a" * 20
    with pytest.raises(ParameterError, match="an address has 20 bytes, got 3"):
        create_key(tmp_path, "bob", bytes(32), b"abc")
