"""Rendered photographs for the rows, as a study's data, and the faces in its store.

All rows of `benchmarks/search.py` that need images use these, so that the benchmark runs without a
dataset. They are rendered once a run.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from fer_core.config import ONE_FRAME, StreamConfig
from fer_core.data.datasets import sase_fe
from fer_core.data.labels import AUTHENTICITIES
from fer_core.data.manifest import Clip, Manifest, build
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.storage.files import file_sha256
from fer_core.storage.processes import spread
from fer_core.synthetic.painter import paint_clip
from fer_core.synthetic.script import Script, subject_identity, write_script
from search.request import find_faces

SUBJECT_IMAGES = 8  # photographs of a subject, with six emotions among them
CHOOSING = 5  # every fifth subject is for validation; the others train
CORES = 2
VIEW = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5).view
_EMOTIONS = tuple(dict.fromkeys(emotion for emotion, _ in sase_fe.CLIPS.values()))
_SHOWN = tuple((e, a) for a, e in product(AUTHENTICITIES, _EMOTIONS))


def study_data(images: int, store: Path, *, landmarks: str = "data") -> StudyData:
    """Render the photographs that are missing; return them as data of one fold, none sealed."""
    manifest = _manifest(images)
    numbered = sorted(manifest.subjects, key=int)
    chosen = tuple(numbered[CHOOSING - 1 :: CHOOSING] or numbered[-1:])
    train = tuple(subject for subject in numbered if subject not in chosen)
    store.mkdir(parents=True, exist_ok=True)
    return StudyData(
        manifest=manifest,
        protocol=Protocol(name="one-fold", sealed=(), folds=(chosen,), train=train),
        task="emotion",
        seed=0,
        store=store,
        weights={},
        landmarks=landmarks,
        clip=ONE_FRAME,
    )


def faces(study_data: StudyData) -> None:
    """Compute the stages `faces` and `views` beforehand; only row 6 measures them."""
    engine, store = study_data.landmarks, study_data.store
    find_faces.faces(
        study_data.manifest, engine=engine, store=store, workers=CORES, progress=_silent
    )
    find_faces.views(
        study_data.manifest,
        view=VIEW,
        clip=ONE_FRAME,
        engine=engine,
        falls_back=False,
        store=store,
        workers=CORES,
        progress=_silent,
    )


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder of the photographs, which all rows of one run share."""
    return tempfile.TemporaryDirectory()


def _manifest(images: int) -> Manifest:
    root, subjects = Path(_folder().name), range(-(-images // SUBJECT_IMAGES))
    missing = [subject for subject in subjects if not (root / str(subject)).exists()]
    for _ in spread(partial(_render, root), missing, CORES):
        pass
    clips = [clip for subject in subjects for clip in _clips(root, subject)]
    return build("folder", root, clips[:images])


def _silent(done: int, shards: int) -> None:
    return


def _shown(subject: int) -> Iterator[tuple[str, str]]:
    for i in range(SUBJECT_IMAGES):
        yield _SHOWN[(subject * SUBJECT_IMAGES + i) % len(_SHOWN)]


def _path(root: Path, subject: int, emotion: str, authenticity: str) -> Path:
    return root / str(subject) / f"{emotion}-{authenticity}.png"


def _render(root: Path, subject: int) -> None:
    """Paint a subject at the height of each expression, and write the landmarks next to it."""
    identity = subject_identity(0, subject)
    for emotion, authenticity in _shown(subject):
        path = _path(root, subject, emotion, authenticity)
        path.parent.mkdir(parents=True, exist_ok=True)
        script = write_script(0, subject, emotion, authenticity, identity=identity)
        script = _apex(script)
        np.save(path.with_suffix(".npy"), script.landmarks)
        picture = cv2.cvtColor(next(paint_clip(script)), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(path), picture)


def _apex(script: Script) -> Script:
    """Cut a clip to the frame with the strongest expression."""
    apex = int(script.units.sum(axis=(1, 2)).argmax())
    one = slice(apex, apex + 1)
    shot = replace(
        script.shot, rotations=script.shot.rotations[one], origins=script.shot.origins[one]
    )
    return replace(script, units=script.units[one], points=script.points[one], shot=shot)


def _clips(root: Path, subject: int) -> Iterator[Clip]:
    for emotion, authenticity in _shown(subject):
        path = _path(root, subject, emotion, authenticity)
        landmarks = path.with_suffix(".npy")
        yield Clip(
            clip=str(path.relative_to(root)),
            subject=str(subject),
            emotion=emotion,
            authenticity=authenticity,
            path=path,
            sha256=file_sha256(path),
            landmarks=landmarks,
            landmarks_sha256=file_sha256(landmarks),
        )
