"""SASE-FE: 50 subjects, each with six emotions once felt and once acted, at 100 frames a second.

Kulkarni et al., 2018, https://arxiv.org/abs/1707.04061; on request from the iCV lab, Tartu. Reads
`<any folders>/<subject>/<name>.MP4` with the names below in any case, which covers the full set
(FakeTrue_DB/<subject>) and the challenge's training part (Train/<subject>). Its Val and Test parts,
`31_ANGER.mp4`, name neither subject nor authenticity and are no part of the task. In the
distributed set 8/H2N2A, 8/H2N2C and 8/H2N2D are one and the same file; such clips are left out.
"""

import re
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import Authenticity
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol, in_blocks
from fer_core.data.reading import VIDEO_SUFFIXES, Faulty, Ignored, Labels, Verdict, by_place
from fer_core.errors import ProtocolError

# N2x: from neutral to x, felt. y2N2x: x acted while watching what elicits y.
CLIPS: dict[str, tuple[str, Authenticity]] = {
    "N2A": ("anger", "genuine"),
    "N2C": ("contempt", "genuine"),
    "N2D": ("disgust", "genuine"),
    "N2H": ("happiness", "genuine"),
    "N2S": ("sadness", "genuine"),
    "N2Sur": ("surprise", "genuine"),
    "H2N2A": ("anger", "acted"),
    "H2N2C": ("contempt", "acted"),
    "H2N2D": ("disgust", "acted"),
    "H2N2S": ("sadness", "acted"),
    "S2N2H": ("happiness", "acted"),
    "D2N2Sur": ("surprise", "acted"),
}
ALIASES = {"D2N2S": "D2N2Sur"}  # seen in copies; after disgust only surprise was acted
BY_LOWER_NAME = {
    **{name.lower(): labels for name, labels in CLIPS.items()},
    **{alias.lower(): CLIPS[name] for alias, name in ALIASES.items()},
}


UNNAMED = re.compile(r"\d+_(ANGER|CONTENTMENT|DISGUST|HAPPINESS|SADNESS|SURPRISE)")
# The challenge names the subjects of its training part only; that 41 to 45 are its validation and
# 46 to 50 its test is assumed from their order.
TRAIN, VAL, TEST = range(1, 41), range(41, 46), range(46, 51)


def manifest(root: Path) -> Manifest:
    """Read the folder of SASE-FE."""
    return by_place("sase_fe", root, partial(_judge, root))


def _judge(root: Path, path: Path) -> Verdict | None:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return None
    if UNNAMED.fullmatch(path.stem.upper()):
        return Ignored("the challenge names neither its subject nor whether it is genuine")
    labels = BY_LOWER_NAME.get(path.stem.lower())
    if labels is None:
        return Faulty(f"its name is none of {', '.join(CLIPS)}")
    if path.parent == root:
        return Faulty("it lies in no subject's folder")
    return Labels(subject=path.parent.name, emotion=labels[0], authenticity=labels[1])


def _challenge(manifest: Manifest) -> Protocol:
    """Divide the full set as the challenge did."""
    train, val, test = (tuple(str(n) for n in part) for part in (TRAIN, VAL, TEST))
    if others := set(manifest.subjects) ^ {*train, *val, *test}:
        raise ProtocolError(
            "the challenge divides subjects 1 to 50, and this copy lacks, or has besides: "
            f"{', '.join(sorted(others))}."
        )
    return Protocol(name="challenge", sealed=test, folds=(val,), train=train)


def _totals(source: str, subjects: int) -> Totals:
    classes = {emotion: 2 * subjects for emotion, _ in CLIPS.values()}
    return Totals(source=source, clips=12 * subjects, subjects=subjects, classes=classes)


DATASET = Dataset(
    manifest=manifest,
    totals=(_totals("Kulkarni et al. 2018", 50), _totals("the challenge's training part", 40)),
    protocols={
        "10fold": Published(
            about="ten folds of five subjects in ascending order; the project's own, for want of a "
            "published list",
            split=partial(in_blocks, folds=10),
        ),
        "challenge": Published(
            about="ChaLearn's real and fake expressions, ICCV 2017: 40 subjects train, 5 choose, 5 "
            "are sealed; taken as 1-40, 41-45 and 46-50, since it names those of train only",
            split=_challenge,
        ),
    },
)
