"""JAFFE: ten Japanese women, each with seven expressions in three or four photographs.

Source: Lyons et al., 1998, https://doi.org/10.5281/zenodo.3451524. Layout: files anywhere below the
folder with names such as `KA.AN1.39.tiff`: subject KA, angry, first picture, number 39.
"""

import re
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import LETTERS
from fer_core.data.protocol import leave_one_out
from fer_core.data.reading import Faulty, Labels, Verdict, by_place
from fer_core.storage.file_names import is_image_name

NAME = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)\d\.\d+")


def _judge(path: Path) -> Verdict | None:
    if not is_image_name(path):
        return None
    match = NAME.fullmatch(path.stem.upper())
    if match is None:
        return Faulty("its name does not have the form KA.AN1.39.tiff")
    return Labels(subject=match[1], emotion=LETTERS[match[2]])


LOSO = Published(
    about="each of the ten subjects is a fold (usual, by the survey of Li and Deng 2020)",
    split=leave_one_out,
)
DATASET = Dataset(
    manifest=partial(by_place, "jaffe", judge=_judge),
    totals=(Totals(source="Lyons et al. 1998", clips=213, subjects=10),),
    protocols={"loso": LOSO},
)
