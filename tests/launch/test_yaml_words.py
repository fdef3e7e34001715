"""What YAML makes of a word that somebody wrote into an inventory or a playbook: what was meant, or one clear line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bootstrap.errors import UsageError
from bootstrap.playbook import schema
from bootstrap.providers import inventory

if TYPE_CHECKING:
    from pathlib import Path

HOST = "hosts:\n  web1:\n    "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port: 022", "hosts.web1.port: 022 is 18 to YAML"),
        ("port: 0_22", "hosts.web1.port: 0_22 is 18 to YAML"),
        ("port: 1:30", "hosts.web1.port: 1:30 is 90 to YAML"),
        ("port: yes", "hosts.web1.port: yes is true to YAML"),
        ("port: true", "hosts.web1.port: must be a number, not true or false"),
        ("port: 22.5", "hosts.web1.port: input should be a valid integer"),
        ("port: 1e3", "hosts.web1.port: input should be a valid integer"),
        ("user: no", "hosts.web1.user: no is false to YAML"),
        ("user: Off", "hosts.web1.user: Off is false to YAML"),
        ("user: 0123", "hosts.web1.user: 0123 is 83 to YAML"),
        ("user: 1234", 'hosts.web1.user: 1234 must be text (write "1234", in quotes)'),
        ("user: true", 'hosts.web1.user: true must be text (write "true", in quotes)'),
        ("address: 1.10", "hosts.web1.address: 1.10 is 1.1 to YAML"),
        ("address: 1.5", 'hosts.web1.address: 1.5 must be text (write "1.5", in quotes)'),
        ("key: 2024-01-01", "hosts.web1.key: 2024-01-01 is a date to YAML"),
        ("labels: {country: no}", "hosts.web1.labels.country: no is false to YAML"),
        ("labels: {rack: 007}", "hosts.web1.labels.rack: 007 is 7 to YAML"),
        ("labels: {release: 3.10}", "hosts.web1.labels.release: 3.10 is 3.1 to YAML"),
        ("labels: {at: 12:30}", "hosts.web1.labels.at: 12:30 is 750 to YAML"),
    ],
)
def test_a_word_that_yaml_takes_for_another_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(HOST + line + "\n")
    with pytest.raises(UsageError, match=re.escape(f"{path}:3: {said}")):
        inventory.load(path)


@pytest.mark.parametrize(
    ("line", "port"),
    [("22", 22), ('"22"', 22), ('"022"', 22), ("1_000", 1000), ("0x16", 22), ("08", 8), ("22.0", 22)],
)
def test_a_port_that_means_what_it_says(tmp_path: Path, line: str, port: int) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(f"{HOST}port: {line}\n")
    assert inventory.load(path).hosts["web1"].port == port


def test_labels_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(HOST + 'labels: {rack: 3, share: 0.5, spare: true, country: "no", release: "3.10", at: "12:30"}\n')
    labels = inventory.load(path).hosts["web1"].labels
    assert labels == {"rack": 3, "share": 0.5, "spare": True, "country": "no", "release": "3.10", "at": "12:30"}


def test_a_name_may_look_like_a_number(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("hosts:\n  0123: {}\n  no: {}\n  1.10: {}\n")
    assert list(inventory.load(path).hosts) == ["0123", "no", "1.10"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("retries: 010", "steps.0.retries: 010 is 8 to YAML"),
        ("retries: on", "steps.0.retries: on is true to YAML"),
        ("retries: true", "steps.0.retries: must be a number, not true or false"),
        ("ok: [0, true]", "steps.0.ok.1: must be a number, not true or false"),
        ("timeout: 1:30", "steps.0.timeout: 1:30 is 90 to YAML"),
        ("timeout: 0900", None),
        ("run: 5", 'steps.0.run: 5 must be text (write "5", in quotes)'),
        ("wait_for: {port: 0777}", "steps.0.wait_for.port: 0777 is 511 to YAML"),
    ],
)
def test_the_same_in_a_playbook(tmp_path: Path, line: str, said: str | None) -> None:
    path = tmp_path / "p.yml"
    path.write_text(f"title: t\nsteps:\n  - phase: a\n    {line}\n")
    with pytest.raises(UsageError, match=re.escape(f"{path}:4: {said or ''}")):
        schema.load(path)
