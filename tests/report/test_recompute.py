"""Every figure once more, from the raw rows and by other code."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats

from tests.report import synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.ledger import Ledger

    from .conftest import Done


@pytest.fixture
def reported(ledger: Ledger, call: Callable[..., Done]) -> tuple[dict[str, Any], sqlite3.Connection]:
    run = synthetic.run(ledger, replicas=7, seed=8, spread=0.12)
    synthetic.failed_host(ledger, run, synthetic.SUSE, "suse-8")
    synthetic.run(ledger, (synthetic.RHEL, synthetic.UBUNTU), 3, seed=9)
    done = call("report", "--all", "--json", "--ledger", ledger.path)
    assert done.code == 0, done.err
    return json.loads(done.out), sqlite3.connect(ledger.path)


def durations(db: sqlite3.Connection, rows: list[int]) -> list[float]:
    marks = ",".join("?" * len(rows))
    return [b - a for a, b in db.execute(f"SELECT started, ended FROM phases WHERE id IN ({marks})", rows)]


def test_every_summary_follows_from_the_rows_it_names(reported: tuple[dict[str, Any], sqlite3.Connection]) -> None:
    report, db = reported
    assert [group["hosts"] for group in report["groups"]] == [7, 10, 8, 10]
    checked = 0
    for group in report["groups"]:
        for metric, figures in group["metrics"].items():
            rows = figures["rows"]["phases"]
            if metric == "from-launch":
                pairs = zip(rows[::2], rows[1::2], strict=True)
                times = [
                    db.execute("SELECT ended FROM phases WHERE id = ?", [last]).fetchone()[0]
                    - db.execute("SELECT started FROM phases WHERE id = ?", [first]).fetchone()[0]
                    for first, last in pairs
                ]
            else:
                times = durations(db, rows)
                paths = {db.execute("SELECT path FROM phases WHERE id = ?", [row]).fetchone()[0] for row in rows}
                assert paths == {metric}
            assert figures["n"] == len(times)
            assert figures["median"] == pytest.approx(np.median(times), abs=1e-5)
            assert figures["mean"] == pytest.approx(np.mean(times), abs=1e-5)
            assert (figures["min"], figures["max"]) == pytest.approx((min(times), max(times)), abs=1e-5)
            if len(times) == 7:
                # Depths 1 and 2 of seven: 1 - 2/128 and 1 - 2 * 8/128.
                share = (1 - 2 / 128 - 0.95) / (14 / 128)
                weight = 6 * share / (1 + 5 * share)
                ordered = np.sort(times)
                low = (1 - weight) * ordered[0] + weight * ordered[1]
                high = (1 - weight) * ordered[-1] + weight * ordered[-2]
                assert figures["interval_95"] == pytest.approx([low, high], abs=1e-5)
            checked += 1
    assert checked == 12


def test_costs_losses_and_failures_follow_from_their_rows(
    reported: tuple[dict[str, Any], sqlite3.Connection],
) -> None:
    report, db = reported
    for group in report["groups"]:
        costs = [
            db.execute("SELECT cost FROM hosts WHERE id = ?", [row]).fetchone()[0]
            for row in group["cost"]["rows"]["hosts"]
        ]
        assert group["cost"]["median"] == pytest.approx(np.median(costs), abs=1e-6)
        losses = [
            json.loads(db.execute("SELECT value FROM facts WHERE id = ?", [row]).fetchone()[0])
            for row in group["val_loss"]["rows"]["facts"]
        ]
        assert group["val_loss"]["median"] == pytest.approx(np.median(losses), abs=1e-6)
        failed = db.execute(
            "SELECT failure_class, count(*) FROM hosts WHERE status = 'failed' AND distro = ? GROUP BY 1",
            [group["key"]],
        ).fetchall()
        assert group["failures"] == dict(failed)


def test_every_p_is_scipys(reported: tuple[dict[str, Any], sqlite3.Connection]) -> None:
    report, db = reported
    times = {
        (group["key"], metric): durations(db, figures["rows"]["phases"])
        for group in report["groups"]
        for metric, figures in group["metrics"].items()
        if metric != "from-launch"
    }
    raw = defaultdict(list)
    for comparison in report["comparisons"]:
        a = times[comparison["faster"], comparison["metric"]]
        b = times[comparison["slower"], comparison["metric"]]
        assert comparison["difference"] == pytest.approx(np.median(b) - np.median(a), abs=1e-5)
        # Ties are rare in hundredths of a second, but there may be some: then count the dealings.
        if len(set(a) | set(b)) == len(a) + len(b):
            p = scipy.stats.mannwhitneyu(a, b, method="exact").pvalue
            assert comparison["p"] == pytest.approx(p)
        raw[comparison["metric"]].append((comparison["p"], comparison["p_adjusted"]))
    for pairs in raw.values():
        pairs.sort()
        running = 0.0
        for position, (p, adjusted) in enumerate(pairs):
            running = max(running, min(1.0, p * (len(pairs) - position)))
            assert adjusted == pytest.approx(running)


def test_the_parts_of_a_host_add_up_to_its_durations(
    reported: tuple[dict[str, Any], sqlite3.Connection],
) -> None:
    report, db = reported
    for host in report["hosts"]:
        children: dict[int, float] = defaultdict(float)
        rows = db.execute(
            "SELECT id, parent, path, category, ended - started FROM phases WHERE host_id = ? AND source = 'host'",
            [host["id"]],
        ).fetchall()
        for _, parent, _, _, seconds in rows:
            children[parent] += seconds
        for metric, categories in host["own_seconds"].items():
            if not rows:
                continue
            own: dict[str, float] = defaultdict(float)
            for row, _, path, category, seconds in rows:
                if path.split("/")[0] == metric:
                    own[category] += seconds - children[row]
            for category, seconds in categories.items():
                assert seconds == pytest.approx(own[category], abs=0.03)
            assert sum(categories.values()) == pytest.approx(host["measures"][metric]["seconds"], abs=0.05)


def test_blame_adds_up_to_the_difference(reported: tuple[dict[str, Any], sqlite3.Connection]) -> None:
    report, _ = reported
    assert report["blame"]
    for item in report["blame"]:
        explained = sum(cause["seconds"] for cause in item["causes"])
        assert explained + item["unexplained"] == pytest.approx(item["difference"], abs=1e-4)


def test_the_other_formats_say_the_same(
    ledger: Ledger, call: Callable[..., Done], reported: tuple[dict[str, Any], sqlite3.Connection]
) -> None:
    import csv

    report, _ = reported
    lines = list(csv.DictReader(call("report", "--all", "--csv", "--ledger", ledger.path).out.splitlines()))
    figures = {(line["group"], line["quantity"]): line for line in lines}
    for group in report["groups"]:
        line = figures[group["key"], "install [s]"]
        assert float(line["median"]) == group["metrics"]["install"]["median"]
        assert int(line["n"]) == group["metrics"]["install"]["n"]
    each = list(
        csv.DictReader(call("report", "--all", "--csv", "--rows", "hosts", "--ledger", ledger.path).out.splitlines())
    )
    assert len(each) == len(report["hosts"])
    by_row = {int(line["row"]): line for line in each}
    for host in report["hosts"]:
        seconds = host["measures"]["install"]["seconds"]
        assert by_row[host["id"]]["install [s]"] == ("" if seconds is None else str(seconds))
