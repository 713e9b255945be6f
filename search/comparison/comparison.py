"""Compare rows: each pair of one dataset, and the methods across several datasets.

What `compare` returns is what `search.compare --json` prints. All scores are fractions in [0, 1].
Each field `p_..._holm` is the p-value before it, corrected by Holm for all pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from fer_core.errors import FerError
from fer_core.intervals import interval
from fer_core.scoring import score
from search.comparison.scored_rows import ScoredRow
from search.statistics import across, pairwise
from search.statistics.across import Friedman
from search.statistics.holm import holm

Side = Literal["val", "test"]


@dataclass(frozen=True, kw_only=True)
class RowScore:
    """A row and its UAR, with the 95 % interval over subjects."""

    row: str  # STUDY/TRIAL
    method: str
    uar: float
    low: float | None  # None below three subjects
    high: float | None
    fold_uars: tuple[float, ...]  # a single one in a sealed test


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods on one dataset: the difference of their UARs, the first less the second."""

    first: str
    second: str
    difference: float
    low: float | None  # 95 % interval over subjects; None below three of them
    high: float | None
    p_subjects: float | None  # paired bootstrap of the subjects
    p_subjects_holm: float | None = None
    only_first: int  # clips that only the first predicted right
    only_second: int
    p_clips: float  # McNemar's exact test, which takes clips for independent
    p_clips_holm: float | None = None
    p_folds: float | None  # Nadeau and Bengio's corrected t-test; None in a sealed test
    p_folds_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetComparison:
    """The rows of one dataset, and each pair of them."""

    dataset: str
    task: str
    side: Side
    subjects: int
    clips: int
    rows: tuple[RowScore, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True)
class MethodPair:
    """Two methods across datasets, by Wilcoxon's signed-rank test."""

    first: str
    second: str
    wins: int  # datasets on which the first is better
    losses: int
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class AcrossDatasets:
    """The methods across all datasets, the best mean rank first."""

    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    uars: tuple[tuple[float, ...], ...]  # of each dataset, each method
    mean_ranks: tuple[float, ...]  # of each method; 1 is the best
    friedman: Friedman | None  # None for fewer than three datasets or methods
    critical_difference: float  # Nemenyi's, of two mean ranks, at 0.05
    pairs: tuple[MethodPair, ...]
    groups: tuple[tuple[str, ...], ...]  # neighbours in rank of which no two differ


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that was found: for each dataset, and across them if there are several."""

    datasets: tuple[DatasetComparison, ...]
    across: AcrossDatasets | None


def compare(rows: Sequence[ScoredRow], *, side: Side) -> Comparison:
    """Compare rows that `scored_rows.read` has found to compare.

    Raises: FerError for a single row, or where a method has no row on one of several datasets.
    """
    if len(rows) < 2:
        raise FerError("a comparison needs two rows or more.")
    by_dataset = {
        row.dataset: [other for other in rows if other.dataset == row.dataset] for row in rows
    }
    across_datasets = _across(by_dataset) if len(by_dataset) > 1 else None
    return Comparison(
        datasets=tuple(_one_dataset(each, side) for each in by_dataset.values()),
        across=across_datasets,
    )


def _one_dataset(rows: Sequence[ScoredRow], side: Side) -> DatasetComparison:
    first = rows[0].predictions
    return DatasetComparison(
        dataset=rows[0].dataset,
        task=rows[0].task,
        side=side,
        subjects=len(np.unique(first.subjects)),
        clips=len(first.clips),
        rows=tuple(map(_row_score, rows)),
        pairs=_pairs(rows),
    )


def _row_score(row: ScoredRow) -> RowScore:
    found = row.predictions
    ends = interval("uar", found.labels, found.probabilities, found.subjects)
    return RowScore(
        row=row.name,
        method=row.method,
        uar=_uar(row),
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        fold_uars=row.fold_uars,
    )


def _uar(row: ScoredRow) -> float:
    return score(row.predictions.labels, row.predictions.probabilities).uar


def _pairs(rows: Sequence[ScoredRow]) -> tuple[Pair, ...]:
    """Test each pair of rows in three ways, and correct each kind of test for all pairs."""
    first = rows[0].predictions
    right = np.stack([row.predictions.right for row in rows])
    by_subjects = pairwise.subject_bootstrap(first.subjects, first.labels, right)
    pairs = []
    for (i, j), found in zip(combinations(range(len(rows)), 2), by_subjects, strict=True):
        clips = pairwise.mcnemar(right[i], right[j])
        folds = np.subtract(rows[i].fold_uars, rows[j].fold_uars)
        pairs.append(
            Pair(
                first=rows[i].method,
                second=rows[j].method,
                difference=found.value,
                low=found.low,
                high=found.high,
                p_subjects=found.p,
                only_first=clips.only_first,
                only_second=clips.only_second,
                p_clips=clips.p,
                p_folds=pairwise.corrected_t(folds),
            )
        )
    subjects, clips_, folds_ = (
        _holm([getattr(pair, name) for pair in pairs])
        for name in ("p_subjects", "p_clips", "p_folds")
    )
    return tuple(
        replace(pair, p_subjects_holm=a, p_clips_holm=b, p_folds_holm=c)
        for pair, a, b, c in zip(pairs, subjects, clips_, folds_, strict=True)
    )


def _holm(p_values: Sequence[float | None]) -> Sequence[float | None]:
    """Correct the p-values of one kind of test; it is made of all pairs of a dataset or of none."""
    made = [p for p in p_values if p is not None]
    return holm(made) if made else p_values


def _across(by_dataset: dict[str, list[ScoredRow]]) -> AcrossDatasets:
    uars = _matrix(by_dataset)
    scores = np.array([list(of_dataset.values()) for of_dataset in uars.values()])
    ranks = across.mean_ranks(scores)
    order = np.argsort(ranks, kind="stable")
    scores, ranks = scores[:, order], ranks[order]
    methods = tuple(np.array(list(next(iter(uars.values()))))[order].tolist())
    found, pairs = across.friedman(scores), across.signed_ranks(scores)
    named = [
        MethodPair(
            first=methods[pair.first],
            second=methods[pair.second],
            wins=pair.wins,
            losses=pair.losses,
            p=pair.p,
            p_holm=pair.p_holm,
        )
        for pair in pairs
    ]
    groups = across.groups(ranks, pairs, found)
    return AcrossDatasets(
        datasets=tuple(uars),
        methods=methods,
        uars=tuple(map(tuple, scores.tolist())),
        mean_ranks=tuple(ranks.tolist()),
        friedman=found,
        critical_difference=across.critical_difference(len(methods), len(uars)),
        pairs=tuple(named),
        groups=tuple(tuple(methods[i] for i in group) for group in groups),
    )


def _matrix(by_dataset: dict[str, list[ScoredRow]]) -> dict[str, dict[str, float]]:
    """Give the UAR of each method on each dataset, with the methods in the same order.

    Raises: FerError where a method has no row on a dataset, or where there is one method only.
    """
    methods = list(dict.fromkeys(row.method for rows in by_dataset.values() for row in rows))
    found: dict[str, dict[str, float]] = {}
    for dataset, rows in by_dataset.items():
        scores = {row.method: _uar(row) for row in rows}
        for method in methods:
            if method not in scores:
                raise FerError(
                    f"method {method} has no row on {dataset}: across datasets each method needs "
                    "one row on each; NAME=ROW says which rows are of one method."
                )
        found[dataset] = {method: scores[method] for method in methods}
    if len(methods) < 2:
        raise FerError(f"all rows are of the method {methods[0]}; a comparison needs two.")
    return found
