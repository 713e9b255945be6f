"""What a model reads in a video, and how it is said."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.data.labels import AUTHENTICITIES, EMOTIONS


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model reads in a video: N moments, K classes."""

    classes: tuple[str, ...]
    clip: Array  # (K,) of the video as one clip, as in training
    seconds: Array  # (N,) the moments
    over_time: Array  # (N, K)
    shown: Array  # (frames,) whether the face was found
    rate: float  # frames a second
    faces: Array  # (M, 224, 224, 3) aligned, evenly over the video
    faces_seconds: Array  # (M,)

    def emotions(self) -> dict[str, Array]:
        """Sum the classes of each emotion: the clip's probability, then that of each moment."""
        return self._summed([_parts(name)[0] for name in self.classes])

    def authenticities(self) -> dict[str, Array]:
        """Do the same for genuine and acted."""
        return self._summed([_parts(name)[1] for name in self.classes])

    def _summed(self, names: Sequence[str | None]) -> dict[str, Array]:
        rows = np.vstack([self.clip[None], self.over_time])
        kinds = [name for name in dict.fromkeys(names) if name is not None]
        of = np.array([str(name) for name in names])
        return {kind: rows[:, of == kind].sum(axis=1) for kind in kinds}


def text(found: Prediction) -> str:
    """Say a prediction to people: the clip as a whole, then each second."""
    lines = [f"{found.shown.sum()} of {len(found.shown)} frames show the face"]
    kinds = {"emotion": found.emotions(), "authenticity": found.authenticities()}
    for name, scores in kinds.items():
        ranked = sorted(scores, key=lambda kind: -scores[kind][0])
        said = ", ".join(f"{kind} {scores[kind][0]:.2f}" for kind in ranked)
        lines.append(f"{name:13} {said or 'not known to this model: its task has none'}")
    seconds = found.seconds.astype(int)
    for second in np.unique(seconds):
        at = 1 + np.flatnonzero(seconds == second)  # the first row is the clip's
        cells = []
        for scores in filter(None, kinds.values()):
            best = max(scores, key=lambda kind: scores[kind][at].mean())
            cells.append(f"{best} {scores[best][at].mean():.2f}")
        lines.append(f"{second:4d} s        {', '.join(cells)}")
    return "\n".join(lines)


def in_json(found: Prediction) -> str:
    kinds = {"emotion": found.emotions(), "authenticity": found.authenticities()}
    summary: dict[str, Any] = {
        "clip": {name: {k: float(v[0]) for k, v in s.items()} for name, s in kinds.items()},
        "seconds": found.seconds.tolist(),
        "over_time": {name: {k: v[1:].tolist() for k, v in s.items()} for name, s in kinds.items()},
    }
    return json.dumps(summary)


def _parts(name: str) -> tuple[str | None, str | None]:
    """Split a class into emotion and authenticity, either of which it may lack."""
    if name in AUTHENTICITIES:
        return None, name
    emotion, _, kind = name.rpartition("_")
    known = kind in AUTHENTICITIES and emotion in EMOTIONS
    return (emotion, kind) if known else (name, None)
