"""Network namespaces: processes whose only way out is a wire of their own, which can be cut or made to lose packets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from pipelines.faults.shell import run_tool
from schemas.errors import EnvironmentMissing

MAINLAND = "198.18.255.1"
"""Address of this machine that every namespace reaches; RFC 2544 keeps its network for tests."""

RANDOM_WORD = 0xFFFF_F038
"""Where a classic BPF program reads a random 32-bit word: SKF_AD_OFF + SKF_AD_RANDOM."""

PASS, DROP = 0, 2
"""Verdicts of a traffic control program: TC_ACT_OK and TC_ACT_SHOT."""


@dataclass(slots=True)
class Island:
    """One namespace and its wire.

    Attributes:
        name: Of the namespace.
        near: End of the wire on this machine.
        far: End of the wire in the namespace.
        loss: What makes packets disappear: `netem`, or `bpf` where the kernel has no netem; empty before the first loss.
    """

    name: str
    near: str
    far: str
    loss: str = field(default="", init=False)

    @property
    def wrapper(self) -> Sequence[str]:
        """What a process in it is started through."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Takes the wire down: nothing passes, and nobody is told."""
        run_tool("ip", "link", "set", self.near, "down")

    def join(self) -> None:
        """Brings the wire up again."""
        run_tool("ip", "link", "set", self.near, "up")

    def lose(self, share: float) -> None:
        """Drops a share of the packets at random, each way.

        Raises:
            EnvironmentMissing: The kernel has neither netem nor classic BPF programs for traffic control.
        """
        try:
            self._both_ways("qdisc", "add", "root", "netem", "loss", f"{share:.1%}")
            self.loss = "netem"
        except EnvironmentMissing:
            limit = int(share * 2**32)
            program = f"4,32 0 0 {RANDOM_WORD},53 1 0 {limit},6 0 0 {DROP},6 0 0 {PASS}"
            self._both_ways("qdisc", "add", "clsact")
            self._both_ways("filter", "add", "ingress", "bpf", "da", "bytecode", program)
            self.loss = "bpf"

    def keep_all(self) -> None:
        """Ends the loss."""
        if self.loss:
            self._both_ways("qdisc", "del", "root" if self.loss == "netem" else "clsact")
        self.loss = ""

    def _both_ways(self, noun: str, verb: str, *rest: str) -> None:
        run_tool("tc", noun, verb, "dev", self.near, *rest)
        run_tool(*self.wrapper, "tc", noun, verb, "dev", self.far, *rest)


@contextmanager
def islands(count: int) -> Iterator[list[Island]]:
    """Makes namespaces that reach this machine at `MAINLAND`, and removes them in the end.

    Raises:
        EnvironmentMissing: Not root, or this kernel has no namespaces.
    """
    with ExitStack() as undo:
        run_tool("ip", "address", "add", f"{MAINLAND}/32", "dev", "lo")
        undo.callback(_quietly, "ip", "address", "del", f"{MAINLAND}/32", "dev", "lo")
        made = []
        for place in range(count):
            island = Island(f"ecliptica-{os.getpid()}-{place}", f"ecl{place}near", f"ecl{place}far")
            _make(island, place, undo)
            made.append(island)
        yield made


def _make(island: Island, place: int, undo: ExitStack) -> None:
    run_tool("ip", "netns", "add", island.name)
    undo.callback(_quietly, "ip", "netns", "del", island.name)
    run_tool("ip", "link", "add", island.near, "type", "veth", "peer", "name", island.far)
    undo.callback(_quietly, "ip", "link", "del", island.near)
    run_tool("ip", "link", "set", island.far, "netns", island.name)
    run_tool("ip", "address", "add", f"198.18.{place}.1/30", "dev", island.near)
    run_tool("ip", "link", "set", island.near, "up")
    inside = (*island.wrapper, "ip")
    run_tool(*inside, "address", "add", f"198.18.{place}.2/30", "dev", island.far)
    for device in ("lo", island.far):
        run_tool(*inside, "link", "set", device, "up")
    run_tool(*inside, "route", "add", "default", "via", f"198.18.{place}.1")


def _quietly(*command: str) -> None:
    """Takes down what may be gone already: a namespace takes its end of the wire, and so the wire, with it."""
    with suppress(EnvironmentMissing):
        run_tool(*command)
