"""A small disk of its own, an ext4 file system in a file, that can be filled and slowed down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.faults.shell import run_tool
from schemas.errors import EnvironmentMissing

THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device")
"""Where the kernel (control groups, version 1) takes a limit on the writes of a device, for all processes."""

BALLAST = ".ballast"
BLOCK_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted disk.

    Attributes:
        mount: Where it is mounted.
        device: Its loop device.
    """

    mount: Path
    device: str

    def fill(self) -> None:
        """Leaves no byte free; an ordinary file takes it all, `free` gives it back."""
        with (self.mount / BALLAST).open("ab", buffering=0) as file:
            for size in (BLOCK_BYTES, 4096, 512, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self) -> None:
        """Gives back what `fill` has taken."""
        (self.mount / BALLAST).unlink(missing_ok=True)

    def slow_down(self, writes_per_second: int) -> None:
        """Limits the writes of the device; 0 lifts the limit.

        Raises:
            EnvironmentMissing: This kernel takes no such limit.
        """
        number = os.stat(self.device).st_rdev  # noqa: PTH116 - pathlib hides st_rdev from mypy
        try:
            THROTTLE.write_text(f"{os.major(number)}:{os.minor(number)} {writes_per_second}")
        except OSError as error:
            raise EnvironmentMissing(f"{THROTTLE}: {error.strerror}") from error


@contextmanager
def small_disk(mount: Path, image: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Makes a disk, mounts it, and takes it away in the end.

    Args:
        mount: An empty directory; made if absent.
        image: The file that holds it; must not exist.
        megabytes: Its size.

    Raises:
        EnvironmentMissing: Not root, or this kernel has no loop devices.
    """
    mount.mkdir(parents=True, exist_ok=True)
    with image.open("xb") as file:
        file.truncate(megabytes << 20)
    run_tool("mkfs.ext4", "-q", "-m", "0", str(image))
    device = run_tool("losetup", "--find", "--show", str(image)).strip()
    try:
        run_tool("mount", device, str(mount))
        disk = SmallDisk(mount, device)
        try:
            yield disk
        finally:
            with suppress(EnvironmentMissing):
                disk.slow_down(0)
            run_tool("umount", str(mount))
    finally:
        run_tool("losetup", "--detach", device)
        image.unlink()
