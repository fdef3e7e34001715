"""Speed-up over cores, hardware and network size, from what `charrnn bench --json` wrote on any number of hosts."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bootstrap.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

FORMAT = 1
"""The format of `charrnn bench --json` that this reads."""


class Network(NamedTuple):
    """What was trained: everything that the arithmetic of an iteration depends on."""

    cell: str
    layers: int
    size: int
    batch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.cell} {self.layers}×{self.size}, {self.batch}×{self.sequence}"


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements."""

    median: float
    minimum: float
    maximum: float
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """One setting on one machine. Rates are characters a second; `gigaflops` and `peak` are 10⁹ operations a second.

    `peak` is the fastest matrix product that was measured there, with this device, precision and thread count.
    """

    machine: str
    device: str
    network: Network
    precision: str
    threads: int
    rate: Spread
    gigaflops: float
    peak: float | None
    first_checkpoint: float | None
    val_loss: float | None
    memory: int | None

    @property
    def of_peak(self) -> float | None:
        """Return what share of the machine's matrix-product peak was reached."""
        return self.gigaflops / self.peak if self.peak else None


@dataclass(frozen=True, slots=True)
class Scaled:
    """A point beside its baseline: how many times faster; how many would be ideal, and how many the peak allows."""

    point: Point
    times: float
    ideal: float | None
    ceiling: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that differ in one thing only, the baseline first."""

    title: str
    points: tuple[Scaled, ...]


def load(files: Iterable[Path]) -> list[Point]:
    """Read results. Raises UsageError for what is not `charrnn bench --json`, or is of a newer version."""
    read = [(file, _document(file)) for file in files]
    names = [_machine(document, file) for file, document in read]
    points: list[Point] = []
    for (file, document), name in zip(read, names, strict=True):
        # Two files of one host are one machine only if they tell the same processor.
        label = name if _same_everywhere(name, document, names, read) else f"{name} ({file.name})"
        try:
            points += [_point(point, document["peaks"], label) for point in document["points"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{file}: a result of charrnn bench lacks {error}", remedy=_REMEDY) from error
    if not points:
        raise UsageError("the files hold no measurements", remedy=_REMEDY)
    return points


_REMEDY = "make one with `charrnn bench --json > FILE`"


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", remedy=_REMEDY) from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON", remedy=_REMEDY) from error
    if not isinstance(document, dict) or document.get("kind") != "bench":
        raise UsageError(f"{file} is not a result of charrnn bench", remedy=_REMEDY)
    if document.get("format") != FORMAT:
        raise UsageError(
            f"{file} has format {document.get('format')!r}; this version reads {FORMAT}",
            remedy="use the same version of charrnn and charrnn-bootstrap",
        )
    return document


def _told(document: dict[str, Any], name: str) -> Any:
    machine = document.get("machine")
    return machine.get(name) if isinstance(machine, dict) else None


def _machine(document: dict[str, Any], file: Path) -> str:
    return str(_told(document, "host") or file.stem)


def _same_everywhere(name: str, document: dict[str, Any], names: Sequence[str], read: Sequence[Any]) -> bool:
    cpus = [_told(other, "cpu") for (_, other), known in zip(read, names, strict=True) if known == name]
    return all(cpu == _told(document, "cpu") for cpu in cpus)


def _point(point: dict[str, Any], peaks: Sequence[dict[str, Any]], machine: str) -> Point:
    how = point["execution"]
    key = (how["device"], how["precision"], how["threads"])
    peak = next((p["gigaflops"] for p in peaks if (p["device"], p["precision"], p["threads"]) == key), None)
    return Point(
        machine,
        how["device"],
        Network(point["model"], *(int(point[k]) for k in ("num_layers", "rnn_size", "batch_size", "seq_length"))),
        how["precision"],
        int(how["threads"]),
        _spread(point["characters_per_second"]),
        _positive(point["gigaflops"]),
        None if peak is None else _positive(peak),
        point["first_checkpoint_seconds"]["median"],
        point["val_loss"],
        point["peak_memory_bytes"],
    )


def _spread(value: dict[str, Any]) -> Spread:
    median, low, high = (_positive(value[key]) for key in ("median", "least", "most"))
    return Spread(median, low, high, int(value["count"]))


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"a rate above zero (it has {value!r})")
    return number


def over_threads(points: Iterable[Point]) -> list[Curve]:
    """Return the speed-up over CPU threads: one curve for a machine, network and precision with several counts."""
    on_cpus = [point for point in points if point.device == "cpu"]
    grouped = _fastest(on_cpus, lambda p: (p.machine, p.network, p.precision), lambda p: p.threads)
    curves = []
    for (machine, network, precision), counts in grouped.items():
        ordered = [counts[threads] for threads in sorted(counts)]
        scaled = tuple(_scaled(point, ordered[0], point.threads / ordered[0].threads) for point in ordered)
        curves.append(Curve(f"{machine}: {network}, {precision}", scaled))
    return curves


def over_hardware(points: Iterable[Point]) -> list[Curve]:
    """Return the speed-up over machines: one curve for a network, each machine and device at its fastest.

    The first file's machine is the baseline.
    """
    curves = []
    for network, machines in _fastest(points, lambda p: p.network, lambda p: (p.machine, p.device)).items():
        every = list(machines.values())
        curves.append(Curve(str(network), tuple(_scaled(point, every[0], None) for point in every)))
    return curves


def over_size(points: Iterable[Point]) -> list[Curve]:
    """Return what share of the machine's peak networks of several sizes reach: one curve for a machine and device.

    Sizes of one network are compared: the same cell, layers, batch and sequence, each at its fastest setting. The
    smallest is the baseline, and the rate that is compared is operations a second, not characters.
    """
    grouped = _fastest(points, lambda p: (p.machine, p.device, p.network._replace(size=0)), lambda p: p.network.size)
    curves = []
    for (machine, device, network), sizes in grouped.items():
        ordered = [sizes[size] for size in sorted(sizes)]
        first = ordered[0].gigaflops
        scaled = tuple(Scaled(p, p.gigaflops / first, None, p.peak / first if p.peak else None) for p in ordered)
        curves.append(Curve(f"{machine} ({device}): {network.cell}, {network.layers} layers", scaled))
    return curves


def _fastest(
    points: Iterable[Point], group_of: Callable[[Point], Any], key_of: Callable[[Point], Any]
) -> dict[Any, dict[Any, Point]]:
    """Return groups of points that differ in their key, with each key's fastest point; only those with several."""
    groups: dict[Any, dict[Any, Point]] = {}
    for point in points:
        known = groups.setdefault(group_of(point), {})
        if key_of(point) not in known or point.rate.median > known[key_of(point)].rate.median:
            known[key_of(point)] = point
    return {group: known for group, known in groups.items() if len(known) > 1}


def _scaled(point: Point, first: Point, ideal: float | None) -> Scaled:
    """Set a point beside its baseline; the ceiling is where the peak would bring the same arithmetic."""
    ceiling = point.peak / first.gigaflops if point.peak else None
    return Scaled(point, point.rate.median / first.rate.median, ideal, ceiling)
