"""Ledgers that look like real ones, made through the ledger's own interface from events that hosts would write."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bootstrap.clock import Instant
from bootstrap.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.ledger import Ledger

_EPOCH = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@dataclass
class Stream:
    """One machine's clock and the lines it writes. `skew` is how wrong its wall clock is, in seconds."""

    boot: str
    at: float = 12.0
    skew: float = 0.0
    wall: datetime = _EPOCH
    events: list[Event] = field(default_factory=list)

    def _emit(self, event: str, **body: Any) -> None:
        wall = (self.wall + timedelta(seconds=self.skew)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.events.append(Event(Instant(round(self.at, 2), self.boot, wall), event, body))

    def wait(self, seconds: float) -> None:
        self.at += seconds
        self.wall += timedelta(seconds=seconds)

    def start(self, path: str, category: str = "mixed") -> None:
        self._emit("start", phase=path, category=category)

    def end(self, path: str, status: str = "ok", **detail: Any) -> None:
        self._emit("end", phase=path, status=status, **({"detail": detail} if detail else {}))

    def phase(self, path: str, seconds: float, category: str = "mixed", status: str = "ok") -> None:
        self.start(path, category)
        self.wait(seconds)
        self.end(path, status)

    def fact(self, name: str, value: Any) -> None:
        self._emit("fact", name=name, value=value)

    def reboot(self, boot: str, gap: float = 20.0) -> None:
        self.wall += timedelta(seconds=gap)
        self.boot, self.at = boot, 4.0


@dataclass(frozen=True)
class Kind:
    """What hosts of one distro are like: typical seconds, and the facts they tell."""

    distro: str
    pretty: str
    typical: Mapping[str, float]
    facts: Mapping[str, Any] = field(default_factory=dict)


_COMMON = {
    "install/preflight": 0.4,
    "install/first-boot": 0.6,
    "install/packages/lock": 0.2,
    "install/packages/repositories": 0.4,
    "install/packages/refresh": 2.0,
    "install/packages/install": 6.0,
    "install/python": 1.1,
    "install/uv": 0.9,
    "install/torch": 8.0,
    "install/project": 1.0,
    "install/corpora": 1.2,
    "install/verify": 2.2,
    "first-checkpoint/start": 2.6,
    "first-checkpoint/data": 0.3,
    "first-checkpoint/train": 26.5,
    "first-checkpoint/evaluate": 1.4,
    "first-checkpoint/save": 0.1,
}
_CATEGORY = {
    "install/first-boot": "wait",
    "install/packages/lock": "wait",
    "install/packages/repositories": "wait",
    "install/packages/refresh": "network",
    "install/uv": "network",
    "install/corpora": "network",
    "install/verify": "compute",
    "first-checkpoint/start": "disk",
    "first-checkpoint/data": "disk",
    "first-checkpoint/train": "compute",
    "first-checkpoint/evaluate": "compute",
    "first-checkpoint/save": "disk",
}
FACTS: dict[str, Any] = {
    "arch": "x86_64",
    "kernel": "6.12.0-55-cloud-amd64",
    "python": "3.12.8",
    "torch": "2.13.0",
    "torch.build": "cpu",
    "cpu.model": "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz",
    "cpu.count": 2,
    "memory.mib": 952,
    "instance.type": "t3.micro",
    "zone": "us-east-1a",
    "threads": 1,
    "precision": "bf16",
    "corpus.name": "shakespeare",
    "corpus.sha256": "9b4f3c0f6d2b",
    "iterations": 1000,
    "virt": "kvm",
    "swap.mib": 1024,
}

AMAZON = Kind("amazon", "Amazon Linux 2023", _COMMON, {"image.id": "ami-0aa11", "glibc": "2.34"})
SUSE = Kind(
    "suse",
    "SLES 15 SP7",
    {**_COMMON, "install/packages/install": 9.0, "install/packages/refresh": 4.5},
    {"image.id": "ami-0bb22", "glibc": "2.38"},
)
RHEL = Kind(
    "rhel",
    "Red Hat Enterprise Linux 9.6",
    {**_COMMON, "install/packages/repositories": 34.0, "install/packages/refresh": 6.0},
    {"image.id": "ami-0cc33", "glibc": "2.34"},
)
UBUNTU = Kind(
    "ubuntu",
    "Ubuntu 24.04.3 LTS",
    {**_COMMON, "install/packages/lock": 3.0, "install/packages/install": 7.0},
    {"image.id": "ami-0dd44", "glibc": "2.39"},
)
FOUR = (AMAZON, SUSE, RHEL, UBUNTU)
_INSTALL_CHILDREN = [path for path in _COMMON if path.startswith("install/") and "packages/" not in path]
_PACKAGE_CHILDREN = [path for path in _COMMON if "packages/" in path]


def host_stream(kind: Kind, chance: random.Random, *, spread: float = 0.05, stream: Stream | None = None) -> Stream:
    """A host that installs and trains; each phase takes its typical seconds, give or take `spread` (log-normal)."""
    stream = stream or Stream(f"boot-{chance.randrange(16**8):08x}")

    def seconds(path: str) -> float:
        return kind.typical[path] * chance.lognormvariate(0, spread)

    stream.start("install")
    stream.fact("os.pretty", kind.pretty)
    for name, value in {**FACTS, **kind.facts}.items():
        stream.fact(name, value)
    for path in ("install/preflight", "install/first-boot"):
        stream.phase(path, seconds(path), _CATEGORY.get(path, "mixed"))
    stream.start("install/packages")
    for path in _PACKAGE_CHILDREN:
        stream.phase(path, seconds(path), _CATEGORY.get(path, "mixed"))
    stream.end("install/packages")
    for path in _INSTALL_CHILDREN[2:]:
        stream.phase(path, seconds(path), _CATEGORY.get(path, "mixed"))
    stream.wait(0.1)
    stream.end("install")
    train(stream, kind, seconds, chance)
    return stream


def train(stream: Stream, kind: Kind, seconds: Any, chance: random.Random) -> None:
    stream.start("first-checkpoint")
    for path in _COMMON:
        if path.startswith("first-checkpoint/"):
            stream.phase(path, seconds(path), _CATEGORY.get(path, "mixed"))
    stream.end("first-checkpoint")
    stream.fact("first_checkpoint.val_loss", round(chance.gauss(1.762, 0.004), 4))


def launcher_stream(chance: random.Random, host: Stream, laptop: str = "laptop") -> Stream:
    """What the launcher saw of the same host, on its own clock."""
    seen = Stream(laptop, at=5000.0 + chance.random() * 5)
    seen.phase("launch/create", chance.uniform(1.2, 2.0), "wait")
    seen.phase("launch/boot", chance.uniform(14, 22), "wait")
    seen.phase("launch/ssh", chance.uniform(3, 6), "wait")
    seen.phase("launch/upload", chance.uniform(0.5, 1.0), "network")
    lengths = {event.body["phase"]: event for event in host.events if event.event == "end"}
    for path in ("install", "first-checkpoint"):
        started = next(e for e in host.events if e.event == "start" and e.body["phase"] == path)
        seen.phase(path, lengths[path].instant.at - started.instant.at + chance.uniform(0.2, 0.6))
    return seen


def run(
    ledger: Ledger,
    kinds: tuple[Kind, ...] = FOUR,
    replicas: int = 3,
    *,
    seed: int = 1,
    spread: float = 0.05,
    provider: str = "ec2",
    run_id: str | None = None,
    name: str | None = None,
) -> str:
    """A finished launch over several distros. Returns the run's id."""
    chance = random.Random(seed)
    made = ledger.start_run(
        provider, ["charrnn-bootstrap", "launch"], run_id=run_id, name=name, settings={"replicas": replicas}, seed=seed
    )
    for kind in kinds:
        for number in range(1, replicas + 1):
            add_host(ledger, made, kind, f"{kind.distro}-{number}", chance, spread=spread)
    ledger.finish_run(made, "ok")
    return made


def add_host(ledger: Ledger, run_id: str, kind: Kind, name: str, chance: random.Random, *, spread: float = 0.05) -> int:
    """A host of a launch that went well."""
    host = host_stream(kind, chance, spread=spread)
    host_id = ledger.add_host(run_id, name, kind.distro)
    ledger.replace_phases(host_id, "launcher", launcher_stream(chance, host).events)
    ledger.replace_phases(host_id, "host", host.events)
    ledger.update_host(host_id, status="ok", cost=round(chance.uniform(0.0009, 0.0012), 6))
    return host_id


def failed_host(ledger: Ledger, run_id: str, kind: Kind, name: str, failure: str = "capacity") -> int:
    """A host that never came to be."""
    host_id = ledger.add_host(run_id, name, kind.distro)
    ledger.update_host(
        host_id,
        status="failed",
        failure_class=failure,
        failure_message="no t3.micro in us-east-1a, tried 1b and 1c",
        failed_phase="launch/create",
        log_tail="InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity\n"
        "in the Availability Zone you requested (us-east-1a).",
    )
    return host_id


def slow(kind: Kind, **factors: float) -> Kind:
    """The same kind with some phases multiplied: slow(RHEL, train=2)."""
    changed = {
        path: value * next((f for leaf, f in factors.items() if path.endswith(f"/{leaf}")), 1.0)
        for path, value in kind.typical.items()
    }
    return Kind(kind.distro, kind.pretty, changed, kind.facts)


def phases_of(events: list[Event]) -> Iterator[str]:
    return (event.body["phase"] for event in events if event.event == "start")
