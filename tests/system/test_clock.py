"""The clock where /proc tells nothing: macOS has none, Android lets nobody read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap import clock


class Forbidden(type(Path())):  # type: ignore[misc]  # the very type of this system's paths
    """A file that is there and may not be read, which root could not be shown otherwise."""

    def read_text(self, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))


@pytest.mark.parametrize("kind", [Path, Forbidden])
def test_without_proc_time_goes_on_and_has_a_name(monkeypatch: pytest.MonkeyPatch, kind: type[Path]) -> None:
    monkeypatch.setattr(clock, "_UPTIME", kind("/nowhere/uptime"))
    monkeypatch.setattr(clock, "_BOOT_ID", kind("/nowhere/boot_id"))
    first, second = clock.now(), clock.now()
    assert 0 < first.at <= second.at
    assert first.boot == second.boot
    assert first.boot.startswith("process-")
