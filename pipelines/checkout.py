"""Which commit the code runs from, for `version` and for every measurement."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
GIT_SECONDS = 5


def checkout_commit(root: Path) -> str | None:
    """Returns the commit of a git checkout, or None where there is none or no git; a plus sign says that files differ."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    commit = _git(git, root, "rev-parse", "HEAD")
    changes = _git(git, root, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else commit + ("+" if changes else "")


def _git(git: str, root: Path, *arguments: str) -> str | None:
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [git, "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None
