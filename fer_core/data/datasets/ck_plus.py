"""CK+: posed sequences from neutral to the peak of an expression; 327 have one of seven emotions.

Source: Lucey et al., 2010, https://doi.org/10.1109/CVPRW.2010.5543262; it is no longer distributed
since May 2025. Layout: a clip is a folder of frames, `cohn-kanade-images/S005/001/*.png`, and its
label is the number in `Emotion/S005/001/*_emotion.txt`. Sequences without such a file are ignored.
The copy CK+48, which others made, has three photographs of each labelled sequence instead: faces
cut out at 48 pixels, such as `happy/S010_006_00000013.png`. Each of them is a clip.
"""

import os
import re
from functools import partial
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes, spelled
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import in_turn
from fer_core.data.reading import (
    Faulty,
    Ignored,
    Labels,
    Verdict,
    by_place,
    by_table,
    coded,
    entries,
    walk,
)
from fer_core.data.tables.tables import find
from fer_core.storage.file_names import is_image_name

IMAGES = "cohn-kanade-images"
SEQUENCE = re.compile(r"S\d{3}/\d{3}")
PHOTOGRAPH = re.compile(r"(S\d{3})_\d{3}_\d{8}")  # of CK+48
EMOTIONS = codes("neutral anger contempt disgust fear happiness sadness surprise")
PEAK = ClipConfig(sampling="last", frames=3)
COUNTS = (0, 45, 18, 59, 25, 69, 28, 83)  # Lucey et al. 2010, table 3


def manifest(root: Path) -> Manifest:
    """Read the folder of CK+, or of its copy CK+48."""
    files = [path for path, _ in entries(root) if path.match("*_emotion.txt")]
    labels = {_sequence(path.parent): path for path in files}
    if not labels and find(root, IMAGES) is None:
        return by_place("ck_plus", root, _judge_photograph)
    judged = list(walk(root, partial(_judge, labels)))
    without_images = labels.keys() - {_sequence(path) for path, _ in judged}
    fault = Faulty(f"its images are not below {IMAGES}")
    return by_table("ck_plus", root, [*judged, *((labels[name], fault) for name in without_images)])


def _sequence(folder: Path) -> str:
    """Return the name of a sequence, as S005/001, which its images and its label share."""
    return f"{folder.parent.name}/{folder.name}"


def _judge(labels: dict[str, Path], path: Path) -> Verdict | None:
    name = _sequence(path)
    if not SEQUENCE.fullmatch(name) or IMAGES not in path.parts or not os.path.isdir(path):
        return None
    if name not in labels:
        return Ignored("it has no label")
    try:
        code = str(round(float(labels[name].read_text())))
    except (OSError, ValueError, OverflowError) as error:
        return Faulty(f"its label cannot be read: {error}")
    return coded(code, EMOTIONS, subject=path.parent.name)


def _judge_photograph(path: Path) -> Verdict | None:
    match, emotion = PHOTOGRAPH.fullmatch(path.stem.upper()), spelled(path.parent.name)
    if not is_image_name(path) or (match is None and emotion is None):
        return None
    if match is None:
        return Faulty("its name does not have the form S010_006_00000013.png")
    if emotion is None:
        return Faulty("its folder is not named after an emotion")
    return Labels(subject=match[1], emotion=emotion)


def _totals(source: str, clips_of_each: int) -> Totals:
    classes = {emotion: clips_of_each * count for emotion, count in CLASSES.items()}
    return Totals(source=source, clips=sum(classes.values()), subjects=118, classes=classes)


def _folds(number: int, source: str) -> Published:
    return Published(
        about=f"{number} folds, to which subjects are dealt out in ascending order; the last three "
        f"frames of each sequence ({source})",
        split=partial(in_turn, folds=number),
        clip=PEAK,
    )


CLASSES = dict(zip(EMOTIONS.values(), COUNTS, strict=True))
DATASET = Dataset(
    manifest=manifest,
    totals=(_totals("Lucey et al. 2010", 1), _totals("CK+48, three photographs of each", 3)),
    protocols={
        "10fold": _folds(10, "the lists of Emotion-FAN, Meng et al. 2019"),
        "8fold": _folds(8, "also usual, by the survey of Li and Deng 2020"),
    },
    peak=PEAK,
    given_faces=lambda manifest: manifest.stills,  # only CK+48 has photographs
)
