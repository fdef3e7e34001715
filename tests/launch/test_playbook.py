"""What a playbook may say, and what is said when it says something else."""

from __future__ import annotations

import shlex
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap import resources
from bootstrap.errors import UsageError
from bootstrap.hosts.local import LocalHost
from bootstrap.launch import collect
from bootstrap.playbook import schema, values
from bootstrap.playbook.runner import FOLDER, Context, Runner, StepError

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.playbook.schema import Playbook


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.yml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((resources.root() / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_ours_are_valid(path: Path) -> None:
    assert schema.load(path).steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: t\nsteps:\n  - phase: a\n    runn: x\n", "p.yml:4: steps.0.runn: unknown key (did you mean run?)"),
        ("title: t\nstep: []\n", "did you mean steps?"),
        ("title: t\nsteps:\n  - phase: a\n", "the step does nothing"),
        ("title: t\nsteps: []\n", "p.yml:2: steps"),
        ("steps:\n  - {phase: a, run: x}\n", "title: missing"),
        ("title: t\nsteps:\n  - {phase: a, run: x, timeout: soon}\n", "'soon' is not a length of time"),
        ("title: t\nsteps:\n  - {phase: a, run: x, timeout: 0s}\n", "must be more than nothing"),
        ("title: t\nsteps:\n  - {phase: a, run: x, when: if it rains}\n", "the only condition is: has COMMAND"),
        ("title: t\nsteps:\n  - {phase: a, run: x, when: has a;b}\n", "the only condition is: has COMMAND"),
        ("title: t\nsteps:\n  - {phase: a, session: x, wait_for: godot}\n", "'godot' is not understood"),
        ("title: t\nsteps:\n  - {phase: a, run: x}\n  - {phase: a, run: y}\n", "two steps have the phase 'a'"),
        ("title: t\nsteps:\n  - {phase: a, run: 'echo {corpsu}'}\n", "did you mean {corpus}?"),
        ('title: t\nsteps:\n  - phase: a\n    run: echo "{corpus}"\n', "stands inside quotes"),
        ("title: t\nsteps:\n  - phase: a\n    run: echo \\{corpus}\n", "stands inside quotes"),
        ("title: t\nsteps:\n  - {phase: a, run: 'cat <<E\n\n    {corpus}\n\n    E'}\n", "here-document"),
        ("title: [\n", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        schema.load(written(tmp_path, text))
    assert said in str(error.value)
    assert "p.yml:" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_playbook_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean first-checkpoint"):
        schema.find("first-checkpont")
    with pytest.raises(UsageError, match=r"there is no playbook gone\.yml"):
        schema.find("gone.yml")


@pytest.mark.parametrize(("text", "length"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), (15, 15)])
def test_lengths_of_time(text: object, length: float) -> None:
    assert schema.seconds(text) == length


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_value_stays_one_word(value: str) -> None:
    command = values.check("printf %s {corpus} ; : {{ ${HOME} }}")
    filled = values.substitute(command, {"corpus": value})
    assert shlex.split(filled) == ["printf", "%s", value, ";", ":", "{", "${HOME}", "}"]


SHARP = ["a b", "$(touch x)", "`touch x`", "'; touch x; '", '"; touch x; "', "a\nb", "-n", "*"]


@pytest.mark.parametrize("value", SHARP)
def test_a_shell_gets_a_value_as_it_is(tmp_path: Path, value: str) -> None:
    filled = values.substitute(values.check("printf %s {corpus}"), {"corpus": value})
    done = subprocess.run(["sh", "-c", filled], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode() == value
    assert not list(tmp_path.iterdir())


def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("HOME", str(tmp_path))
    context = Context("abc234", {"corpus": "x"}, {}, tmp_path, tmp_path / "fetched")
    return Runner(LocalHost(), context)


def playbook(*steps: dict[str, object]) -> Playbook:
    return schema.Playbook.model_validate({"title": "t", "steps": list(steps)})


def test_steps_are_done_in_order_and_timed_by_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.txt").write_text("given")
    doing = runner(tmp_path, monkeypatch)
    lines: list[str] = []
    doing.context.on_line = lines.append
    doing.run(
        playbook(
            {"phase": "copy", "put": "given.txt", "run": "cp {files}/given.txt taken; echo done", "get": "taken"},
            {"phase": "never", "when": "has no-such-command-here", "run": "exit 1"},
            {"phase": "retried", "run": "echo x >>tries; test $(wc -l <tries) = 3", "retries": 2},
            {"phase": "allowed", "run": "exit 2", "ok": [0, 2]},
        )
    )
    assert (tmp_path / "fetched" / "taken").read_text() == "given"
    assert lines == ["done", "never was passed over: there is no no-such-command-here here"]
    starts = [event.body["phase"] for event in doing.events if event.event == "start"]
    assert starts == ["copy", "retried", "retried", "retried", "allowed"]
    instants = [event.instant.at for event in doing.events]
    assert instants == sorted(instants)


@pytest.mark.parametrize(
    ("step", "kind", "said"),
    [
        ({"run": "echo bad luck; exit 3"}, "script", "exit code 3: bad luck"),
        ({"run": "sleep 60", "timeout": "1s"}, "timeout", "still running after 1 s"),
        ({"run": "kill -9 $PPID; sleep 60"}, "lost", "killed from outside"),
        ({"put": "nothing.txt"}, "script", "there is no file"),
        ({"get": "nothing.txt"}, "script", "there is no "),
        ({"wait_for": "checkpoint"}, "script", "no session was started"),
        ({"session": "echo bad luck; exit 7", "wait_for": "checkpoint"}, "script", "first checkpoint (exit code 7)"),
        ({"session": "echo bad luck; exit 7", "wait_for": "session"}, "script", "exit code 7: bad luck"),
        ({"session": "sleep 60", "wait_for": "session", "timeout": "1s"}, "timeout", "still running after 1 s"),
    ],
)
def test_a_step_that_fails_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, object], kind: str, said: str
) -> None:
    with pytest.raises(StepError) as error:
        runner(tmp_path, monkeypatch).run(playbook({"phase": "p", **step}))
    assert (error.value.kind, error.value.phase) == (kind, "p")
    assert said in str(error.value)


def test_logs_are_collected_by_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions called what a step wrote `output`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for job, name in (("old", "output"), ("new", "log")):
        folder = tmp_path / FOLDER / "abc234" / "jobs" / job
        folder.mkdir(parents=True)
        (folder / name).write_text(job)
    with tarfile.open(collect.logs(LocalHost(), tmp_path / "here", "abc234")) as archive:
        assert {"logs/old.log", "logs/new.log"} <= set(archive.getnames())
