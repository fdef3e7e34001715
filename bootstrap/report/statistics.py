"""Statistics of small samples: summaries, confidence intervals of a median, exact tests of a difference.

Nothing here needs more than the standard library, so that a freshly installed host can report on itself. The tests
hold these functions against SciPy's and against published tables.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHA = 0.05
"""The family-wise error rate: how often a table may report a difference where there is none."""

POWER = 0.8
"""How likely the required sample size finds a difference of the observed size."""

INTERVAL_FROM = 6
"""Below this many values no order statistics hold a median with 95 % confidence: 1 - 2/2^5 is 0.9375."""

_EXACT_UP_TO = 80
_MANY = 1000


@dataclass(frozen=True, slots=True)
class Summary:
    """A group's values of one quantity, in the unit of the values; `interval` is that of the median, 95 %."""

    n: int
    median: float
    minimum: float
    maximum: float
    mean: float
    interval: tuple[float, float] | None


def summarise(values: Sequence[float]) -> Summary | None:
    """Summarise values; None where there are none."""
    if not values:
        return None
    return Summary(
        len(values),
        statistics.median(values),
        min(values),
        max(values),
        statistics.fmean(values),
        median_interval(values),
    )


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return a confidence interval of the median, or None for fewer than six values.

    Interpolated order statistics (T. P. Hettmansperger and S. J. Sheather, Confidence intervals based on
    interpolated order statistics, Statistics & Probability Letters 4, 1986): the interval between the d-th value
    from either end has a known confidence whatever the distribution; the two that enclose the wanted confidence are
    interpolated, with weights that are right for symmetric distributions and nearly so for skewed ones.
    """
    n = len(values)
    if n < INTERVAL_FROM:
        return None
    ordered = sorted(values)
    d, wide, narrow = _enclosing(n, confidence)
    share = (wide - confidence) / (wide - narrow)
    weight = (n - d) * share / (d + (n - 2 * d) * share)
    low = (1 - weight) * ordered[d - 1] + weight * ordered[d]
    high = (1 - weight) * ordered[n - d] + weight * ordered[n - d - 1]
    return low, high


def _enclosing(n: int, confidence: float) -> tuple[int, float, float]:
    """Return the depth d whose interval has at least this confidence, that confidence, and that of depth d + 1.

    The median lies between the d-th smallest and the d-th largest of n values unless fewer than d of them are on one
    side of it: twice a binomial tail. Beyond a thousand values the normal approximation replaces it.
    """
    if n > _MANY:
        normal = statistics.NormalDist(n / 2, math.sqrt(n) / 2)
        d = max(1, math.floor(normal.inv_cdf((1 - confidence) / 2) + 0.5))
        return d, 1 - 2 * normal.cdf(d - 0.5), 1 - 2 * normal.cdf(d + 0.5)
    d, term, tail, total = 1, n, 1, 2**n  # term: n choose d; tail: the sum of those before it
    while 1 - 2 * (tail + term) / total >= confidence:
        tail += term
        term = term * (n - d) // (d + 1)
        d += 1
    return d, 1 - 2 * tail / total, 1 - 2 * (tail + term) / total


def rank_sum_test(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p of the permutation rank-sum test: are `a` and `b` from the same distribution?

    Every split of the pooled values into groups of these sizes is counted, ties as they are (Wilcoxon's test
    with its exact conditional distribution), up to 80 values; beyond, its normal approximation.
    """
    return stratified_rank_sum_test([(a, b)])


def stratified_rank_sum_test(strata: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Return the p of the same test over several strata at once, values permuted only within their stratum.

    This is how two runs over several distros are compared: each distro is compared with itself, and all of them
    together decide what three replicas of one cannot.
    """
    ranked = [_Ranks.of(a, b) for a, b in strata if a and b]
    if not ranked:
        return 1.0
    observed = sum(ranks.observed for ranks in ranked)
    if sum(len(ranks.doubled) for ranks in ranked) > _EXACT_UP_TO:
        return _normal_p(observed, ranked)
    digit = sum(len(ranks.doubled) for ranks in ranked) + 1  # bits: no sum of n ranks has 2^n ways or more
    packed, mask = math.prod(ranks.distribution(digit) for ranks in ranked), (1 << digit) - 1
    counts = [(packed >> shift) & mask for shift in range(0, packed.bit_length(), digit)]
    lower, upper = sum(counts[: observed + 1]), sum(counts[observed:])
    return min(1.0, 2 * min(lower, upper) / sum(counts))


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Pooled ranks of two groups, doubled so that the mean rank of tied values is whole."""

    doubled: tuple[int, ...]
    chosen: int
    observed: int

    @classmethod
    def of(cls, a: Sequence[float], b: Sequence[float]) -> _Ranks:
        pooled = sorted([*a, *b])
        ranks = tuple(bisect_left(pooled, x) + bisect_right(pooled, x) + 1 for x in (*a, *b))
        return cls(ranks, len(a), sum(ranks[: len(a)]))

    def distribution(self, digit: int) -> int:
        """Return, for each sum, how many ways there are to choose `chosen` of the ranks that add up to it.

        The generating function of the sums, multiplied out one rank at a time. A polynomial is one large integer
        whose digits, of so many bits, are its coefficients: multiplying by a power is a shift.
        """
        polynomials = [1] + [0] * self.chosen
        for rank in self.doubled:
            for size in range(self.chosen, 0, -1):
                polynomials[size] += polynomials[size - 1] << (rank * digit)
        return polynomials[self.chosen]

    def moments(self) -> tuple[float, float]:
        """Return mean and variance of the sum of the chosen ranks under the null hypothesis."""
        n, m = len(self.doubled), self.chosen
        mean = sum(self.doubled) / n
        spread = sum((rank - mean) ** 2 for rank in self.doubled) / (n - 1)
        return m * mean, m * (n - m) / n * spread


def _normal_p(observed: int, ranked: Sequence[_Ranks]) -> float:
    moments = [ranks.moments() for ranks in ranked]
    mean, variance = sum(m for m, _ in moments), sum(v for _, v in moments)
    if variance == 0:
        return 1.0
    distance = max(0.0, abs(observed - mean) - 1)  # doubled ranks: half a step of continuity is one
    return min(1.0, math.erfc(distance / math.sqrt(2 * variance)))


def minimum_attainable_p(n: int, m: int) -> float:
    """Return the minimum attainable two-sided p for groups of n and m: when their values do not overlap."""
    return min(1.0, 2 / math.comb(n + m, n))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values adjusted for how many there are (S. Holm, A simple sequentially rejective procedure, 1979)."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, running = [0.0] * len(ps), 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(ps) - position) * ps[index]))
        adjusted[index] = running
    return adjusted


def minimum_n(comparisons: int = 1) -> int:
    """Return the smallest n at which n against n can be significant, with so many comparisons."""
    n = 1
    while minimum_attainable_p(n, n) * comparisons > ALPHA:
        n += 1
    return n


def required_sample_size(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> int | None:
    """Estimate the n each that the observed effect needs to be significant; None where the groups look alike.

    G. E. Noether, Sample size determination for some common nonparametric tests, JASA 82, 1987: from the share of
    pairs in which one group's value is the larger. A rough guide: the share is itself estimated from few values.
    """
    pairs = len(a) * len(b)
    if not pairs:
        return None
    ordered = sorted(b)
    share = sum(_rank_within(ordered, x) for x in a) / pairs
    if abs(share - 0.5) < 0.05:
        return None
    normal = statistics.NormalDist()
    z = normal.inv_cdf(1 - ALPHA / comparisons / 2) + normal.inv_cdf(POWER)
    total = z**2 / (3 * (share - 0.5) ** 2)
    return max(math.ceil(total / 2), minimum_n(comparisons))


def _rank_within(ordered: Sequence[float], x: float) -> float:
    """Return how many of the values are below `x`, ties counted half."""
    return (bisect_left(ordered, x) + bisect_right(ordered, x)) / 2
