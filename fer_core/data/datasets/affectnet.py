"""AffectNet: hundreds of thousands of photographs from the web, with eight emotions.

Source: Mollahosseini et al., 2017, https://doi.org/10.1109/TAFFC.2017.2740923; on request from the
authors. Layout: the first release has `Manually_Annotated_file_lists/{training,validation}.csv` and
the images in `Manually_Annotated_Images`; the later one has `{train,val}_set/images/<id>.jpg` with
`{train,val}_set/annotations/<id>_exp.npy`. Images labelled none, uncertain or no face are ignored.
Each image counts as its own subject, because the people are unknown. The authors do not publish
their test set and papers report the validation set, so the validation set is the sealed test here.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import official
from fer_core.data.reading import Faulty, Ignored, Verdict, by_place, by_table, coded
from fer_core.data.tables.tables import find, need, rows
from fer_core.storage.file_names import is_image_name
from fer_core.storage.tables.table_paths import TablePaths

LISTS, IMAGES = "Manually_Annotated_file_lists", "Manually_Annotated_Images"
PARTS = {"training.csv": "train", "validation.csv": "test", "train_set": "train", "val_set": "test"}
CODE = "expression"
EMOTIONS = codes("neutral happiness sadness surprise fear disgust anger contempt")
OTHERS = {"8": "none", "9": "uncertain", "10": "no face"}


def manifest(root: Path) -> Manifest:
    """Read whichever of the two releases the folder holds."""
    if find(root, LISTS) is None:
        return by_place("affectnet", root, _judge)
    return by_table("affectnet", root, _listed(root))


def _listed(root: Path) -> Iterator[tuple[Path, Verdict]]:
    images = need(root, IMAGES)
    paths = TablePaths(images)
    for name in ("training.csv", "validation.csv"):
        for line, row in rows(need(root, f"{LISTS}/{name}"), ("subdirectory_filepath", CODE)):
            place = f"{name}, line {line}"
            path = paths.find(row["subdirectory_filepath"])
            if path is None:
                why = f"its path '{row['subdirectory_filepath']}' leads to no file of {IMAGES}"
                yield images / place, Faulty(why, place)
            else:
                yield path, _labelled(row[CODE], PARTS[name], place)


def _judge(path: Path) -> Verdict | None:
    images, folder = path.parents[:2]
    if images.name != "images" or folder.name not in PARTS:
        return None
    if not is_image_name(path):
        return None
    import numpy as np  # takes 0.1 s to import, too long for --help

    try:
        code = np.load(folder / "annotations" / f"{path.stem}_exp.npy").item()
    except (OSError, ValueError, EOFError) as error:
        return Faulty(f"its annotation cannot be read: {error}")
    return _labelled(str(code), PARTS[folder.name])


def _labelled(code: str, part: str, place: str | None = None) -> Verdict:
    """Label an image by its code, which may be written 1, 1.0 or 1,0."""
    with suppress(ValueError):  # a code that is not a number is left for `coded` to refuse
        code = f"{float(code.replace(',', '.')):g}"
    if code in OTHERS:
        return Ignored(f"it is labelled {OTHERS[code]}")
    return coded(code, EMOTIONS, part=part, place=place)


def _cut_out(manifest: Manifest) -> bool:
    """Say whether the copy is the later release, whose images of 224 pixels are cut-out faces."""
    return find(manifest.root, LISTS) is None


OFFICIAL = Published(
    about="the validation set of Mollahosseini et al. 2017 is sealed, a tenth of the training set "
    "chooses, and the rest trains",
    split=partial(official, parts=10, folds=1),
)
DATASET = Dataset(
    manifest=manifest,
    totals=(
        Totals(source="Mollahosseini et al. 2017", clips=287_651 + 4_000),
        Totals(source="the release of eight labels", clips=287_651 + 3_999),
    ),
    protocols={"official": OFFICIAL},
    given_faces=_cut_out,
    anonymous=True,
)
