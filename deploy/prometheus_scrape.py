"""What Prometheus scrapes: one target per process, at the port that the plan gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

SCRAPE_SECONDS = 5
"""Between two scrapes: queues and lags are looked at every two seconds, so that none is shown twice for long."""


def role_of(process: str) -> str:
    """Returns the role of a process, which its name begins with: `validator-2` is a validator."""
    stem, _, number = process.rpartition("-")
    return stem if stem and number.isdigit() else process


def scrape_configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    """Returns the configuration.

    Args:
        targets: `host:port` by name of the process.
    """
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": "ecliptica",
                "metrics_path": "/metrics",
                "static_configs": [
                    {
                        "targets": [target],
                        "labels": {"instance": process, "role": role_of(process)},
                    }
                    for process, target in targets.items()
                ],
            }
        ],
    }


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes texts of several lines as they are, and lists that occur twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        """Says that nothing is referred to."""
        return True


def _text(dumper: _Dumper, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(document: Mapping[str, Any]) -> str:
    """Returns a document as YAML, keys in their order, no line broken."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000))
