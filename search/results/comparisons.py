"""Compare the trials of a study by their stored predictions, for the columns of its leaderboard.

`board.py` asks for the columns when a study ends, and `search.replay` for those of the row that it
exports. No model is trained, and only complete trials take part: the others have no predictions.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.storage.s3_requests import at_once
from search.results import predictions
from search.results.predictions import Predictions
from search.statistics import paired, ranks, selection_bias
from search.statistics.paired import HitCounts
from search.study.folder import Folder
from search.study.parts import TrialResult, by_task

Columns = dict[str, Any]  # of one trial, by name
_AT_ONCE = 50  # trials whose predictions are in memory together
# What a winner that is not the headline shows of its sealed test, beside its difference. A test
# score of its own would invite a choice by the sealed subjects.
_SHOWN_OF_OTHERS = (
    "test_subjects",
    "test_clips",
    "opened_before",
    "test_repeats",
    "test_uar_std",
)


@dataclass(frozen=True)
class Compared:
    """What trials got right of the same clips."""

    numbers: Sequence[int]  # of the trials, in the order in which `hits` has them
    hits: HitCounts


def columns(folder: Folder, finished: Sequence[TrialResult], study_task: str) -> dict[int, Columns]:
    """Give each trial's columns that come from a comparison with others of its study and task."""
    found: dict[int, Columns] = defaultdict(dict)
    for trials in by_task(finished, study_task).values():
        for number, some in (*_val_columns(folder, trials), *_sealed_columns(folder, trials)):
            found[number] |= some
    return found


def sealed_row(
    folder: Folder, number: int, finished: Sequence[TrialResult], study_task: str
) -> Columns | None:
    """Give all that the board shows of a trial's sealed test; None where it had none."""
    if (own := sealed_scores(folder, number)) is None:
        return None
    for trials in by_task(finished, study_task).values():
        for other, some in _sealed_columns(folder, trials):
            own |= some if other == number else {}
    return own


def sealed_scores(folder: Folder, number: int) -> Columns | None:
    """Read what the board shows of a trial's own sealed test; None where it had none.

    A test of a version that knew no headline, or of a baseline, is shown as a whole.
    """
    scores = _test(folder, number)
    if scores is None or "headline" not in scores:
        return scores
    own = scores.pop("headline") == number
    shown = scores if own else {name: scores.get(name) for name in _SHOWN_OF_OTHERS}
    return shown | {"headline": own}


def read_hits(folder: Folder, numbers: Sequence[int], *, sealed: bool = False) -> Compared | None:
    """Read what trials got right from their predictions; None if those of the first are missing.

    Trials that were scored on other clips than the first one are left out, and so are those whose
    predictions are missing, or of a version that did not note the subjects. Where a sealed test was
    repeated with several seeds, a clip counts by the share of them that got it right.
    """
    first = predictions.read(folder, numbers[0], sealed=sealed) if numbers else None
    if first is None:
        return None
    kept: list[int] = []
    right: list[Array] = []
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        shares = at_once(lambda number: _right(folder, number, first, sealed=sealed), some)
        for number, share in zip(some, shares, strict=True):
            if share is not None:
                kept.append(number)
                right.append(share)
    return Compared(kept, paired.count_hits(first.subjects, first.labels, np.stack(right)))


def _right(folder: Folder, number: int, first: Predictions, *, sealed: bool) -> Array | None:
    """Give the share of a trial's fits that got each clip right (N,); None for other clips."""
    repeats = ((_test(folder, number) or {}).get("test_repeats") or 1) if sealed else 1
    fits = [
        predictions.read(folder, number, sealed=sealed, repeat=repeat) for repeat in range(repeats)
    ]
    if any(found is None or not found.same_clips(first) for found in fits):
        return None
    share: Array = np.mean([found.right for found in fits if found is not None], axis=0)
    return share


def _val_columns(folder: Folder, trials: Sequence[TrialResult]) -> Iterator[tuple[int, Columns]]:
    """Give the ranks of the trials of one task, and the corrected score of the best one."""
    numbers = [result.number for result in sorted(trials, key=_by_val)]
    found = read_hits(folder, numbers)
    if found is None:
        return
    yield numbers[0], {"val_uar_corrected": selection_bias.corrected(found.hits)}
    yield from _ranks(found, "val_")


def _sealed_columns(folder: Folder, trials: Sequence[TrialResult]) -> Iterator[tuple[int, Columns]]:
    """Give the ranks of the tested trials of one task, and their differences to the headline."""
    tests = {result.number: _test(folder, result.number) for result in sorted(trials, key=_by_val)}
    tested = {number: scores for number, scores in tests.items() if scores is not None}
    headlines = {scores["headline"] for scores in tested.values() if "headline" in scores}
    yield from ((number, {"headline": True}) for number in headlines & tested.keys())
    found = read_hits(folder, list(tested), sealed=True)
    if found is not None:
        yield from _ranks(found, "")
    for headline in headlines & tested.keys():
        others = [
            number
            for number, scores in tested.items()
            if scores.get("headline", number) == headline != number
        ]
        found = read_hits(folder, [headline, *others], sealed=True)
        if found is not None:
            yield from _differences(found)


def _ranks(found: Compared, side: str) -> Iterator[tuple[int, Columns]]:
    if (ranked := ranks.ranks(found.hits)) is None:
        return
    columns = zip(ranked.low, ranked.high, ranked.tied_with_best, strict=True)
    for number, (low, high, tied) in zip(found.numbers, columns, strict=True):
        yield (
            number,
            {
                f"{side}rank_low": int(low),
                f"{side}rank_high": int(high),
                f"{side}tied_with_best": bool(tied),
            },
        )


def _differences(found: Compared) -> Iterator[tuple[int, Columns]]:
    for number, difference in zip(found.numbers[1:], ranks.differences(found.hits), strict=True):
        interval = difference.interval
        yield (
            number,
            {
                "test_difference": difference.value,
                "test_difference_low": interval.low if interval else None,
                "test_difference_high": interval.high if interval else None,
            },
        )


def _by_val(result: TrialResult) -> tuple[float, int]:
    """Order trials by val_uar, the best first."""
    return -(result.val_uar or 0.0), result.number


def _test(folder: Folder, number: int) -> dict[str, Any] | None:
    """Read the file of a trial's sealed test; None where there is none, or it is damaged."""
    try:
        scores: dict[str, Any] = json.loads(folder.sealed_test(number).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return scores
