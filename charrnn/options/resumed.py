"""The options of a resumed run: the checkpoint's, with those that are given anew."""

from typing import Any

from charrnn.errors import CheckpointError, UsageError
from charrnn.options.table import Options, flags


def changed_options(saved: dict[str, Any], given: dict[str, Any]) -> tuple[Options, tuple[str, ...]]:
    """The options of a resumed run, and a note for each that makes it another run than the one begun.

    Raises UsageError for an option that cannot change.
    """
    table = flags()
    stored = _stored_options(saved)
    given = {name: value for name, value in given.items() if value is not None}
    changes = {name: value for name, value in given.items() if stored.get(name) != value}
    notes = []
    for name, value in changes.items():
        if name not in table:
            raise UsageError(f"there is no option {name!r}")
        flag, was = table[name], stored.get(name)
        flag.check(value)
        if flag.fixed:
            raise UsageError(
                f"{flag.option} is {was} in the run to be resumed and cannot become {value}: begin a new run "
                "with --init-from"
            )
        longer = name in ("iterations", "max_epochs") and stored.get("schedule") not in ("cosine", "trapezoid")
        if not flag.free and not longer:
            notes.append(f"{flag.option} becomes {value} (it was {was}) from here on")
    if "max_epochs" in given:
        stored["iterations"] = None
    if "data" in given:
        stored["data_dir"] = None
    return Options(**{**stored, **given}), tuple(notes)


def _stored_options(saved: dict[str, Any]) -> dict[str, Any]:
    """The options that a checkpoint lists, as this version knows them; raises CheckpointError."""
    stored: dict[str, Any] = {}
    for name, flag in flags().items():
        value = saved.get(name, flag.default)
        value = tuple(value) if isinstance(value, list) else value
        fits = isinstance(value, (int, float) if flag.kind is float else flag.kind)
        if isinstance(value, bool) and flag.kind is not bool:
            fits = False
        if not (fits or (value is None and flag.default is None)):
            raise CheckpointError(f"the checkpoint's options do not hold: {name} is {value!r:.40}")
        try:
            flag.check(value)
        except UsageError as error:
            raise CheckpointError(f"the checkpoint's options do not hold: {error}") from error
        stored[name] = value
    return stored
