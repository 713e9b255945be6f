"""Test the model of a row on another dataset, for `search.replay --test-on`.

The model brings its task, its classes and its settings along. `prepare` checks that the dataset can
be read in the same way and shares no clip with the study; `score` trains the model and scores it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_core.config import GIVEN, Config
from fer_core.data import datasets
from fer_core.data.labels import AUTHENTICITIES
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces.landmarks import base_engine, closer
from fer_core.machine import make_deterministic
from fer_core.predict import on_dataset
from fer_core.trial import feasibility
from fer_core.trial.evaluate import refit
from search.request import data, find_faces, settings
from search.results import cross_dataset
from search.results.cross_dataset import CrossTest
from search.study import parts

if TYPE_CHECKING:
    from search.screen.progress import Progress

_LEAST_CLASSES = 2  # that both datasets have; one alone has no recall to average


def prepare(
    config: Config,
    trained_on: StudyData,
    dataset: str,
    root: Path,
    progress: "Progress",
    rules: Mapping[str, Any] | None = None,
    faces: str = "auto",
) -> StudyData:
    """Load a dataset as the data that a row's model is tested on, and find its faces.

    All its subjects are sealed. Classes are the same where their names are; clips of a class that
    the model does not know stay in the manifest and are not scored. `rules` are what users say of
    their own files, as `own_files.rules` gives them; `faces` is the option --faces.

    Raises: FerError, in one line, if the dataset cannot be read, shows fewer than two classes of
        the model, shares clips with the data of the study, or lacks what the model reads.
    """
    settings.check_names(dataset)
    manifest = datasets.load(dataset, root, **(rules or {}))
    progress.print_all(manifest.remarks)
    trained_on = replace(trained_on, task=config.task or trained_on.task)
    _check_apart(manifest, trained_on)
    _check_readable(manifest, trained_on)
    given = data.given_faces(manifest, faces)
    engine = closer(trained_on.landmarks) if given else base_engine(trained_on.landmarks)
    other = replace(trained_on, manifest=manifest, streams=(), given_faces=given, landmarks=engine)
    if not given and other.missing == "fallback":  # a whole picture is no face here
        other = replace(other, missing="wrong")
    if not given and any(stream.view == GIVEN for stream in config.images):
        progress.print(
            "the model was trained on cut-out faces: it sees the faces that are found here, cut "
            "out as the view 'crop'"
        )
    _check_classes(other, trained_on.classes, progress)
    shown = {c.subject for c in manifest.clips if other.label(c) in trained_on.classes}
    sealed = Protocol(name="cross-dataset", sealed=tuple(sorted(shown)), folds=())
    other = replace(other, protocol=sealed)
    feasibility.check(config, other)
    return find_faces.prepare(other, trained_on.max_missing, progress)


def score(
    test: CrossTest, config: Config, trained_on: StudyData, progress: "Progress"
) -> dict[str, Any]:
    """Train a row's model as for its export, score it on the other dataset, and keep the score."""
    make_deterministic(threads=1)  # what a trial has by default
    started_at, before = parts.now(), cross_dataset.tested_before(test)
    progress.print_all(before.lines())
    scored = on_dataset.score(refit(config, trained_on), test.data)
    return cross_dataset.write(
        test, scored, started_at=started_at, opened_before=before.opened_before
    )


def _check_apart(manifest: Manifest, trained_on: StudyData) -> None:
    """Refuse clips that the study has, too: the model may have been trained on them."""
    known = {clip.sha256 for clip in trained_on.manifest.clips}
    shared = [clip.clip for clip in manifest.clips if clip.sha256 in known]
    if shared:
        raise DataError(
            f"{len(shared)} of the {len(manifest.clips)} clips below {manifest.root} are also in "
            f"the data of the study, such as '{shared[0]}'; test on a dataset that shares none."
        )


def _check_readable(manifest: Manifest, trained_on: StudyData) -> None:
    """Refuse a dataset without the labels or the landmarks that the model needs."""
    unlabelled = next((clip.clip for clip in manifest.clips if clip.authenticity is None), None)
    if trained_on.task != "emotion" and unlabelled is not None:
        raise DataError(
            f"the row's task is '{trained_on.task}', and clip '{unlabelled}' below {manifest.root} "
            f"is not labelled {' or '.join(AUTHENTICITIES)}; test a row whose task is 'emotion'."
        )
    without = next((clip.clip for clip in manifest.clips if clip.landmarks is None), None)
    if trained_on.landmarks == "data" and without is not None:
        raise DataError(
            f"the model was trained on landmarks that came with its dataset, and clip '{without}' "
            f"below {manifest.root} comes without; test a row of a study with --landmarks dlib."
        )


def _check_classes(other: StudyData, known: Sequence[str], progress: "Progress") -> None:
    """Refuse data with too few of the model's classes, and say which clips are left out."""
    clips = Counter(other.label(clip) for clip in other.manifest.clips)
    dataset = other.manifest.dataset
    shared = [name for name in known if name in clips]
    if len(shared) < _LEAST_CLASSES:
        raise DataError(
            f"the model tells apart {', '.join(known)}; {other.manifest.root} shows "
            f"{', '.join(sorted(clips))}: that is {len(shared)} shared classes, and "
            f"{_LEAST_CLASSES} are needed."
        )
    for name in sorted(set(clips) - set(known)):
        progress.print(f"left out {clips[name]} clips of '{name}', which the model does not know")
    missing = [name for name in known if name not in clips]
    if missing:
        progress.print(f"{dataset} does not show {', '.join(missing)}: UAR is over the others")
