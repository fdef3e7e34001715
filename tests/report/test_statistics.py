"""The statistics against known answers, against SciPy, and against what they promise over many experiments."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.report import statistics

EXPERIMENTS = 2000


def test_a_summary_of_known_values() -> None:
    summary = statistics.summarise([4.0, 1.0, 3.0, 2.0])
    assert summary == statistics.Summary(4, 2.5, 1.0, 4.0, 2.5, None)
    assert statistics.summarise([]) is None


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_no_interval_is_claimed_for_fewer_than_six(n: int) -> None:
    assert statistics.median_interval([float(value) for value in range(n)]) is None


def test_the_interval_of_a_published_example() -> None:
    # Hettmansperger and Sheather's weights by hand for n = 10: depths 2 and 3 hold the median with probability
    # 1 - 2 * 11/1024 and 1 - 2 * 56/1024; the wanted 0.95 lies the share I between, lambda = 8 I / (2 + 6 I).
    wide, narrow = 1 - 22 / 1024, 1 - 112 / 1024
    share = (wide - 0.95) / (wide - narrow)
    weight = 8 * share / (2 + 6 * share)
    values = [3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0, 144.0, 233.0]
    interval = statistics.median_interval(values)
    assert interval == pytest.approx(((1 - weight) * 5 + weight * 8, (1 - weight) * 144 + weight * 89))


@pytest.mark.parametrize("n", [*range(6, 40), 100, 999, 1000, 1001, 4000])
def test_the_enclosing_depths_are_those_of_the_binomial(n: int) -> None:
    d, wide, narrow = statistics._enclosing(n, 0.95)
    assert narrow < 0.95 <= wide + 1e-3
    assert wide == pytest.approx(1 - 2 * scipy.stats.binom.cdf(d - 1, n, 0.5), abs=2e-4)
    assert narrow == pytest.approx(1 - 2 * scipy.stats.binom.cdf(d, n, 0.5), abs=2e-4)


SOURCES: dict[str, Any] = {
    "normal": (lambda chance: chance.gauss(30, 3), 30.0),
    "log-normal": (lambda chance: math.exp(chance.gauss(3.4, 0.8)), math.exp(3.4)),
    "exponential": (lambda chance: chance.expovariate(1 / 30), 30 * math.log(2)),
}


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("source", SOURCES)
def test_the_interval_holds_the_median_as_often_as_it_says(source: str, n: int) -> None:
    draw, true = SOURCES[source]
    chance = random.Random(f"{source} {n}")
    held = 0
    for _ in range(EXPERIMENTS):
        interval = statistics.median_interval([draw(chance) for _ in range(n)])
        assert interval is not None
        held += interval[0] <= true <= interval[1]
    assert 0.93 <= held / EXPERIMENTS <= 0.97


def by_counting(a: list[float], b: list[float]) -> float:
    """The same p, by dealing the ranks in every possible way."""
    ranks = scipy.stats.rankdata(a + b)
    observed = sum(ranks[: len(a)])
    sums = [sum(ranks[i] for i in chosen) for chosen in itertools.combinations(range(len(ranks)), len(a))]
    lower = sum(value <= observed + 1e-9 for value in sums) / len(sums)
    upper = sum(value >= observed - 1e-9 for value in sums) / len(sums)
    return float(min(1.0, 2 * min(lower, upper)))


values = st.lists(st.integers(0, 12).map(float), min_size=1, max_size=6)


@given(values, values)
def test_the_test_is_exact_with_ties_as_they_come(a: list[float], b: list[float]) -> None:
    assert statistics.rank_sum_test(a, b) == pytest.approx(by_counting(a, b))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 6), (8, 5), (7, 7)])
def test_the_test_agrees_with_scipys_permutation_test(n: int, m: int) -> None:
    chance = np.random.default_rng(n * 100 + m)
    a, b = chance.lognormal(size=n), chance.lognormal(0.7, size=m)
    ranks = scipy.stats.rankdata([*a, *b])
    theirs = scipy.stats.permutation_test(
        (ranks[:n], ranks[n:]), lambda x, _y, axis: np.sum(x, axis=axis), vectorized=True, n_resamples=np.inf
    )
    assert statistics.rank_sum_test(list(a), list(b)) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("n", [20, 40])
def test_the_test_agrees_with_scipys_exact_distribution_for_many(n: int) -> None:
    chance = np.random.default_rng(n)
    a, b = chance.normal(size=n), chance.normal(0.6, size=n)
    assert statistics.rank_sum_test(list(a), list(b)) == pytest.approx(
        scipy.stats.mannwhitneyu(a, b, method="exact").pvalue, rel=1e-9
    )


def test_beyond_what_is_counted_the_normal_approximation_is_scipys() -> None:
    chance = np.random.default_rng(5)
    a, b = chance.integers(0, 50, 300).astype(float), chance.integers(3, 53, 400).astype(float)
    assert statistics.rank_sum_test(list(a), list(b)) == pytest.approx(
        scipy.stats.mannwhitneyu(a, b, method="asymptotic").pvalue, rel=1e-9
    )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("n", [3, 5, 8])
def test_where_there_is_no_difference_one_is_rarely_found(source: str, n: int) -> None:
    draw, _ = SOURCES[source]
    chance = random.Random(f"null {source} {n}")
    found = sum(
        statistics.rank_sum_test([draw(chance) for _ in range(n)], [draw(chance) for _ in range(n)]) <= statistics.ALPHA
        for _ in range(EXPERIMENTS)
    )
    # The level, and three standard errors of a share of 5 % in so many experiments.
    assert found / EXPERIMENTS <= statistics.ALPHA + 3 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)


def test_over_all_comparisons_of_a_table_the_level_holds() -> None:
    chance = random.Random(11)
    wrong = 0
    for _ in range(1000):
        groups = [[chance.gauss(30, 3) for _ in range(6)] for _ in range(4)]
        ps = statistics.holm([statistics.rank_sum_test(a, b) for a, b in itertools.combinations(groups, 2)])
        wrong += min(ps) <= statistics.ALPHA
    assert wrong / 1000 <= statistics.ALPHA + 3 * math.sqrt(0.05 * 0.95 / 1000)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_are_holms(ps: list[float]) -> None:
    adjusted = statistics.holm(ps)
    order = np.argsort(ps, kind="stable")
    steps = np.maximum.accumulate([(len(ps) - i) * ps[j] for i, j in enumerate(order)])
    assert [adjusted[j] for j in order] == pytest.approx(np.minimum(1, steps))


def test_groups_that_do_not_overlap_reach_the_smallest_p() -> None:
    for n in range(1, 9):
        p = statistics.rank_sum_test(list(range(n)), list(range(100, 100 + n)))
        assert p == statistics.minimum_attainable_p(n, n)
    assert [statistics.minimum_n(comparisons) for comparisons in (1, 3, 6)] == [4, 5, 5]
    assert statistics.minimum_attainable_p(3, 3) == 0.1


def test_pairs_compared_within_their_strata() -> None:
    # Three against three decide nothing alone; four such pairs, all in the same direction, do.
    strata = [([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), ([61.0, 62.0, 63.0], [64.0, 65.0, 66.0])] * 2
    assert statistics.rank_sum_test(*strata[0]) == 0.1
    assert statistics.stratified_rank_sum_test(strata) == pytest.approx(2 / 20**4)


@given(values, values, values, values)
def test_stratified_p_are_those_of_all_dealings(a: list[float], b: list[float], c: list[float], d: list[float]) -> None:
    a, b, c, d = a[:3], b[:3], c[:3], d[:3]
    p = statistics.stratified_rank_sum_test([(a, b), (c, d)])
    sums = []
    for x, y in ((a, b), (c, d)):
        ranks = scipy.stats.rankdata(x + y)
        dealt = itertools.combinations(range(len(ranks)), len(x))
        sums.append(([sum(ranks[i] for i in chosen) for chosen in dealt], sum(ranks[: len(x)])))
    observed = sums[0][1] + sums[1][1]
    every = [s + t for s in sums[0][0] for t in sums[1][0]]
    lower = sum(value <= observed + 1e-9 for value in every) / len(every)
    upper = sum(value >= observed - 1e-9 for value in every) / len(every)
    assert p == pytest.approx(min(1.0, 2 * min(lower, upper)))


def test_values_that_are_all_the_same_show_nothing() -> None:
    assert statistics.rank_sum_test([1.0] * 5, [1.0] * 5) == 1.0
    assert statistics.rank_sum_test([1.0] * 50, [1.0] * 50) == 1.0


def test_the_suggested_replicas_find_the_difference_as_often_as_they_say() -> None:
    chance = random.Random(3)
    a = [chance.gauss(30, 2) for _ in range(200)]
    b = [chance.gauss(32, 2) for _ in range(200)]
    n = statistics.required_sample_size(a, b)
    assert n is not None
    found = sum(
        statistics.rank_sum_test(*([chance.gauss(mean, 2) for _ in range(n)] for mean in (30, 32))) <= 0.05
        for _ in range(500)
    )
    assert 0.7 <= found / 500 <= 0.92


def test_no_number_of_replicas_is_suggested_for_groups_that_look_alike() -> None:
    assert statistics.required_sample_size([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert statistics.required_sample_size([], [1.0]) is None
