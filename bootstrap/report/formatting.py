"""Seconds, dollars, shares and phases as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.phases import FIRST_CHECKPOINT, INSTALL, PHASES
from bootstrap.report.data import END_TO_END

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bootstrap.report.breakdown import Part

UNKNOWN = "unknown"
TITLES = {INSTALL: "install", FIRST_CHECKPOINT: "first checkpoint", END_TO_END: "end-to-end time"}
CATEGORIES = {
    "wait": "waiting",
    "network": "network",
    "disk": "disk",
    "compute": "computing",
    "mixed": "mixed",
}

# What a host was doing in a user's own phase, as it follows "38 s of it".
_IN = {"wait": "waiting in", "network": "on the network in", "disk": "on the disk in", "compute": "computing in"}


def seconds(value: float | None) -> str:
    """Format a duration: 0.42 s, 24.1 s, 143 s, 12 min 05 s, 3 h 04 min."""
    if value is None:
        return UNKNOWN
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 599.5:
        digits = 2 if value < 0.995 else 1 if value < 99.95 else 0
        return f"{value:.{digits}f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def span(low: float, high: float) -> str:
    """Format a range: 22.9-25.8 s, with the unit once where both have the same."""
    first, last = seconds(low), seconds(high)
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    return f"{number}–{last}" if last.endswith(f" {unit}") and " " not in unit else f"{first} – {last}"


def dollars(value: float | None) -> str:
    """Format a cost; small ones with more digits."""
    if value is None:
        return "–"
    return f"${value:,.2f}" if value >= 0.995 or value == 0 else f"${value:.3g}" if value < 0.001 else f"${value:.3f}"


def percent(share: float) -> str:
    """Format a share with its sign: +12 %, -0.4 %."""
    value = 100 * share
    return f"{value:+.0f} %" if abs(value) >= 9.5 else f"{value:+.1f} %"


def p_value(p: float, *, bound: bool = False) -> str:
    """Format a p value: p = 0.1, p = 0.0079, p < 0.0001; the minimum of several (`bound`): p ≥ 0.1."""
    return "p < 0.0001" if p < 0.0001 else f"p {'≥' if bound and p < 0.995 else '='} {p:.2g}"


def count(n: int, noun: str) -> str:
    """Format a number with its noun: 1 host, 12 hosts."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def shown(value: Any) -> str:
    """Format a fact's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def some(values: Collection[Any]) -> str:
    """Format a fact's values: numbers as a range, of others the first three."""
    if len(values) > 2 and not any(isinstance(value, str | bool) for value in values):
        low, high = (f"{end:,.6g}" if isinstance(end, float) else str(end) for end in (min(values), max(values)))
        return f"{low} to {high}"
    texts = sorted(map(shown, values))
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3:,} more" if len(texts) > 3 else "")


def listed(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def phase_name(path: str, depth: int) -> str:
    """Name a phase in a tree: by the last part of its path below the top."""
    return TITLES.get(path, path.rpartition("/")[2] if depth else path)


def phase_note(status: str) -> str:
    """Say how a phase ended, unless it is ok."""
    return {"ok": "", "open": "never ended"}.get(status, status)


def doing(part: Part) -> str:
    """Say what a host was doing in a phase, as it follows "38 s of it"."""
    known = PHASES.get(part.path)
    return known.doing if known else f"{_IN.get(part.category, 'in')} {part.path}"
