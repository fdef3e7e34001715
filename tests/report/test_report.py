"""What a report says: groups, findings, causes, what is unknown and why; and what it says to bad input."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.report import findings, load, summarise
from bootstrap.report.formatting import seconds as words_of
from bootstrap.report.present import table
from tests.report import synthetic
from tests.report.synthetic import AMAZON, RHEL, UBUNTU, Kind, Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.ledger import Ledger
    from bootstrap.report import Report

    from .conftest import Done


def report_on(ledger: Ledger, *by: str) -> Report:
    return summarise(load(ledger, every=True), by or ("distro",))


def said(report: Report, kind: str | None = None) -> str:
    return "\n".join(s.text for s in findings.derive(report) if kind in (None, s.kind))


def one_host(ledger: Ledger, stream: Stream, name: str = "here", distro: str = "debian", status: str = "ok") -> int:
    run = ledger.start_run("local", ["bootstrap.sh"])
    host = ledger.add_host(run, name, distro)
    ledger.replace_phases(host, "host", stream.events)
    ledger.update_host(host, status=status)
    return host


# Findings


def test_three_replicas_decide_nothing_and_it_says_how_many_could(ledger: Ledger) -> None:
    synthetic.run(ledger, replicas=3)
    text = said(report_on(ledger), "undecided")
    assert "With 3 hosts each no difference can be significant (minimum attainable p: 0.1);" in text
    assert "at least 5 each are needed for 6 comparisons." in text
    assert said(report_on(ledger), "finding") == ""


def test_what_differs_is_said_and_what_does_not_is_not_ranked(ledger: Ledger) -> None:
    synthetic.run(ledger, (AMAZON, replace(AMAZON, distro="twin", pretty="Its Twin"), RHEL), 8, seed=4)
    found = said(report_on(ledger), "finding")
    assert "Install: Red Hat Enterprise Linux 9.6 is slower than Amazon Linux 2023 and Its Twin (p" in found
    assert found.count("\n") == 0
    undecided = said(report_on(ledger), "undecided")
    assert "Install: no significant difference between Amazon Linux 2023 and Its Twin (p =" in undecided
    assert "checkpoint: no significant difference between Amazon Linux 2023, Its Twin and Red Hat Enter" in undecided


def test_a_cause_is_named_where_its_seconds_cover_the_difference(ledger: Ledger) -> None:
    synthetic.run(ledger, (AMAZON, RHEL), 6)
    (cause,) = [s.text for s in findings.derive(report_on(ledger)) if s.kind == "cause"]
    assert cause.startswith("Install: Red Hat Enterprise Linux 9.6 took ")
    assert "of that waiting for the repository metadata (3" in cause
    assert "Without this waiting its median is 2" in cause


def unmeasured(kind: Kind, seconds: float, chance: random.Random) -> Stream:
    """A host that loses time inside the install, but in none of its phases."""
    stream = Stream(f"boot-{chance.random()}")
    stream.start("install")
    stream.wait(seconds)
    stream.phase("install/torch", kind.typical["install/torch"])
    stream.end("install")
    return stream


def test_where_no_phase_covers_it_the_seconds_are_called_unexplained(ledger: Ledger) -> None:
    chance = random.Random(2)
    run = ledger.start_run("ec2", ["launch"])
    for number in range(6):
        for distro, lost, threads in (("a", 2.0, 1), ("b", 42.0, 2)):
            host = ledger.add_host(run, f"{distro}{number}", distro)
            stream = unmeasured(AMAZON, lost + chance.random(), chance)
            stream.fact("threads", threads)
            ledger.replace_phases(host, "host", stream.events)
            ledger.update_host(host, status="ok")
    (cause,) = [s.text for s in findings.derive(report_on(ledger)) if s.kind == "cause"]
    assert "No phase explains it: all 39.8 s are unexplained." in cause
    assert "unexplained. Possible confounders, not measured in seconds: threads (2, against 1)." in cause


def test_what_other_phases_made_good_is_said(ledger: Ledger) -> None:
    run = ledger.start_run("ec2", ["launch"])
    for distro, refresh, verify in (("a", 2.0, 30.0), ("b", 32.0, 10.0)):
        host = ledger.add_host(run, f"{distro}-1", distro)
        stream = Stream(f"boot-{distro}")
        stream.start("install")
        stream.phase("install/packages/refresh", refresh, "network")
        stream.phase("install/verify", verify, "compute")
        stream.end("install")
        ledger.replace_phases(host, "host", stream.events)
        ledger.update_host(host, status="ok")
    found = findings.derive(report_on(ledger))
    (cause,) = [s.text for s in found if s.kind == "cause"]
    assert cause.startswith("Install: b took 10.0 s longer than a: 30.0 s downloading the repository metadata")
    assert cause.endswith("; 20.0 s less in other phases.")
    assert any("With 1 host each no difference can be significant" in s.text for s in found)


def test_seconds_in_no_phase_are_said(ledger: Ledger) -> None:
    run = ledger.start_run("local", ["install"])
    host = ledger.add_host(run, "here", "debian")
    ledger.replace_phases(host, "host", unmeasured(AMAZON, 4.2, random.Random(3)).events)
    ledger.update_host(host, status="ok")
    lines = table.text(report_on(ledger)).splitlines()
    (rest,) = [line for line in lines if "unexplained" in line]
    assert rest.split()[:3] == ["unexplained", "4.2", "s"]
    assert [line.split()[0] for line in lines[3:6]] == ["install", "torch", "unexplained"]


@pytest.mark.parametrize("second", ["tools", "packages"])  # ledgers of earlier versions have the same name twice
def test_both_calls_of_the_package_manager_are_shown(ledger: Ledger, second: str) -> None:
    stream = Stream("b")
    stream.start("install")
    for name, took in (("packages", 4.0), (second, 6.0)):
        stream.start(f"install/{name}")
        stream.phase(f"install/{name}/refresh", took, "network")
        stream.end(f"install/{name}")
    stream.end("install")
    one_host(ledger, stream)
    report = report_on(ledger)
    rows = [line.split()[:2] for line in table.text(report).splitlines()[4:8]]
    assert rows == [["packages", "4.0"], ["refresh", "4.0"], [second, "6.0"], ["refresh", "6.0"]]
    (host,) = report.data.hosts
    spent = report.data.by_category["install"].values()
    assert sum(column[host.place] for column in spent) == pytest.approx(10.0)


def test_the_tools_are_named_as_the_cause(ledger: Ledger) -> None:
    run = ledger.start_run("ec2", ["launch"])
    for distro, took in (("a", 2.0), ("b", 32.0)):
        stream = Stream(f"boot-{distro}")
        stream.start("install")
        stream.phase("install/packages/install", 5.0)
        stream.phase("install/tools/install", took)
        stream.end("install")
        host = ledger.add_host(run, f"{distro}-1", distro)
        ledger.replace_phases(host, "host", stream.events)
        ledger.update_host(host, status="ok")
    assert "30.0 s of that installing the tools" in said(report_on(ledger), "cause")


def test_hosts_that_share_a_machine_are_said_to(ledger: Ledger) -> None:
    run = ledger.start_run("ec2", ["launch"])
    for name in ("amazon-1", "amazon-2"):
        host = ledger.add_host(run, name, "amazon")
        stream = synthetic.host_stream(AMAZON, random.Random(1), stream=Stream("one-kernel"))
        ledger.replace_phases(host, "host", stream.events)
        ledger.update_host(host, status="ok")
    assert "2 hosts ran on one machine and shared its processors and disk: amazon-1, amazon-2." in said(
        report_on(ledger), "warning"
    )
    synthetic.run(ledger, (AMAZON,), 2)
    assert "ran on one machine" not in said(summarise(load(ledger)), "warning")


def test_a_wait_that_covers_half_is_not_the_cause(ledger: Ledger) -> None:
    chance = random.Random(5)
    run = ledger.start_run("ec2", ["launch"])
    for number in range(6):
        for distro, lock, lost in (("a", 0.5, 1.0), ("b", 10.5, 13.0)):
            host = ledger.add_host(run, f"{distro}{number}", distro)
            stream = Stream(f"boot-{chance.random()}")
            stream.start("install")
            stream.start("install/packages")
            stream.phase("install/packages/lock", lock + chance.random() / 10, "wait")
            stream.end("install/packages")
            stream.wait(lost)
            stream.end("install")
            ledger.replace_phases(host, "host", stream.events)
            ledger.update_host(host, status="ok")
    (cause,) = [s.text for s in findings.derive(report_on(ledger)) if s.kind == "cause"]
    assert "Its phases explain 10.0 s waiting for the package manager's lock; 12.0 s are unexplained." in cause
    assert "of that" not in cause


def test_one_host_that_hangs_is_explained(ledger: Ledger) -> None:
    chance = random.Random(9)
    run = synthetic.run(ledger, (UBUNTU,), 4)
    stuck = synthetic.slow(UBUNTU, lock=100)
    synthetic.add_host(ledger, run, stuck, "ubuntu-9", chance)
    (outlier,) = [s.text for s in findings.derive(report_on(ledger)) if s.kind == "outlier"]
    assert outlier.startswith("ubuntu-9 (run ")
    assert "more waiting for the package manager's lock" in outlier


def test_what_makes_a_comparison_unfair_is_said(ledger: Ledger) -> None:
    synthetic.run(ledger, (AMAZON,), 2)
    synthetic.run(
        ledger, (replace(RHEL, facts={"instance.type": "m5.large", "steal.percent": 31}),), 2, provider="local"
    )
    warnings = said(report_on(ledger), "warning")
    assert "instance.type (m5.large, t3.micro)" in warnings
    assert "provider (ec2, local)" in warnings
    assert "On 2 hosts the hypervisor took processor time (steal), up to 31 % of the time: rhel-1, rhel-2." in warnings
    assert "say nothing about EC2" in warnings


def test_what_ledgers_of_before_call_a_kernel(ledger: Ledger) -> None:
    """The install's measured choice, written over the operating system's: of another kind, and shown as that."""
    synthetic.run(ledger, (replace(AMAZON, facts={"kernel": "pytorch"}), RHEL), 2)
    report = report_on(ledger)
    assert report.data.every_value["kernel"] == {synthetic.FACTS["kernel"]}
    assert report.data.every_value["fastest.kernel"] == {"pytorch"}
    assert report.data.hosts_with_facts(report.data.hosts)["fastest.kernel"] == 2
    assert [group.label for group in report_on(ledger, "kernel").groups] == [synthetic.FACTS["kernel"], "not recorded"]


def test_groups_by_any_fact(ledger: Ledger) -> None:
    synthetic.run(ledger, (AMAZON, replace(RHEL, facts={"instance.type": "m5.large"})), 2)
    assert [group.label for group in report_on(ledger, "instance-type").groups] == ["m5.large", "t3.micro"]
    assert [group.label for group in report_on(ledger, "distro", "instance.type").groups] == [
        "amazon · t3.micro",
        "rhel · m5.large",
    ]
    assert len(report_on(ledger, "run").groups) == 1
    assert [group.label for group in report_on(ledger, "glibc").groups] == ["2.34", "not recorded"]


# Clocks


def test_a_wall_clock_an_hour_off_changes_nothing(ledger: Ledger) -> None:
    hosts = []
    for skew in (0.0, 3600.0, -3600.0):
        stream = synthetic.host_stream(AMAZON, random.Random(1), stream=Stream("b", skew=skew))
        hosts.append(one_host(ledger, stream))
    measured = [host.seconds("install") for host in load(ledger, every=True).hosts]
    assert len(set(measured)) == 1
    assert measured[0] is not None


def test_a_wall_clock_that_jumps_inside_a_phase_changes_nothing(ledger: Ledger) -> None:
    stream = Stream("b")
    stream.start("install")
    stream.wait(10)
    stream.skew = 3600
    stream.phase("install/torch", 5)
    stream.skew = -7200
    stream.end("install")
    one_host(ledger, stream)
    (host,) = load(ledger).hosts
    assert host.seconds("install") == pytest.approx(15)


def test_a_reboot_inside_the_install_makes_it_unknown_and_says_so(ledger: Ledger, call: Callable[..., Done]) -> None:
    stream = Stream("b1", at=300)
    stream.start("install")
    stream.phase("install/preflight", 5)
    stream.reboot("b2")
    stream.phase("install/torch", 8)
    stream.end("install")
    one_host(ledger, stream)
    (host,) = load(ledger).hosts
    measure = host.measures["install"]
    assert (measure.seconds, measure.unknown) == (None, "rebooted inside it")
    out = call("report", "--ledger", ledger.path).out
    assert "unknown (rebooted inside it)" in out
    assert "Install: unknown for here (rebooted inside it)." in out


def test_an_install_that_was_broken_off_and_completed_is_not_an_install_time(ledger: Ledger) -> None:
    stream = Stream("b")
    stream.start("install")
    stream.phase("install/packages", 20)
    stream.wait(3)
    stream.phase("install", 4)
    one_host(ledger, stream)
    (host,) = load(ledger).hosts
    assert host.measures["install"].unknown == "interrupted, then completed"
    assert host.measures["install"].seconds is None


def test_a_second_run_that_changed_nothing_does_not_replace_the_first(ledger: Ledger) -> None:
    stream = synthetic.host_stream(AMAZON, random.Random(1))
    before = one_host(ledger, stream)
    stream.reboot("later")
    stream.phase("install", 0.9, status="unchanged")
    ledger.replace_phases(before, "host", stream.events)
    (host,) = load(ledger).hosts
    seconds = host.seconds("install")
    assert seconds is not None
    assert seconds > 20
    spent = load(ledger).by_category["install"].values()
    assert sum(column[host.place] for column in spent) == pytest.approx(seconds, abs=0.05)


def test_phases_that_never_ended_are_unknown_and_the_rest_is_kept(ledger: Ledger, call: Callable[..., Done]) -> None:
    stream = Stream("b")
    stream.phase("install", 9)
    stream.start("first-checkpoint")
    stream.phase("first-checkpoint/start", 2)
    stream.start("first-checkpoint/train", "compute")
    one_host(ledger, stream, status="running")
    out = call("report", "--ledger", ledger.path).out
    assert "install time              9.0 s" in out
    assert "time to first checkpoint  unknown (never ended)" in out


def test_what_is_inside_a_phase_that_never_ended_is_counted_once(ledger: Ledger) -> None:
    stream = Stream("b")
    stream.start("install")
    stream.start("install/packages")
    stream.phase("install/packages/lock", 5, "wait")
    stream.phase("install/torch", 3)
    stream.wait(1)
    stream.end("install")
    one_host(ledger, stream)
    spent = {part.path: list(column) for part, column in load(ledger).self_time("install").items()}
    assert spent == {
        "install": [pytest.approx(1)],
        "install/packages/lock": [pytest.approx(5)],
        "install/torch": [pytest.approx(3)],
    }


def test_a_host_without_its_own_stream_is_measured_from_outside(ledger: Ledger) -> None:
    run = ledger.start_run("ec2", ["launch"])
    host = ledger.add_host(run, "a", "amazon")
    seen = Stream("laptop")
    seen.phase("launch/create", 2, "wait")
    seen.phase("install", 30)
    ledger.replace_phases(host, "launcher", seen.events)
    (read,) = load(ledger).hosts
    assert read.seconds("install") == pytest.approx(30)
    assert read.measures["from-launch"].unknown == "not reached"


def test_hosts_with_nothing_at_all_are_counted_as_such(ledger: Ledger, call: Callable[..., Done]) -> None:
    run = synthetic.run(ledger, (AMAZON,), 2)
    ledger.add_host(run, "never", "amazon")
    synthetic.failed_host(ledger, run, AMAZON, "amazon-9")
    out = call("report", "--ledger", ledger.path).out
    assert "2 of 4" in out
    assert "1 failed: capacity" in out
    assert "1 not finished" in out


# The command


def test_an_empty_ledger_says_so_and_what_to_run(tmp_path: Path, call: Callable[..., Done]) -> None:
    for arguments in ([], ["--format", "html"], ["--format", "markdown"]):
        done = call("report", "--ledger", tmp_path / "none.sqlite", *arguments)
        assert done.code == 0
        assert "bootstrap.sh --first-checkpoint" in done.out
    assert json.loads(call("report", "--json", "--ledger", tmp_path / "none.sqlite").out)["hosts"] == []
    assert list(tmp_path.iterdir()) == []
    done = call("report", "--format", "png", "--ledger", tmp_path / "none.sqlite")
    assert (done.code, done.err.count("\n")) == (1, 1)


def test_the_newest_run_is_reported_unless_others_are_named(ledger: Ledger, call: Callable[..., Done]) -> None:
    first = synthetic.run(ledger, (AMAZON,), 1, run_id="abc234", name="baseline")
    synthetic.run(ledger, (RHEL,), 1, run_id="abd234")

    def runs(*arguments: str) -> list[str]:
        out = call("report", "--json", "--ledger", ledger.path, *arguments).out
        return [run["id"] for run in json.loads(out)["runs"]]

    assert runs() == runs("last") == ["abd234"]
    assert runs("abc") == runs("baseline") == [first]
    assert runs("--all") == runs("abc234", "abd234") == ["abc234", "abd234"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["ab"], 2, "'ab' fits 2 runs: abc234, abd234"),
        (["abc235"], 2, "no run 'abc235' in the ledger (did you mean abc234?)"),
        (["--by", "instance.typo"], 2, "no host has a fact 'instance.typo' to group by (did you mean instance.type"),
        (["--by", " , "], 2, "nothing to group by"),
        (["-o", "report.pdf"], 2, "what format is report.pdf?"),
        (
            ["-o", "/no-such-folder/report.html"],
            1,
            "cannot write /no-such-folder/report.html: No such file or directory",
        ),
    ],
)
def test_mistakes_are_one_clear_line(
    ledger: Ledger, call: Callable[..., Done], arguments: list[str], code: int, told: str
) -> None:
    synthetic.run(ledger, (AMAZON,), 1, run_id="abc234")
    synthetic.run(ledger, (AMAZON,), 1, run_id="abd234")
    done = call("report", "--ledger", ledger.path, *arguments)
    assert done.code == code
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_pipe_is_written_to_and_not_replaced(ledger: Ledger, call: Callable[..., Done], tmp_path: Path) -> None:
    synthetic.run(ledger, (AMAZON,), 1)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert call("report", "--ledger", ledger.path, "-o", pipe).code == 0
    reader.join()
    assert pipe.is_fifo()
    assert json.loads(read[0])["format"] == "charrnn-bootstrap report"


def test_more_groups_than_can_be_compared_are_not(ledger: Ledger) -> None:
    for seed in range(3):
        synthetic.run(ledger, replicas=3, seed=seed, name=f"run {seed}")
    report = report_on(ledger, "host", "run")
    assert len(report.groups) == 36
    assert report.comparisons == ()
    assert "Install: 36 groups are too many for pairwise comparisons" in said(report)


def test_a_damaged_ledger_is_one_line_and_left_alone(tmp_path: Path, call: Callable[..., Done]) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"garbage" * 1000)
    done = call("report", "--ledger", path)
    assert (done.code, done.err.count("\n")) == (10, 1)
    assert path.read_bytes() == b"garbage" * 1000


def test_rows_edited_by_hand_do_not_break_it(ledger: Ledger, call: Callable[..., Done]) -> None:
    synthetic.run(ledger, (AMAZON,), 2)
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE runs SET command = 'not json', settings = '[]'")
        db.execute("UPDATE facts SET value = '{half' WHERE name = 'os.pretty'")
        db.execute("UPDATE hosts SET failure_message = 'x' || char(27) || '[31m'")
    db.close()
    done = call("report", "--ledger", ledger.path, "--rows", "hosts")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out


def test_what_hosts_say_cannot_become_markup(ledger: Ledger, call: Callable[..., Done]) -> None:
    evil = "<script>alert(1)</script>[bold]|`x`\x1b[2J"
    synthetic.run(ledger, (replace(AMAZON, pretty=evil),), 2)
    run = synthetic.run(ledger, (replace(AMAZON, pretty=evil),), 2)
    synthetic.failed_host(ledger, run, AMAZON, "</script><img src=x onerror=alert(1)>")
    for form in ("table", "markdown", "html", "csv", "json", "svg"):
        done = call("report", "--all", "--format", form, "--ledger", ledger.path)
        assert done.code == 0, done.err
        assert "\x1b" not in done.out
        if form in ("html", "markdown", "svg"):
            assert "<script>alert" not in done.out
            assert "<img" not in done.out
    assert "[bold]" in call("report", "--all", "--ledger", ledger.path).out


def test_one_host_is_shown_phase_by_phase(ledger: Ledger, call: Callable[..., Done]) -> None:
    one_host(ledger, synthetic.host_stream(AMAZON, random.Random(1)))
    out = call("report", "--ledger", ledger.path).out
    assert "      lock" in out
    assert "waiting" in out
    assert "of it waiting" in out
    assert "validation loss" in out
    lines = call("report", "--csv", "--ledger", ledger.path).out.splitlines()
    assert lines[0] == "row,run,host,source,phase,category,status,seconds,own_seconds,started_wall"
    assert len(lines) == 21


def test_the_table_fits_its_width(ledger: Ledger) -> None:
    from bootstrap.report.present import table

    synthetic.run(ledger, replicas=6)
    for width in (80, 110, 200):
        text = table.text(report_on(ledger), width=width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text


@pytest.mark.parametrize("width", [80, 110, 200])
def test_a_line_a_host_hides_nothing(ledger: Ledger, width: int) -> None:
    synthetic.run(ledger, (RHEL,), 2, run_id="abc234")
    run = synthetic.run(ledger, (AMAZON, UBUNTU), 2, run_id="abd234")
    synthetic.failed_host(ledger, run, AMAZON, "amazon-3")
    stream = Stream("b1", at=300)
    stream.start("install")
    stream.reboot("b2")
    stream.end("install")
    ledger.replace_phases(ledger.add_host(run, "rebooted-9", "amazon"), "host", stream.events)
    report = report_on(ledger)
    text = table.text(report, rows="hosts", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = set(text.split())
    assert {"abc234", "abd234", "first", "checkpoint", "waiting", "status", "rhel-1", "rebooted-9"} <= words
    if width > 110:  # narrower columns wrap it
        assert "failed in launch/create capacity: no t3.micro in us-east-1a, tried 1b and 1c" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    for host in report.data.hosts:
        if host.status == "ok":
            for metric in report.metrics:
                assert words_of(host.seconds(metric)) in lines[host.name]
            assert lines[host.name].endswith("  ok")


def test_headings_stand_on_one_line_whatever_is_below_them(ledger: Ledger) -> None:
    run = ledger.start_run("ec2", ["launch"])
    for number in range(2):
        synthetic.failed_host(ledger, run, AMAZON, f"amazon-{number}")
    lines = table.text(report_on(ledger), width=80).splitlines()
    assert [line.split("  ")[1] for line in lines if line.endswith(("mean", "cost to it"))] == [
        "install",
        "first checkpoint",
        "outcome",
    ]
    assert sum("amazon" in line for line in lines) == 3
    assert len([line for line in lines[2:11] if line]) == 6


def test_pictures_are_made(ledger: Ledger, call: Callable[..., Done], tmp_path: Path) -> None:
    synthetic.run(ledger, replicas=6)
    png, svg = tmp_path / "a.png", tmp_path / "a.svg"
    assert call("report", "--ledger", ledger.path, "-o", png).code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert call("report", "--ledger", ledger.path, "-o", svg).code == 0
    drawn = svg.read_text()
    assert "n = 24 hosts" in drawn
    assert "SLES 15 SP7" in drawn
    assert str(report_on(ledger).data.runs[0].started_wall[:10]) in drawn
    once_more = call("report", "--ledger", ledger.path, "--format", "svg").out
    assert once_more == drawn


@pytest.mark.parametrize(("form", "library"), [("html", "jinja2"), ("png", "matplotlib"), ("svg", "matplotlib")])
def test_without_its_library_an_output_is_one_line(
    ledger: Ledger, call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, form: str, library: str
) -> None:
    import sys

    synthetic.run(ledger, (AMAZON,), 1)
    monkeypatch.setitem(sys.modules, library, None)
    done = call("report", "--format", form, "--ledger", ledger.path)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "not installed here" in done.err
    assert ("(pip install 'charrnn-bootstrap[charts]', or with pipx: " in done.err) == (library == "matplotlib")


def test_only_pictures_need_what_is_an_extra(ledger: Ledger, tmp_path: Path) -> None:
    import subprocess
    import sys

    synthetic.run(ledger, replicas=3)
    program = (
        "import sys, cli\n"
        "for name in ('matplotlib', 'numpy', 'PIL', 'scipy', 'torch'): sys.modules[name] = None\n"
        "for ending in ('txt', 'md', 'csv', 'json', 'html'):\n"
        "    arguments = ['report', '--all', '-o', f'{sys.argv[2]}/report.{ending}', '--ledger', sys.argv[1]]\n"
        "    cli.command(arguments, standalone_mode=False)\n"
    )
    argv = [sys.executable, "-c", program, str(ledger.path), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.suffix: path.read_text() for path in tmp_path.glob("report.*")}
    assert set(made) == {".txt", ".md", ".csv", ".json", ".html"}
    assert all("SLES 15 SP7" in text for text in made.values())


def test_the_plain_outputs_need_no_heavy_library(ledger: Ledger) -> None:
    import subprocess
    import sys

    synthetic.run(ledger, replicas=3)
    program = (
        "import sys, cli\n"
        "for name in ('scipy', 'matplotlib', 'jinja2', 'numpy', 'torch', 'boto3'): sys.modules[name] = None\n"
        "for form in ('table', 'markdown', 'csv', 'json'):\n"
        "    arguments = ['report', '--all', '--format', form, '--ledger', sys.argv[1]]\n"
        "    cli.command(arguments, standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ledger.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "underpowered" in done.stdout


def test_many_hosts_are_aggregated(ledger: Ledger, call: Callable[..., Done]) -> None:
    for seed in range(12):
        synthetic.run(ledger, replicas=3, seed=seed)
    html = call("report", "--all", "--format", "html", "--ledger", ledger.path).raw
    assert len(html) < 500_000
    assert html.count(b'<details class="host"') == 12
    block: Any = json.loads(html.split(b'id="data">')[1].split(b"</script>")[0])
    assert block["groups"][0]["hosts"] == 36
