"""The facts that a host tells: each name has one source, and so one meaning. What came later would be lost else."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatch
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import bootstrap
from bootstrap import system
from bootstrap.first_checkpoint import FirstCheckpoint
from bootstrap.hosts.detached import Detached
from bootstrap.hosts.local import LocalHost
from bootstrap.providers.ec2 import provider as ec2
from bootstrap.providers.ec2.teardown import Found
from charrnn import cli as trainer

if TYPE_CHECKING:
    import pytest

_PLACEHOLDER = re.compile(r"\{[^}]*\}")


def of_the_machine() -> set[str]:
    return set(system.read().flat())


def of_the_install() -> set[str]:
    """What its phases record, wherever they do; a part of a name that is filled in stands as `*`."""
    names: list[str] = []
    for path in sorted((Path(bootstrap.__file__).parent / "install").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and isinstance(called, ast.Attribute) and called.attr == "fact":
                names.append(_PLACEHOLDER.sub("*", ast.unparse(node.args[0]).removeprefix("f").strip("'\"")))
    names.remove("name")  # the machine's own, one by one; any other place must say what it tells
    assert len(names) == len(set(names))
    return set(names)


def of_the_training(folder: Path) -> set[str]:
    """What a real training tells with its first checkpoint, as an install passes it on."""
    text, checkpoints = folder / "text.txt", folder / "cv"
    text.write_text("It was the best of times, it was the worst of times. " * 60)
    options = ["--iterations", "2", "--rnn-size", "8", "--batch-size", "2", "--seq-length", "8", "--device", "cpu"]
    assert trainer.run(["train", "--data", str(text), "--checkpoint-dir", str(checkpoints), *options]) == 0
    result = json.loads((checkpoints / "first-checkpoint.json").read_text())
    stream = FirstCheckpoint(PurePosixPath(folder), Detached(LocalHost(), PurePosixPath(folder / "train"))).events(
        result
    )
    names = [event.body["name"] for event in stream if event.event == "fact"]
    assert len(names) == len(set(names))
    return set(names)


def of_the_cloud() -> set[str]:
    return set(ec2.machine_of(Found("instances", "i-1", {}, "us-east-1", "running", {})).facts)


def test_no_name_has_two_meanings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {
        "machine": of_the_machine(),
        "install": of_the_install(),
        "training": of_the_training(tmp_path),
        "cloud": of_the_cloud(),
    }
    assert all(told.values()), "each of them tells something"
    assert "name" not in told["install"], "only the machine's facts are told from a table"
    assert {"torch", "import.cold_seconds", "fastest.*"} <= told["install"], "found where it is recorded"
    for one, other in permutations(told, 2):
        assert [name for name in told[other] if any(fnmatch(name, own) for own in told[one])] == [], f"{one}, {other}"
