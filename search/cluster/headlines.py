"""Choose the headline of a study: the one trial whose score on the sealed subjects is shown.

If each family had a test score, readers would choose the best of them: with five sealed subjects
and eight equal families it is about 0.1 too high. So one trial of each task is chosen by its
val_uar, and written down, before the first sealed test begins. `sealed_test.py` asks for it.
"""

from collections.abc import Iterator, Mapping, Sequence

from search.study.folder import Folder
from search.study.parts import TrialResult, by_task


def headlines_of(
    finished: Sequence[TrialResult], folder: Folder, study_task: str
) -> Mapping[str, int]:
    """Give the number of the headline of each task, and write down those that are new.

    It is the complete trial with the highest val_uar; of equal ones the first. A headline stays,
    however good a later trial is. If the study was tested by a version that chose none, it is the
    best of the tested trials: they were the best ones when the subjects were opened.
    """
    known, of_task = folder.headlines(), by_task(finished, study_task)
    found = {task: _best(trials, folder) for task, trials in of_task.items()} | known
    if found != known:
        folder.write_headlines(found)
    return found


def announcement(headlines: Mapping[str, int]) -> Iterator[str]:
    """Say which trials are the headlines."""
    for task, number in headlines.items():
        yield (
            f"the headline of task {task} is trial {number}, whose val_uar is the highest: only "
            "its test_uar is shown, and of other trials the difference to it"
        )


def untested(headlines: Mapping[str, int], folder: Folder) -> Iterator[str]:
    """Say which headlines have no sealed test."""
    for task, number in headlines.items():
        if not folder.sealed_test(number).exists():
            yield (
                f"trial {number}, the headline of task {task}, has no sealed test, so no trial of "
                "this task has a test_uar or a difference; --resume tries it again"
            )


def _best(trials: Sequence[TrialResult], folder: Folder) -> int:
    tested = [result for result in trials if folder.sealed_test(result.number).exists()]
    best = max(tested or trials, key=lambda result: (result.val_uar or 0.0, -result.number))
    return best.number
