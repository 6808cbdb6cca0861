from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ParameterError
from schemas.workload import AmountDistribution, Amounts, Invalidity, Workload, load_workload

FULL = """
accounts: 20
funding: 1000
sender_exponent: 0.5
recipient_exponent: 1.1
amounts: {minimum: 1, maximum: 50, distribution: uniform}
rate: 9
invalid: {bad_signature: 0.01, overdraft: 0.02}
"""


def test_every_field_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(FULL)
    assert load_workload(path) == Workload(
        accounts=20,
        funding=1000,
        sender_exponent=0.5,
        recipient_exponent=1.1,
        amounts=Amounts(minimum=1, maximum=50, distribution=AmountDistribution.UNIFORM),
        rate=9.0,
        invalid={Invalidity.BAD_SIGNATURE: 0.01, Invalidity.OVERDRAFT: 0.02},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accounts: [1", "is not YAML"),
        ("- 1", "is not a YAML mapping"),
        ("funding: 5", "accounts: Field required"),
        ("accounts: -1", "accounts: Input should be greater than or equal to 0"),
        ("accounts: 1\nspeed: 5", "speed: Extra inputs are not permitted"),
        ("accounts: 1\nschema_version: 2", "schema_version: Input should be less than"),
        ("accounts: 1\nfunding: 1152921504606846976", "funding: Input should be less than"),
        ("accounts: 2\nfunding: 576460752303423488", "accounts . funding is not below 2.60"),
        ("accounts: 1\namounts: {minimum: 9, maximum: 5}", "minimum is above maximum"),
        ("accounts: 1\ninvalid: {bad_luck: 0.5}", "invalid.bad_luck"),
        ("accounts: 1\ninvalid: {garbage: 1.5}", "a share of invalid is outside"),
        ("accounts: 1\ninvalid: {garbage: 0.6, replay: 0.6}", "sum to more than 1"),
        ("a: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=message):
        load_workload(path)


def test_an_absent_or_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot read"):
        load_workload(tmp_path / "absent.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ParameterError, match="is larger than"):
        load_workload(tmp_path / "huge.yaml")


def test_the_workloads_that_come_with_the_project_load() -> None:
    folder = Path(__file__).parents[2] / "pipelines" / "data" / "workloads"
    loaded = {path.stem: load_workload(path) for path in folder.glob("*.yaml")}
    valid = loaded["uniform_100_accounts_all_valid"]
    mixed = loaded["hot_receivers_200_accounts_20_percent_invalid"]
    assert (valid.accounts, valid.invalid) == (100, {})
    assert (mixed.accounts, mixed.funding) == (200, 10**12)
    assert mixed.invalid == dict.fromkeys(Invalidity, 0.01)
