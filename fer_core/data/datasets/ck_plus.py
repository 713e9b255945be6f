"""CK+: posed sequences from neutral to the peak of an expression; 327 have one of seven emotions.

Source: Lucey et al., 2010, https://doi.org/10.1109/CVPRW.2010.5543262; it is no longer distributed
since May 2025. Layout: a clip is a folder of frames, `cohn-kanade-images/S005/001/*.png`, and its
label is the number in `Emotion/S005/001/*_emotion.txt`. Sequences without such a file are ignored.
"""

import os
import re
from functools import partial
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import in_turn
from fer_core.data.reading import Faulty, Ignored, Verdict, by_table, coded, entries, walk

IMAGES = "cohn-kanade-images"
SEQUENCE = re.compile(r"S\d{3}/\d{3}")
EMOTIONS = codes("neutral anger contempt disgust fear happiness sadness surprise")
PEAK = ClipConfig(sampling="last", frames=3)
COUNTS = (0, 45, 18, 59, 25, 69, 28, 83)  # Lucey et al. 2010, table 3


def manifest(root: Path) -> Manifest:
    """Read the folder of CK+."""
    files = [path for path, _ in entries(root) if path.match("*_emotion.txt")]
    labels = {_sequence(path.parent): path for path in files}
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
    totals=(Totals(source="Lucey et al. 2010", clips=327, subjects=118, classes=CLASSES),),
    protocols={
        "10fold": _folds(10, "the lists of Emotion-FAN, Meng et al. 2019"),
        "8fold": _folds(8, "also usual, by the survey of Li and Deng 2020"),
    },
    peak=PEAK,
)
