"""The speed-up over cores, hardware and network size: as text, CSV, JSON, and as a picture."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Any

from bootstrap.report import speedup
from bootstrap.report.formatting import count, listed
from bootstrap.report.present import charts
from bootstrap.report.present.errors import NothingToDrawError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.report.speedup import Curve, Point, Scaled

_DASH = "–"
_RATE = ("median", "least", "most", "count")  # as `charrnn bench --json` has it
_TITLES = {"threads": "Over threads", "hardware": "Over hardware", "size": "Over network size"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_MARKERS = "osD^vP*"
_CURVES_DRAWN = len(_COLOURS)


def curves(points: Sequence[Point]) -> dict[str, list[Curve]]:
    """Return the curves of each kind."""
    return {
        "threads": speedup.over_threads(points),
        "hardware": speedup.over_hardware(points),
        "size": speedup.over_size(points),
    }


def text(points: Sequence[Point]) -> str:
    """Return tables: every measurement, then each speed-up."""
    lines = [f"{count(len(points), 'measurement')} on {listed(list(dict.fromkeys(p.machine for p in points)))}"]
    for kind, several in curves(points).items():
        lines += ["", _TITLES[kind]]
        if not several:
            lines.append(f"  {_MISSING[kind]}")
        for curve in several:
            lines.append(f"  {curve.title}")
            lines += _aligned([_HEADER[kind], *(_cells(kind, scaled) for scaled in curve.points)])
    return "\n".join(lines) + "\n"


_MISSING = {
    "threads": "nothing was measured with several thread counts: charrnn bench --threads 1,2,4",
    "hardware": "no network was measured on several machines or devices: pass files of several hosts",
    "size": "no network was measured in several sizes: charrnn bench --size 128,256,512",
}
_HEADER = {
    "threads": ["threads", "characters/s", "min–max", "times", "ideal", "ceiling", "of peak"],
    "hardware": ["machine", "characters/s", "min–max", "times", "setting", "ceiling", "of peak"],
    "size": ["size", "characters/s", "min–max", "GFLOP/s", "peak", "times", "of peak"],
}


def _cells(kind: str, scaled: Scaled) -> list[str]:
    point = scaled.point
    rate = [f"{point.rate.median:,.0f}", f"{point.rate.minimum:,.0f}–{point.rate.maximum:,.0f}"]
    times, of_peak = f"{scaled.times:.2f}×", _DASH if point.of_peak is None else f"{point.of_peak:.0%}"
    ceiling = _DASH if scaled.ceiling is None else f"{scaled.ceiling:.1f}×"
    if kind == "threads":
        return [str(point.threads), *rate, times, f"{scaled.ideal:.2f}×", ceiling, of_peak]
    if kind == "hardware":
        setting = f"{point.precision}, {count(point.threads, 'thread')}" if point.device == "cpu" else point.precision
        return [f"{point.machine} ({point.device})", *rate, times, setting, ceiling, of_peak]
    peak = _DASH if point.peak is None else f"{point.peak:,.0f}"
    return [str(point.network.size), *rate, f"{point.gigaflops:,.1f}", peak, times, of_peak]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first = row[0].ljust(widths[0])
        yield "    " + "  ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()


def csv_text(points: Sequence[Point]) -> str:
    """Return every measurement as a line of CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["machine", "device", "cell", "layers", "size", "batch", "sequence", "precision", "threads"]
    head += ["characters_per_second", "least", "most", "n", "gigaflops", "peak_gigaflops", "first_checkpoint_s"]
    writer.writerow([*head, "val_loss", "peak_memory_bytes"])
    for p in points:
        rate = (p.rate.median, p.rate.minimum, p.rate.maximum, p.rate.count)
        cells = [p.machine, p.device, *p.network, p.precision, p.threads, *rate, p.gigaflops, p.peak]
        writer.writerow(["" if c is None else c for c in [*cells, p.first_checkpoint, p.val_loss, p.memory]])
    return out.getvalue()


def json_text(points: Sequence[Point]) -> str:
    """Return the measurements and the curves as JSON."""
    whole = {
        "format": "charrnn-bootstrap speedup",
        "version": 1,
        "points": [
            {**asdict(p), "network": p.network._asdict(), "rate": dict(zip(_RATE, astuple(p.rate), strict=True))}
            for p in points
        ],
        "curves": {
            kind: [
                {
                    "title": curve.title,
                    "points": [
                        {"point": points.index(s.point), "times": s.times, "ideal": s.ideal, "ceiling": s.ceiling}
                        for s in curve.points
                    ],
                }
                for curve in several
            ]
            for kind, several in curves(points).items()
        },
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def picture(points: Sequence[Point], form: str, day: str) -> bytes:
    """Draw the speed-ups that there are, side by side, as PNG or SVG."""
    kinds = {kind: several for kind, several in curves(points).items() if several}
    if not kinds:
        raise NothingToDrawError(
            "there is nothing to compare: one setting was measured, on one machine",
            remedy="charrnn bench --threads 1,2 --size 128,256 --json > FILE",
        )
    plt = charts.pyplot()
    figure, axes = plt.subplots(1, len(kinds), figsize=(4.8 * len(kinds), 4.9), squeeze=False, layout="constrained")
    for axis, (kind, several) in zip(axes[0], kinds.items(), strict=True):
        {"threads": _draw_threads, "hardware": _draw_hardware, "size": _draw_size}[kind](axis, several[:_CURVES_DRAWN])
        left_out = len(several) - _CURVES_DRAWN
        title = _TITLES[kind] + (f" ({left_out} more curves not drawn)" if left_out > 0 else "")
        axis.set_title(title, loc="left", fontsize=10)
        axis.tick_params(length=0)
        axis.set_axisbelow(True)
    n = min(point.rate.count for point in points)
    machines = count(len({point.machine for point in points}), "machine")
    figure.suptitle(
        f"Training speed · {machines} · n = {n} runs a point · {day}", x=0.01, ha="left", fontsize=12, fontweight="bold"
    )
    return charts.save(plt, figure, form)


def _draw_threads(axis: Any, several: Sequence[Curve]) -> None:
    most = max(scaled.ideal or 1.0 for curve in several for scaled in curve.points)
    axis.plot([1, most], [1, most], color="#777777", linestyle=":", linewidth=1.4, label="ideal")
    for number, curve in enumerate(several):
        colour, first = _COLOURS[number], curve.points[0].point
        x = _counts(curve)
        axis.plot(x, [s.times for s in curve.points], color=colour, marker=_MARKERS[number], label=curve.title)
        spread = [[s.point.rate.minimum / first.rate.median for s in curve.points],
                  [s.point.rate.maximum / first.rate.median for s in curve.points]]  # fmt: skip
        axis.vlines(x, *spread, color=colour, linewidth=1)
        ceiling = [(at, s.ceiling) for at, s in zip(x, curve.points, strict=True) if s.ceiling]
        if ceiling:
            axis.plot(*zip(*ceiling, strict=True), color=colour, linestyle="--", linewidth=1, alpha=0.7)
    axis.set_xlabel("threads, times the fewest (dashed: matrix-product peak)")
    axis.set_ylabel("times faster")
    _logarithmic(axis, sorted({at for curve in several for at in _counts(curve)}))
    axis.grid(color="#d9d6cf", linewidth=0.7)
    axis.legend(fontsize=7.5, frameon=False)


def _counts(curve: Curve) -> list[float]:
    return [scaled.point.threads / curve.points[0].point.threads for scaled in curve.points]


def _logarithmic(axis: Any, ticks: Sequence[float]) -> None:
    """Use logarithms both ways: ideal and ceiling are then straight, and a far ceiling does not flatten the curves."""
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axis.minorticks_off()


def _draw_hardware(axis: Any, several: Sequence[Curve]) -> None:
    labels: list[str] = []
    for number, curve in enumerate(several):
        for scaled in curve.points:
            row = len(labels)
            rate = scaled.point.rate
            labels.append(f"{scaled.point.machine} ({scaled.point.device})")
            title = curve.title if scaled is curve.points[0] else None
            axis.barh(row, rate.median, height=0.55, color=_COLOURS[number], label=title)
            axis.hlines(row, rate.minimum, rate.maximum, color="#1d1f22", linewidth=1)
            axis.text(rate.maximum, row, f"  {scaled.times:.2f}×", va="center", fontsize=9)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, max(s.point.rate.maximum for curve in several for s in curve.points) * 1.2)
    axis.set_xlabel("thousand characters a second")
    axis.xaxis.set_major_formatter(lambda value, _position: f"{value / 1e3:,.0f}")
    axis.grid(axis="x", color="#d9d6cf", linewidth=0.7)
    axis.legend(fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _draw_size(axis: Any, several: Sequence[Curve]) -> None:
    for number, curve in enumerate(several):
        colour = _COLOURS[number]
        x = [scaled.point.network.size for scaled in curve.points]
        y = [scaled.point.gigaflops for scaled in curve.points]
        axis.plot(x, y, color=colour, marker=_MARKERS[number], label=curve.title)
        peaks = [(at, s.point.peak) for at, s in zip(x, curve.points, strict=True) if s.point.peak]
        if peaks:
            axis.plot(*zip(*peaks, strict=True), color=colour, linestyle="--", linewidth=1, alpha=0.7)
    sizes = sorted({s.point.network.size for curve in several for s in curve.points})
    _logarithmic(axis, sizes)
    axis.set_xlabel("hidden units (dashed: matrix-product peak)")
    axis.set_ylabel("10⁹ operations a second")
    axis.grid(color="#d9d6cf", linewidth=0.7)
    axis.legend(fontsize=7.5, frameon=False)
