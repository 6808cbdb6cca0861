"""Runs the light client from its folder: `python -I -S proving/light FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from proving.light.command import main

    sys.exit(main())
