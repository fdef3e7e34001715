"""What a launcher notes of a host on its own clock."""

from __future__ import annotations

import pytest

from bootstrap.launch.host_run import HostRun


def noted(host: HostRun) -> list[tuple[str, str]]:
    return [(event.event, str(event.body["phase"])) for event in host.events]


def test_a_phase_that_needs_files_begins_when_they_are_there() -> None:
    host = HostRun("amazon-1", 1)
    host.begin("launch/ssh", "wait")
    host.begin("install", "mixed")
    for _ in range(2):
        with host.uploading():
            pass
    host.finish("ok")
    assert noted(host) == [
        ("start", "launch/ssh"),
        ("end", "launch/ssh"),
        ("start", "launch/upload"),
        ("end", "launch/upload"),
        ("start", "launch/upload"),
        ("end", "launch/upload"),
        ("start", "install"),
        ("end", "install"),
    ]
    assert [event.body["status"] for event in host.events if event.event == "end"] == ["ok"] * 4


def test_an_upload_that_fails_ends_and_its_phase_never_begins() -> None:
    host = HostRun("amazon-1", 1)
    host.begin("install", "mixed")
    with pytest.raises(OSError, match="full"), host.uploading():
        raise OSError("full")
    host.finish("failed")
    assert noted(host) == [("start", "launch/upload"), ("end", "launch/upload")]
    assert host.events[-1].body["status"] == "failed"
