"""SASE-FE: 50 subjects, each with six emotions once genuine and once acted, at 100 frames a second.

Source: Kulkarni et al., 2018, https://arxiv.org/abs/1707.04061; on request from the iCV lab, Tartu.
Layout: `<any folders>/<subject>/<name>.MP4`, with the names below in any case. The full set
(`FakeTrue_DB/<subject>`) and the training part of the challenge (`Train/<subject>`) have it. Clips
of the challenge's Val and Test parts, such as `31_ANGER.mp4`, say neither subject nor authenticity
and are ignored. In the distributed set, 8/H2N2A, 8/H2N2C and 8/H2N2D are the same file, so they are
left out.
"""

import re
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import Authenticity
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol, in_blocks
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, by_place
from fer_core.errors import ProtocolError
from fer_core.storage.file_names import VIDEO_SUFFIXES

# N2x: from neutral to x, genuine. y2N2x: x is acted while the subject watches what elicits y.
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
ALIASES = {"D2N2S": "D2N2Sur"}  # a name seen in some copies; after disgust only surprise was acted
BY_LOWER_NAME = {
    **{name.lower(): labels for name, labels in CLIPS.items()},
    **{alias.lower(): CLIPS[name] for alias, name in ALIASES.items()},
}


UNNAMED = re.compile(r"\d+_(ANGER|CONTENTMENT|DISGUST|HAPPINESS|SADNESS|SURPRISE)")
# The challenge names the subjects of its training part only. We assume from their order that 41 to
# 45 are its validation part and 46 to 50 its test part.
TRAIN, VAL, TEST = range(1, 41), range(41, 46), range(46, 51)


def manifest(root: Path) -> Manifest:
    """Read the folder of SASE-FE."""
    return by_place("sase_fe", root, partial(_judge, root))


def _judge(root: Path, path: Path) -> Verdict | None:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return None
    if UNNAMED.fullmatch(path.stem.upper()):
        return Ignored("the challenge does not say its subject, nor whether it is genuine")
    labels = BY_LOWER_NAME.get(path.stem.lower())
    if labels is None:
        return Faulty(f"its name is none of {', '.join(CLIPS)}")
    if path.parent == root:
        return Faulty("it does not lie in the folder of a subject")
    return Labels(subject=path.parent.name, emotion=labels[0], authenticity=labels[1])


def _challenge(manifest: Manifest) -> Protocol:
    """Divide the full set as the challenge did.

    Raises: ProtocolError if a copy does not have exactly the subjects 1 to 50.
    """
    train, val, test = (tuple(str(n) for n in part) for part in (TRAIN, VAL, TEST))
    if others := set(manifest.subjects) ^ {*train, *val, *test}:
        raise ProtocolError(
            "protocol 'challenge' needs exactly the subjects 1 to 50; these are missing, or are "
            f"not among the 50: {', '.join(sorted(others))}."
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
            about="ten folds of five subjects each in ascending order; our own, because no list is "
            "published",
            split=partial(in_blocks, folds=10),
        ),
        "challenge": Published(
            about="the ChaLearn challenge on real and fake expressions, ICCV 2017: subjects 1-40 "
            "train, 41-45 choose, 46-50 are sealed (the last two are assumed, not published)",
            split=_challenge,
        ),
    },
)
