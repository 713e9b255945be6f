"""SASE-FE: 50 subjects, each with six emotions once felt and once acted, at 100 frames a second.

Kulkarni et al., 2018, https://arxiv.org/abs/1707.04061; on request from the iCV lab, Tartu. Reads
`<any folders>/<subject>/<name>.MP4` with the names below in any case, which covers the full set
(FakeTrue_DB/<subject>) and the challenge's training part (Train/<subject>). The challenge's Val and
Test parts name neither subject nor authenticity and are left out. In the distributed set 8/H2N2A,
8/H2N2C and 8/H2N2D are one and the same file; such clips are left out too.
"""

from pathlib import Path

from fer_core.datasets.media import VIDEO_SUFFIXES, LeftOut, fault, media_below, without_duplicates
from fer_core.labels import Authenticity
from fer_core.manifest import Clip, Manifest, build, file_sha256

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


def manifest(root: Path) -> Manifest:
    """Read the folder of SASE-FE."""
    clips: list[Clip] = []
    left_out: LeftOut = []
    for path in media_below(root, VIDEO_SUFFIXES):
        name = path.relative_to(root).as_posix()
        labels = BY_LOWER_NAME.get(path.stem.lower())
        if labels is None:
            left_out.append((name, f"its name is none of {', '.join(CLIPS)}"))
        elif path.parent == root:
            left_out.append((name, "it lies in no subject's folder"))
        elif reason := fault(path):
            left_out.append((name, reason))
        else:
            clips.append(_clip(path, name, *labels))
    kept, duplicates = without_duplicates(clips)
    return build("sase_fe", root, kept, sorted(left_out + duplicates))


def _clip(path: Path, name: str, emotion: str, authenticity: Authenticity) -> Clip:
    return Clip(
        clip=name,
        subject=path.parent.name,
        emotion=emotion,
        authenticity=authenticity,
        path=path,
        sha256=file_sha256(path),
    )
