"""Lay a comparison out as tables of text, and explain them, for the terminal and for LaTeX.

`search.compare` prints these tables with rich; `latex` writes the same ones for a paper.
"""

import textwrap
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table

from fer_core.intervals import LEAST_SUBJECTS
from search.comparison.comparison import AcrossDatasets, Comparison, DatasetComparison
from search.statistics.across import LEAST_DATASETS, LEAST_METHODS, LEVEL, least_p

_SHOWN_P = 0.001  # smaller p-values are shown as smaller than this
_INTERVAL = "[95 %]"  # in the headings of columns that never wrap in a narrow terminal


@dataclass(frozen=True)
class TextTable:
    """A table of strings."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of(comparison: Comparison) -> list[TextTable]:
    """Give the tables of a comparison: across datasets if there are several, else of its pairs."""
    if comparison.across is not None:
        return _across(comparison.across)
    return _one_dataset(comparison.datasets[0])


def shown(table: TextTable) -> Table:
    """Make a table for the terminal."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in table.headings:
        made.add_column(name, no_wrap=_INTERVAL in name, overflow="fold")
    for row in table.rows:
        made.add_row(*row)
    return made


def explained(comparison: Comparison) -> list[str]:
    """Explain the tables, in lines of at most 80 columns."""
    across = comparison.across
    texts = _about_pairs(comparison.datasets[0]) if across is None else _about_ranks(across)
    if comparison.datasets[0].side == "test":
        texts.append(
            "These are the sealed subjects. Report this comparison; to choose a row by it would "
            "spend them."
        )
    return [line for text in texts for line in textwrap.wrap(text, 80, subsequent_indent="  ")]


def _one_dataset(found: DatasetComparison) -> list[TextTable]:
    side = f"{found.side}_uar"
    people = f"{found.subjects} subjects, {found.clips} clips"
    folds = f", {len(found.rows[0].fold_uars)} folds" if found.side == "val" else ""
    rows = tuple((row.method, row.row, _interval(row.uar, row.low, row.high)) for row in found.rows)
    pairs = tuple(
        (
            f"{pair.first} - {pair.second}",
            _interval(pair.difference, pair.low, pair.high, sign="+"),
            _p(pair.p_subjects_holm),
            _p(pair.p_clips_holm),
            _p(pair.p_folds_holm),
        )
        for pair in found.pairs
    )
    return [
        TextTable(
            f"{found.dataset}, {found.task}: {people}{folds}",
            ("method", "row", f"{side} {_INTERVAL}"),
            rows,
        ),
        TextTable(
            "Differences, and the p-values of three tests",
            ("pair", f"difference {_INTERVAL}", "subjects", "McNemar", "folds"),
            pairs,
        ),
    ]


def _across(found: AcrossDatasets) -> list[TextTable]:
    means = [fmean(of_method) for of_method in zip(*found.uars, strict=True)]
    scores = [*zip(found.datasets, found.uars, strict=True), ("mean", means)]
    rows = [(name, *(f"{uar:.3f}" for uar in uars)) for name, uars in scores]
    ranks = ("mean rank", *(f"{rank:.2f}" for rank in found.mean_ranks))
    pairs = tuple(
        (
            f"{pair.first} - {pair.second}",
            str(pair.wins),
            str(pair.losses),
            _p(pair.p),
            _p(pair.p_holm),
        )
        for pair in found.pairs
    )
    return [
        TextTable(
            f"UAR of {len(found.methods)} methods on {len(found.datasets)} datasets",
            ("dataset", *found.methods),
            (*rows, ranks),
        ),
        TextTable(
            "Wilcoxon's signed-rank test", ("pair", "wins", "losses", "p", "p (Holm)"), pairs
        ),
    ]


def _about_pairs(found: DatasetComparison) -> list[str]:
    few = found.subjects < LEAST_SUBJECTS
    texts = [
        "difference: the UAR of the first less that of the second. Its interval is not corrected "
        "for the number of pairs.",
        f"p-values are corrected for {len(found.pairs)} pairs by Holm, for each test by itself."
        if len(found.pairs) > 1
        else "",
        f"subjects: no test and no interval, because these need {LEAST_SUBJECTS} subjects."
        if few
        else "subjects: paired bootstrap of the subjects. Trust this one.",
        "McNemar: takes clips for independent. Those of a subject are not, so its p-values are too "
        "small.",
        "folds: Nadeau and Bengio's corrected t-test."
        if found.side == "val"
        else "folds: a sealed test has none.",
        "val_uar is optimistic for rows that a search selected by it, and so is a difference to a "
        "row that was not selected."
        if found.side == "val"
        else "",
    ]
    return [text for text in texts if text]


def _about_ranks(found: AcrossDatasets) -> list[str]:
    datasets = len(found.datasets)
    if found.friedman is None:
        friedman = (
            f"Friedman's test needs {LEAST_METHODS} methods and {LEAST_DATASETS} datasets; there "
            f"are {len(found.methods)} and {datasets}."
        )
    else:
        differ = "the methods differ" if found.friedman.p < LEVEL else "no difference is shown"
        friedman = (
            f"Friedman: chi-square {found.friedman.statistic:.2f}, p {_p(found.friedman.p)}: "
            f"{differ}."
        )
    texts = [
        friedman,
        f"Nemenyi's critical difference of mean ranks is {found.critical_difference:.2f} at "
        f"{LEVEL}.",
    ]
    least, pairs = least_p(datasets), len(found.pairs)
    if least * pairs >= LEVEL:
        corrected = f", and {min(1.0, least * pairs):.3f} corrected for {pairs} pairs"
        texts.append(
            f"No pair can differ significantly: with {datasets} datasets Wilcoxon's p is at least "
            f"{least:.3f}{corrected if pairs > 1 else ''}."
        )
    return texts


def _interval(value: float, low: float | None, high: float | None, *, sign: str = "") -> str:
    ends = "" if low is None or high is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}{ends}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"<{_SHOWN_P}" if value < _SHOWN_P else f"{value:.3f}"
