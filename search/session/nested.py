"""Run a nested study: inside each fold of its subjects, sealed in turn, a whole search of its own.

A protocol that seals nobody leaves only `val_uar`, which flatters the trial that was chosen by it.
With `--nested`, `search.session` first runs the plain search over all folds, and then calls `run`.
Each outer fold gets a search with the same space, seed and number of trials, whose folds are the
other ones. Its best trial is tested on the sealed fold, once. `results/nested_score.py` scores the
sealed folds together.
"""

import json
from contextlib import suppress
from dataclasses import replace
from shlex import quote

from fer_core.data.protocol import Protocol, outer_splits
from fer_core.data.study_data import StudyData
from fer_core.errors import FerError, NoTrialSucceededError
from fer_core.storage.files import write_atomically
from search.drawing.suited import suited
from search.results import ledger, nested_score
from search.screen.progress import Progress
from search.session import one_search
from search.session.one_search import OneSearch
from search.study.folder import Folder, Record, resolved
from search.study.words import counted


def run(search: OneSearch, study_data: StudyData, progress: Progress) -> None:
    """Run the searches that a nested study lacks, and write its score if all are tested.

    `search` is the one over all folds, which has ended. Its board is written whenever a fold is
    opened, so that other studies know of it.
    """
    folder, record, splits = search.folder, search.record, outer_splits(study_data.protocol)
    outer = [folder.outer(place) for place in range(1, len(splits) + 1)]
    if nested_score.read(folder):
        return
    opened_before = _opened_before(folder, record, progress)
    for place, (each, split) in enumerate(zip(outer, splits, strict=True), start=1):
        if is_tested(each):
            continue
        progress.print(_announcement(place, len(splits), split))
        data = replace(study_data, protocol=split, checkpoints=each.checkpoints)
        inner = replace(
            search,
            folder=each,
            record=_record(place, each, folder, record, split),
            space=suited(search.plain_space, data),
            on_opening=search.write_board,
        )
        _search_inside(inner, data, progress)
        if not is_tested(each):
            progress.print(
                f"outer fold {place} of {len(splits)} was not tested, so there is no nested score "
                f"yet; --resume {quote(record.study)} tries again"
            )
            return
    nested_score.write(folder, outer, opened_before=opened_before)
    for task, found in nested_score.read(folder).items():
        progress.print(_outcome(task, found["scores"]))


def _opened_before(folder: Folder, record: Record, progress: Progress) -> int:
    """Return how many other studies had tested some of the subjects before the first fold was."""
    file = folder.path / "outer" / "opened_before.json"
    try:
        return int(json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        known = ledger.read(record)
        progress.print_all(known.lines())
        write_atomically(file, json.dumps(known.opened_before).encode())
        return known.opened_before


def _search_inside(inner: OneSearch, study_data: StudyData, progress: Progress) -> None:
    """Run the search of one outer fold.

    Its trials may all fail: then the fold is not tested, and the others cannot make up for it.
    """
    with inner.folder.locked():
        try:
            one_search.run(inner, study_data, progress)
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):
                one_search.settle(inner, study_data)
            raise
        except NoTrialSucceededError as error:
            progress.print(str(error))


def is_tested(outer: Folder) -> bool:
    """Return whether the search of an outer fold has tested its best trial of each task."""
    headlines = outer.headlines()
    tested = (outer.sealed_test(number).exists() for number in headlines.values())
    return bool(headlines) and all(tested)


def checked_record(folder: Folder, trials: int) -> Record:
    """Read the record of a study that is to go on with so many trials.

    Raises: FerError if it is the search of one outer fold, which goes on with its nested study
        only; or if a nested study is to grow though its outer folds have been tested.
    """
    past = folder.record()
    if past.outer_of is not None:
        raise FerError(
            f"{past.study} is the search of one outer fold of a nested study; continue the whole "
            f"study with --resume {quote(past.outer_of)}."
        )
    if past.nested and trials > past.trials and folder.outer(1).headlines():
        raise FerError(
            f"nested study {past.study} cannot grow to {trials} trials, because the best of its "
            f"{past.trials} have had a sealed test; start a new study with --trials {trials}."
        )
    return past


def _record(place: int, outer: Folder, folder: Folder, record: Record, split: Protocol) -> Record:
    """Make the folder of an outer fold's search, and its record, from those of the study.

    The study may have been moved or renamed since the last time.
    """
    if not outer.space.exists():
        write_atomically(outer.space, folder.space.read_bytes())
    made = replace(
        record,
        study=f"{record.study}-outer{place}",
        nested=False,
        outer_of=record.study,
        home=str(resolved(outer.path)),
        leaderboards=str(outer.path.parent / "leaderboards"),
        protocol=split.to_json(),
        protocol_id=split.protocol_id,
        split_sha256=split.split_sha256,
    )
    outer.write_record(made)
    return made


def _announcement(place: int, places: int, split: Protocol) -> str:
    people = counted(len(split.sealed), "subject")
    return (
        f"outer fold {place} of {places}: {people} sealed, a search on {len(split.folds)} folds of "
        "the others"
    )


def _outcome(task: str, scores: dict[str, float | None]) -> str:
    low, high = scores["test_uar_low"], scores["test_uar_high"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return (
        f"nested score ({task}): test_uar {scores['test_uar']:.3f}{interval} on "
        f"{scores['test_subjects']} subjects"
    )
