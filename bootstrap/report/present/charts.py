"""The summary as a picture to print: PNG or SVG, drawn by Matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bootstrap.report import formatting
from bootstrap.report.data import COMPARED
from bootstrap.report.formatting import TITLES, seconds
from bootstrap.report.present.errors import MissingLibraryError, NothingToDrawError

if TYPE_CHECKING:
    from bootstrap.report.summary import Group, Report

_GROUPS_SHOWN = 40
_DOTS_SHOWN = 60
_INK, _SOFT, _LINE = "#1d1f22", "#5d636b", "#d9d6cf"
# Bars differ in lightness as well as hue: they stay apart in grey and for the colour-blind (Okabe and Ito's palette).
_FILL = {"install": "#56b4e9", "first-checkpoint": "#e69f00"}
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "charrnn-bootstrap",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def pyplot() -> Any:
    """Return Matplotlib's figures, drawn without a screen. Raises MissingLibraryError where there is no Matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  (only what draws needs it: an extra)

        mpl.use("Agg")
        import matplotlib.pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise MissingLibraryError(
            "a picture needs Matplotlib, which is not installed here",
            remedy="pip install 'charrnn-bootstrap[charts]', or with pipx: pipx inject charrnn-bootstrap matplotlib",
        ) from error
    plt.rcParams.update(_STYLE)
    return plt


def save(plt: Any, figure: Any, form: str) -> bytes:
    """Return a figure as PNG (200 dots an inch) or SVG; the same figure gives the same bytes."""
    out = io.BytesIO()
    figure.savefig(out, format=form, dpi=200, facecolor="white", metadata={"Date": None} if form == "svg" else None)
    plt.close(figure)
    return out.getvalue()


def summary(report: Report, form: str) -> bytes:
    """Draw install and first checkpoint of each group side by side: bars at the median, a dot for each host."""
    metrics = [metric for metric in COMPARED if any(group.metrics[metric] for group in report.groups)]
    groups = [group for group in report.groups if any(group.metrics[metric] for metric in metrics)][:_GROUPS_SHOWN]
    if not groups:
        raise NothingToDrawError("there is nothing to draw: no host has a known duration")
    plt = pyplot()
    height = 1.9 + 0.52 * len(groups)
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(9.6, height), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, metric in zip(axes[0], metrics, strict=True):
        _panel(axis, groups, metric)
    axes[0][0].set_yticks(range(len(groups)), [_label(group) for group in groups])
    axes[0][0].invert_yaxis()
    figure.suptitle(_title(report), x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    figure.supxlabel(_legend(groups, len(report.groups)), x=0.01, ha="left", fontsize=8, color=_SOFT)
    return save(plt, figure, form)


def _panel(axis: Any, groups: list[Group], metric: str) -> None:
    axis.set_title(f"{TITLES[metric].capitalize()}, seconds", loc="left", fontsize=10, color=_INK)
    top = max((summary.maximum for group in groups if (summary := group.metrics[metric])), default=1.0)
    for row, group in enumerate(groups):
        summary = group.metrics[metric]
        if summary is None:
            axis.text(0, row, " unknown", va="center", color=_SOFT, fontsize=9)
            continue
        axis.barh(row - 0.12, summary.median, height=0.36, color=_FILL[metric], zorder=2)
        axis.text(summary.median + 0.015 * top, row - 0.12, seconds(summary.median), va="center", fontsize=9, zorder=5)
        below = row + 0.25
        if summary.interval:
            axis.plot(
                summary.interval, [below, below], color=_FILL[metric], linewidth=6, solid_capstyle="butt", zorder=2
            )
        if summary.n > 1:
            axis.plot([summary.minimum, summary.maximum], [below, below], color=_INK, lw=0.9, zorder=3)
        values = group.values[metric]
        if 1 < len(values) <= _DOTS_SHOWN:
            axis.scatter(values, [below] * len(values), s=11, facecolor="white", edgecolor=_INK, lw=0.7, zorder=4)
    axis.set_xlim(0, top * 1.2)
    axis.tick_params(length=0)
    axis.grid(axis="x", color=_LINE, linewidth=0.7, zorder=0)
    axis.set_axisbelow(True)


def _label(group: Group) -> str:
    n = max(summary.n for summary in group.metrics.values() if summary)
    return f"{group.label}\nn = {n}" + (f", {sum(group.failures.values())} failed" if group.failures else "")


def _title(report: Report) -> str:
    runs = report.data.runs
    which = f"run {runs[0].id}" if len(runs) == 1 else formatting.count(len(runs), "run")
    days = sorted({run.started_wall[:10] for run in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Install and first checkpoint · n = {formatting.count(len(report.data.hosts), 'host')} · {which} · {when}"


def _legend(groups: list[Group], every: int) -> str:
    told = "Bar and figure: median. Dots: hosts. Line: fastest to slowest."
    if any(summary.interval for group in groups for summary in group.metrics.values() if summary):
        told += " Band: 95 % interval of the median."
    return f"{told} {every - len(groups)} more groups are not drawn." if every > len(groups) else told
