"""KDEF: 70 amateur actors with seven emotions, photographed from five angles in two sessions.

Source: Lundqvist et al., 1998, https://kdef.se. Layout: files anywhere below the folder with names
such as `AF01ANS.JPG`: session A (or B), subject F01, emotion AN, angle S. Both sessions show the
same people, so their pictures of F01 belong to one subject. `kdef` reads the frontal pictures only,
`kdef_all` all angles.
"""

import re
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import LETTERS
from fer_core.data.protocol import in_turn
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, by_place
from fer_core.storage.file_names import is_image_name

EMOTIONS = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")
ANGLES = ("S", "HL", "HR", "FL", "FR")  # straight; half left, half right; full left, full right
NAME = re.compile(rf"[AB]([FM]\d\d)({'|'.join(EMOTIONS)})({'|'.join(ANGLES)})")


def _judge(path: Path, *, angles: tuple[str, ...]) -> Verdict | None:
    if not is_image_name(path):
        return None
    match = NAME.fullmatch(path.stem.upper())
    if match is None:
        return Faulty("its name does not have the form AF01ANS.JPG")
    subject, emotion, angle = match.groups()
    if angle not in angles:
        return Ignored("it is not frontal")
    return Labels(subject=subject, emotion=LETTERS[emotion])


def _dataset(name: str, angles: tuple[str, ...]) -> Dataset:
    classes = {LETTERS[emotion]: 2 * 70 * len(angles) for emotion in EMOTIONS}
    clips = sum(classes.values())
    about = (
        "ten folds, to which subjects are dealt out in ascending order with both sessions; "
        "our own, because no subject-independent protocol is published"
    )
    return Dataset(
        manifest=partial(by_place, name, judge=partial(_judge, angles=angles)),
        totals=(Totals(source="kdef.se", clips=clips, subjects=70, classes=classes),),
        protocols={"10fold": Published(about=about, split=partial(in_turn, folds=10))},
    )


FRONTAL = _dataset("kdef", ("S",))
ALL = _dataset("kdef_all", ANGLES)
