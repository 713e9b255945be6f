"""OULU-CASIA: 80 subjects with six emotions from neutral to peak, by two cameras in three lights.

Source: Zhao et al., 2011, https://doi.org/10.1016/j.imavis.2011.07.002; on request from the
authors. Layout: a clip is a folder of frames at 25 frames a second, such as
`VL/Strong/P001/Anger/000.jpeg`, or below `VL_Acropped` for cropped faces. The user may name any
folder from `Strong` up to three above `VL`. Each camera, light and crop is a dataset of its own;
`oulu_casia` is visible light (VL), strong.
"""

import itertools
import os
import re
from functools import partial
from pathlib import Path

from fer_core.config import ClipConfig
from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import in_blocks
from fer_core.data.reading import Faulty, Labels, Verdict, by_table, walk
from fer_core.errors import DataError
from fer_core.storage.file_names import is_junk

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
CAMERAS = ("VL", "NI", "VL_Acropped", "NI_Acropped")
LIGHTS = ("Strong", "Weak", "Dark")
SUBJECT = re.compile(r"P\d{3}")
ABOVE = ("", "*/", "*/*/", "*/*/*/")


def manifest(
    root: Path, *, name: str = "oulu_casia", camera: str = "VL", light: str = "Strong"
) -> Manifest:
    """Read the clips of one camera in one light."""
    return by_table(name, root, walk(_people(root, camera, light), _judge))


def _judge(path: Path) -> Verdict | None:
    if not SUBJECT.fullmatch(path.parent.name) or not os.path.isdir(path):
        return None
    if path.name.lower() not in EMOTIONS:
        return Faulty(f"its name is none of {', '.join(EMOTIONS)}")
    return Labels(subject=path.parent.name, emotion=path.name.lower())


def _people(root: Path, camera: str, light: str) -> Path:
    """Find the folder of one camera and light, whose subfolders are the subjects.

    Raises: DataError if there is no such folder, or more than one.
    """
    nested = [p for above in ABOVE for p in sorted(root.glob(f"{above}{camera}/{light}"))]
    nested = [p for p in nested if not any(map(is_junk, p.relative_to(root).parts))]
    candidates = (root, root / light, *nested)
    found = [path for path in candidates if path.is_dir() and _fits(path, camera, light)]
    if len(found) == 1:
        return found[0]
    wanted = f"{camera}/{light}"
    if found:
        folders = ", ".join(str(path) for path in found)
        raise DataError(
            f"{root} holds more than one folder of the clips {wanted}; use one of them as the "
            f"dataset: {folders}."
        )
    raise DataError(
        f"{root} holds no folder {wanted} with subjects P001, P002, ..; give a folder of "
        "OULU-CASIA, such as B_OriginalImg, or the folder that contains it."
    )


def _fits(folder: Path, camera: str, light: str) -> bool:
    """Return whether a folder holds subjects, and does not belong to another camera or light."""
    *_, outer, inner = ("", *folder.resolve().parts)
    named = (outer not in CAMERAS or outer == camera) and (inner not in LIGHTS or inner == light)
    return named and any(SUBJECT.fullmatch(path.name) for path in folder.iterdir())


def _name(camera: str, light: str) -> str:
    """Name a dataset: oulu_casia, oulu_casia_cropped, oulu_casia_ni_dark, ..."""
    lens, _, cropped = camera.partition("_A")
    usual = (lens, light) == ("VL", "Strong")
    parts = ("oulu_casia", cropped, *(() if usual else (lens.lower(), light.lower())))
    return "_".join(part for part in parts if part)


PEAK = ClipConfig(sampling="last", frames=3)
TOTALS = Totals(
    source="Zhao et al. 2011", clips=480, subjects=80, classes=dict.fromkeys(EMOTIONS, 80)
)
TEN_FOLD = Published(
    about="ten folds of eight subjects each in ascending order; the last three frames of each "
    "sequence (FN2EN, Ding et al. 2017, and others)",
    split=partial(in_blocks, folds=10),
    clip=PEAK,
)
DATASETS = {
    _name(camera, light): Dataset(
        manifest=partial(manifest, name=_name(camera, light), camera=camera, light=light),
        totals=(TOTALS,),
        protocols={"10fold": TEN_FOLD},
        peak=PEAK,
        given_faces=(lambda _: True) if camera.endswith("_Acropped") else None,
    )
    for camera, light in itertools.product(CAMERAS, LIGHTS)
}
