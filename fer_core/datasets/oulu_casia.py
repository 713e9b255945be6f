"""OULU-CASIA, visible light, strong illumination: 80 subjects, six emotions, neutral to peak.

Zhao et al., 2011, https://doi.org/10.1016/j.imavis.2011.07.002; on request from its authors. A clip
is a folder of frames, `[..]/VL/Strong/P001/Anger/000.jpeg`, at 25 frames a second. The folder given
may be any from `Strong` to three above `VL`.
"""

import re
from pathlib import Path

from fer_core.datasets.media import LeftOut, holds_image, without_duplicates
from fer_core.errors import DataError
from fer_core.manifest import Clip, Manifest, build, file_sha256

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
SUBJECT = re.compile(r"P\d{3}")
NESTINGS = ("Strong", "VL/Strong", "*/VL/Strong", "*/*/VL/Strong", "*/*/*/VL/Strong")


def manifest(root: Path) -> Manifest:
    """Read the folder of OULU-CASIA."""
    clips: list[Clip] = []
    left_out: LeftOut = []
    for subject in _subjects(_strong(root)):
        for path in sorted(p for p in subject.iterdir() if p.is_dir()):
            name = path.relative_to(root).as_posix()
            if path.name.lower() not in EMOTIONS:
                left_out.append((name, f"its name is none of {', '.join(EMOTIONS)}"))
            elif not holds_image(path):
                left_out.append((name, "it holds no .jpeg, .jpg or .png"))
            else:
                clips.append(_clip(path, name))
    kept, duplicates = without_duplicates(clips)
    return build("oulu_casia", root, kept, sorted(left_out + duplicates))


def _clip(path: Path, name: str) -> Clip:
    return Clip(
        clip=name,
        subject=path.parent.name,
        emotion=path.name.lower(),
        authenticity=None,
        path=path,
        sha256=file_sha256(path),
    )


def _strong(root: Path) -> Path:
    """Find the folder whose children are the subjects."""
    nested = [path for nesting in NESTINGS for path in sorted(root.glob(nesting))]
    found = [path for path in (root, *nested) if path.is_dir() and _subjects(path)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{root} holds no folder VL/Strong with subjects P001, P002, ..; give the folder "
            "B_OriginalImg of OULU-CASIA, or one around it."
        )
    places = ", ".join(str(path) for path in found)
    raise DataError(f"{root} holds VL/Strong more than once; give one of {places}.")


def _subjects(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if SUBJECT.fullmatch(p.name) and p.is_dir())
