"""Asking before something is done that costs money or cannot be undone."""

from __future__ import annotations

import sys

import click

from bootstrap.errors import BootstrapError, UsageError


def agree(question: str, *, yes: bool, otherwise: str) -> None:
    """Ask, unless `yes` was given. Raises UsageError where nobody can be asked; `otherwise` is said after a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("not asked, because standard input is no terminal", remedy="--yes goes ahead")
    if not click.confirm(question, err=True):
        raise BootstrapError(otherwise)
