"""KDEF: 70 amateur actors, seven emotions, five angles, photographed in two sessions.

Lundqvist et al., 1998, https://kdef.se. Reads `AF01ANS.JPG` anywhere below the folder: session A or
B, subject F01, emotion AN, angle S. Both sessions show the same people, so F01 is one subject.
"""

import re
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import LETTERS
from fer_core.data.manifest import IMAGE_SUFFIXES
from fer_core.data.protocol import in_turn
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, by_place

EMOTIONS = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")
ANGLES = ("S", "HL", "HR", "FL", "FR")  # straight, half and full left and right
NAME = re.compile(rf"[AB]([FM]\d\d)({'|'.join(EMOTIONS)})({'|'.join(ANGLES)})")


def _judge(path: Path, *, angles: tuple[str, ...]) -> Verdict | None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    match = NAME.fullmatch(path.stem.upper())
    if match is None:
        return Faulty("its name is none of KDEF's, such as AF01ANS.JPG")
    subject, emotion, angle = match.groups()
    if angle not in angles:
        return Ignored("it is not frontal")
    return Labels(subject=subject, emotion=LETTERS[emotion])


def _dataset(name: str, angles: tuple[str, ...]) -> Dataset:
    classes = {LETTERS[emotion]: 2 * 70 * len(angles) for emotion in EMOTIONS}
    clips = sum(classes.values())
    about = (
        "ten folds of subjects, both sessions of each together, dealt out in ascending order; the "
        "project's own, for want of a published subject-independent one"
    )
    return Dataset(
        manifest=partial(by_place, name, judge=partial(_judge, angles=angles)),
        totals=(Totals(source="kdef.se", clips=clips, subjects=70, classes=classes),),
        protocols={"10fold": Published(about=about, split=partial(in_turn, folds=10))},
    )


FRONTAL = _dataset("kdef", ("S",))
ALL = _dataset("kdef_all", ANGLES)
