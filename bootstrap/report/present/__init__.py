"""The report's outputs: a module each, all from the same figures."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.errors import UsageError
from bootstrap.report.present.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.report.summary import Report

_ENDINGS = {
    ".txt": "table",
    ".md": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".png": "png",
    ".svg": "svg",
}


def write(report: Report, form: str | None, *, rows: str = "auto", output: Path | None = None) -> None:
    """Write the report to `output`, or to standard output; the format is `form`, else that of the file's ending."""
    form = form or format_of(output, _ENDINGS)
    if output is None and form == "table":
        _on_terminal(report, rows)
        return
    put(make(report, form, rows), output)
    told(output)


def told(output: Path | None) -> None:
    """Say on standard error which file was written."""
    if output is not None:
        sys.stderr.write(f"wrote {output}\n")


def format_of(output: Path | None, endings: Mapping[str, str]) -> str:
    """Return the format that a file's ending asks for; a table where there is no file."""
    if output is None:
        return "table"
    try:
        return endings[output.suffix.lower()]
    except KeyError:
        known = ", ".join(endings)
        raise UsageError(f"what format is {output}?", remedy=f"end its name in {known}, or pass --format") from None


def make(report: Report, form: str, rows: str = "auto") -> bytes:
    """Return the report in a format. What a format needs is imported only for it."""
    if form == "json":
        from bootstrap.report.present import document  # noqa: PLC0415  (each output loads only what it needs)

        return document.text(report).encode()
    if form in ("csv", "markdown"):
        from bootstrap.report.present import plain  # noqa: PLC0415

        return (plain.csv_text(report, rows) if form == "csv" else plain.markdown(report)).encode()
    if form == "html":
        from bootstrap.report.present import page  # noqa: PLC0415

        return page.text(report).encode()
    if form in ("png", "svg"):
        from bootstrap.report.present import charts  # noqa: PLC0415

        return charts.summary(report, form)
    from bootstrap.report.present import table  # noqa: PLC0415

    return table.text(report, rows=rows).encode()


def _on_terminal(report: Report, rows: str) -> None:
    from rich.console import Console  # noqa: PLC0415  (imported late: rich takes longer than the rest)

    from bootstrap.report.present import table  # noqa: PLC0415

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.width = max(console.width, table.NARROWEST)
        table.show(report, console, rows=rows)
    else:
        put(table.text(report, rows=rows).encode(), None)


def put(content: bytes, output: Path | None) -> None:
    """Write to a file, whole or not at all, or to standard output. Raises OutputError."""
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        if output.exists() and not output.is_file():  # a pipe, a terminal: not to be replaced by a file
            with output.open("wb") as file:
                file.write(content)
            return
        descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(output)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}") from error
