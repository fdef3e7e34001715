"""Two sets of runs held against each other, and machines against machines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.report import benches, synthetic
from tests.report.synthetic import AMAZON, FOUR, RHEL, SUSE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.ledger import Ledger

    from .conftest import Done


@pytest.fixture
def diff(ledger: Ledger, call: Callable[..., Done]) -> Callable[..., Done]:
    return lambda *arguments: call("diff", "--ledger", ledger.path, *arguments)


def slowed(*kinds: synthetic.Kind, **factors: float) -> tuple[synthetic.Kind, ...]:
    return tuple(synthetic.slow(kind, **factors) for kind in kinds)


def test_a_slower_step_is_found_named_and_fails_in_ci(ledger: Ledger, diff: Callable[..., Done]) -> None:
    synthetic.run(ledger, (AMAZON,), 8, seed=1, name="a")
    synthetic.run(ledger, slowed(AMAZON, torch=2), 8, seed=2, name="b")
    done = diff("a", "b", "--fail-on", "10%")
    assert done.code == 12
    assert "slower (p" in done.out
    assert "fetching and unpacking torch +8" in done.out
    assert "slower by more than 10 %: install of Amazon Linux 2023 +3" in done.err
    assert diff("a", "b", "--fail-on", "60%").code == 0
    assert diff("b", "a", "--fail-on", "10%").code == 0


def test_the_noise_of_two_alike_sets_does_not_fail(ledger: Ledger, diff: Callable[..., Done]) -> None:
    synthetic.run(ledger, FOUR, 6, seed=1, name="a")
    synthetic.run(ledger, FOUR, 6, seed=2, name="b")
    assert diff("a", "b", "--fail-on", "0%").code == 0


def test_three_replicas_of_four_distros_decide_together(ledger: Ledger, diff: Callable[..., Done]) -> None:
    synthetic.run(ledger, FOUR, 3, seed=1, name="a")
    synthetic.run(ledger, slowed(*FOUR, torch=2), 3, seed=2, name="b")
    changes = json.loads(diff("a", "b", "--json").out)["changes"]
    verdicts = {(c["metric"], c["group"]): c["verdict"] for c in changes}
    assert verdicts["install", "Amazon Linux 2023"] == "undecided"
    assert verdicts["install", "all groups together"] == "slower"
    assert verdicts["first-checkpoint", "all groups together"] == "alike"


def test_too_few_hosts_are_said_and_fail_only_when_asked(ledger: Ledger, diff: Callable[..., Done]) -> None:
    synthetic.run(ledger, (AMAZON,), 3, seed=1, name="a")
    synthetic.run(ledger, slowed(AMAZON, torch=3), 3, seed=2, name="b")
    done = diff("a", "b", "--fail-on", "10")
    assert done.code == 0
    assert "too few hosts to decide: install of Amazon Linux 2023" in done.err
    assert diff("a", "b", "--fail-on", "10", "--fail-undecided").code == 12


def test_facts_that_changed_are_shown(ledger: Ledger, diff: Callable[..., Done]) -> None:
    synthetic.run(ledger, (AMAZON, SUSE), 2, seed=1, name="a")
    newer = replace(AMAZON, facts={**AMAZON.facts, "image.id": "ami-0ff99", "torch": "2.14.0"})
    synthetic.run(ledger, (newer, RHEL), 2, seed=2, name="b")
    out = diff("a", "b").out
    assert "torch" in out
    assert "2.13.0  →  2.13.0, 2.14.0" in out
    assert "Only in A: SLES 15 SP7." in out
    assert "Only in B: Red Hat Enterprise Linux 9.6." in out
    document = json.loads(diff("a", "b", "--json").out)
    assert "val_loss" not in {fact["name"] for fact in document["facts"]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a", "a"], "is on both sides"),
        (["a", "nope"], "no run 'nope'"),
        (["a", ","], "names no run"),
        (["a", "b", "--fail-on", "lots"], "'lots' is not a percentage"),
        (["a", "b", "--fail-on", "-5%"], "is not a percentage"),
        (["a", "b", "--fail-undecided"], "needs --fail-on"),
    ],
)
def test_mistakes_are_told(ledger: Ledger, diff: Callable[..., Done], arguments: list[str], told: str) -> None:
    synthetic.run(ledger, (AMAZON,), 2, seed=1, name="a")
    synthetic.run(ledger, (AMAZON,), 2, seed=2, name="b")
    done = diff(*arguments)
    assert done.code == 2
    assert told in done.err


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    laptop = [benches.point(threads=t, rate=100e3 * r) for t, r in ((1, 1.0), (2, 1.8), (4, 2.4))]
    laptop += [benches.point(threads=4, size=256, rate=80e3)]
    gpu = [benches.point(rate=1.2e6, device="cuda")]
    return [
        benches.write(tmp_path, "laptop.json", benches.document(laptop, host="laptop")),
        benches.write(tmp_path, "gpu.json", benches.document(gpu, host="gpu")),
    ]


def curves(done: Done) -> dict[str, list[dict[str, Any]]]:
    whole: dict[str, Any] = json.loads(done.out)
    return dict(whole["curves"])


def test_speed_up_over_threads_hardware_and_size(files: list[Path], call: Callable[..., Done]) -> None:
    found = curves(call("speedup", *files, "--json"))
    (threads,) = found["threads"]
    assert [point["times"] for point in threads["points"]] == pytest.approx([1.0, 1.8, 2.4])
    assert [point["ideal"] for point in threads["points"]] == [1.0, 2.0, 4.0]
    # The peak in the file is ten times what one thread reaches, for each thread.
    assert [point["ceiling"] for point in threads["points"]] == pytest.approx([10, 20, 40])
    (hardware,) = found["hardware"]
    assert [point["times"] for point in hardware["points"]] == pytest.approx([1.0, 5.0])
    (size,) = found["size"]
    assert [point["times"] for point in size["points"]] == pytest.approx([1.0, 80 * 4 / 240])


def test_speed_up_as_table_csv_and_picture(files: list[Path], call: Callable[..., Done], tmp_path: Path) -> None:
    table = call("speedup", *files).out
    assert "laptop: lstm 2×128, 50×50, bf16" in table
    assert "gpu (cuda)" in table
    assert call("speedup", *files, "--csv").out.count("\n") == 6
    for ending in ("png", "svg"):
        assert call("speedup", *files, "-o", tmp_path / f"s.{ending}").code == 0
    assert "Over threads" in (tmp_path / "s.svg").read_text()


def test_two_hosts_of_one_name_stay_apart(tmp_path: Path, call: Callable[..., Done]) -> None:
    one = benches.document([benches.point()], host="ip-10", cpu="Xeon")
    two = benches.document([benches.point(rate=2e5)], host="ip-10", cpu="EPYC")
    pair = [benches.write(tmp_path, "x.json", one), benches.write(tmp_path, "y.json", two)]
    (curve,) = curves(call("speedup", *pair, "--json"))["hardware"]
    assert [point["times"] for point in curve["points"]] == pytest.approx([1.0, 2.0])


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    (point,) = document["points"]
    return {**document, "points": [{k: v for k, v in point.items() if k != key}]}


WHOLE = benches.document([benches.point()])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("not json", "is not JSON"),
        ("[]", "is not a result of charrnn bench"),
        (json.dumps({**WHOLE, "format": 9}), "has format 9; this version reads 1"),
        (json.dumps({**WHOLE, "points": []}), "hold no measurements"),
        (json.dumps(without(WHOLE, "execution")), "lacks 'execution'"),
        (json.dumps({**WHOLE, "points": [{**benches.point(), "gigaflops": 0}]}), "a rate above zero"),
        (json.dumps({**WHOLE, "peaks": None}), "a result of charrnn bench lacks"),
        (json.dumps({**WHOLE, "machine": None}), None),
    ],
)
def test_bad_files_are_told(tmp_path: Path, call: Callable[..., Done], content: str, told: str | None) -> None:
    file = tmp_path / "bench.json"
    file.write_text(content)
    done = call("speedup", file)
    assert done.code == (2 if told else 0)
    assert (told or "") in done.err
    assert done.err.count("\n") == (1 if told else 0)


def test_one_setting_alone_cannot_be_drawn(tmp_path: Path, call: Callable[..., Done]) -> None:
    file = benches.write(tmp_path, "one.json", WHOLE)
    done = call("speedup", file, "--format", "png")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "nothing to compare" in done.err
    assert call("speedup", tmp_path / "absent.json").code == 2
