"""AffectNet: hundreds of thousands of photographs from the web, eight emotions.

Mollahosseini et al., 2017, https://doi.org/10.1109/TAFFC.2017.2740923; on request. Reads the first
release, `Manually_Annotated_file_lists/{training,validation}.csv` with the images of
`Manually_Annotated_Images`, or the later one, `{train,val}_set/images/<id>.jpg` with
`annotations/<id>_exp.npy`. What is labelled none, uncertain or no face is no part of the task. Each
image counts as a subject, since nobody knows whose faces they are. The test set is withheld and
papers report on the validation set, so that is the sealed test here.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import IMAGE_SUFFIXES, Manifest
from fer_core.data.protocol import official
from fer_core.data.reading import Faulty, Ignored, Verdict, by_place, by_table, coded
from fer_core.data.tables import find, need, rows

LISTS, IMAGES = "Manually_Annotated_file_lists", "Manually_Annotated_Images"
PARTS = {"training.csv": "train", "validation.csv": "test", "train_set": "train", "val_set": "test"}
EMOTIONS = codes("neutral happiness sadness surprise fear disgust anger contempt")
OTHERS = {"8": "none", "9": "uncertain", "10": "no face"}


def manifest(root: Path) -> Manifest:
    """Read the release that is there."""
    if find(root, LISTS) is None:
        return by_place("affectnet", root, _judge)
    return by_table("affectnet", root, _listed(root))


def _listed(root: Path) -> Iterator[tuple[Path, Verdict]]:
    images = need(root, IMAGES)
    for name in ("training.csv", "validation.csv"):
        for _, row in rows(need(root, f"{LISTS}/{name}"), ("subdirectory_filepath", "expression")):
            yield (
                images / row["subdirectory_filepath"],
                _leaving_file(row["expression"], PARTS[name]),
            )


def _judge(path: Path) -> Verdict | None:
    images, folder = path.parents[:2]
    if images.name != "images" or folder.name not in PARTS:
        return None
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    import numpy as np  # 0.1 s, which --help has not

    try:
        code = np.load(folder / "annotations" / f"{path.stem}_exp.npy").item()
    except (OSError, ValueError, EOFError) as error:
        return Faulty(f"its annotation cannot be read: {error}")
    return _leaving_file(str(code), PARTS[folder.name])


def _leaving_file(code: str, part: str) -> Verdict:
    with suppress(ValueError):  # 1.0 is 1, and what is no number is none of the codes
        code = f"{float(code):g}"
    if code in OTHERS:
        return Ignored(f"it is labelled {OTHERS[code]}")
    return coded(code, EMOTIONS, part=part)


OFFICIAL = Published(
    about="Mollahosseini et al. 2017's validation set sealed, a tenth of the training set held out "
    "to choose",
    split=partial(official, parts=10, folds=1),
)
DATASET = Dataset(
    manifest=manifest,
    totals=(
        Totals(source="Mollahosseini et al. 2017", clips=287_651 + 4_000),
        Totals(source="the release of eight labels", clips=287_651 + 3_999),
    ),
    protocols={"official": OFFICIAL},
)
