"""The screen of a launch: a table that redraws itself on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from bootstrap.clock import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from bootstrap.launch.board import Board, Row

_MARKS = {"done": "✓", "failed": "✗"}
_COLOURS = {"waiting": "dim", "running": "", "done": "green", "failed": "red"}


@contextmanager
def shown(board: Board, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Show a board for as long as the block runs. A terminal or a reader that goes away ends nothing else."""
    out = stream or sys.stderr
    if out.isatty():
        from rich.console import Console  # noqa: PLC0415  (only where there is a terminal)
        from rich.live import Live  # noqa: PLC0415

        console = Console(file=out, no_color=True if os.environ.get("NO_COLOR") else None)
        rows = max(5, console.size.height - 4)
        screen = Live(get_renderable=lambda: table(board.rows(), now(), rows), console=console, refresh_per_second=4)
        screen.start()
        try:
            yield
        finally:
            with suppress(OSError):
                screen.stop()
        return
    begun = now()

    def tell(row: Row) -> None:
        with suppress(OSError):
            print(line(row, now() - begun), file=out, flush=True)

    board.listeners.append(tell)
    try:
        yield
    finally:
        board.listeners.clear()


def line(row: Row, at: float) -> str:
    """Return a change as a plain line: when, who, what, and what was said."""
    mark = f" {_MARKS[row.state]}" if row.state in _MARKS else ""
    words = [f"{format_duration(at):>6}", f"{row.name:<14}", f"{row.phase or 'waiting'}{mark}"]
    return "  ".join([*words, *([row.last] if row.last else [])])


def table(rows: list[Row], now: float, most: int) -> Table:
    """Return the rows as a table; of more than fit, those that matter: the failed and the running before the done."""
    from rich.markup import escape  # noqa: PLC0415  (only where there is a terminal)
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (
        ("host", "left"),
        ("distro", "left"),
        ("phase", "left"),
        ("this", "right"),
        ("total", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # the literals that it takes
    table.add_column("last", no_wrap=True, overflow="ellipsis", ratio=1)
    weight = {"failed": 0, "running": 1, "waiting": 2, "done": 3}
    chosen = rows if len(rows) <= most else sorted(rows, key=lambda row: weight[row.state])[: most - 1]
    for row in chosen:
        until = row.ended if row.ended is not None else now
        mark = f" {_MARKS[row.state]}" if row.state in _MARKS else ""
        cells = (
            row.name,
            row.title,
            f"{row.phase or 'waiting'}{mark}",
            format_duration(until - row.since),
            format_duration(until - row.begun),
        )
        table.add_row(*cells, escape(row.last), style=_COLOURS[row.state])
    if len(chosen) < len(rows):
        counts = {state: sum(row.state == state for row in rows) for state in weight}
        table.add_row("…", "", ", ".join(f"{count} {state}" for state, count in counts.items() if count), "", "", "")
    return table
