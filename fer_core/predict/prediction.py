"""Hold what a model reads in a video, and write it as text or as JSON.

`on_video` makes a `Prediction`; the command prints it, and `timeline` draws it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.arrays import Array
from fer_core.data.labels import AUTHENTICITIES, EMOTIONS


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The probabilities that a model gives to K classes, for the video and at N moments of it."""

    classes: tuple[str, ...]  # names of the K classes, such as "fear" or "fear_acted"
    clip: Array  # (K,) probabilities of the video as one clip, scored as in training
    seconds: Array  # (N,) times of the moments
    over_time: Array  # (N, K) probabilities at the moments
    has_face: Array  # (frames,) bool, whether the face was found in each frame
    times: Array  # (frames + 1,) seconds at which each frame begins, and the last one ends
    faces: Array  # (M, 224, 224, 3) aligned faces, at equal intervals over the video
    faces_seconds: Array  # (M,) times of the faces

    def emotions(self) -> dict[str, Array]:
        """Sum the probabilities by emotion: (1 + N,), the clip's and then the moments'."""
        return self._summed([_emotion_and_authenticity(name)[0] for name in self.classes])

    def authenticities(self) -> dict[str, Array]:
        """Sum them by genuine and acted, likewise; empty if the classes are emotions only."""
        return self._summed([_emotion_and_authenticity(name)[1] for name in self.classes])

    def _summed(self, names: Sequence[str | None]) -> dict[str, Array]:
        """Sum the columns of classes that have the same name; `names` has one for each class."""
        rows = np.vstack([self.clip[None], self.over_time])
        kinds = [name for name in dict.fromkeys(names) if name is not None]
        name_of_column = np.array([str(name) for name in names])
        return {kind: rows[:, name_of_column == kind].sum(axis=1) for kind in kinds}


def text(prediction: Prediction) -> str:
    """Write a prediction for people: the whole clip, then what is likeliest in each second."""
    has_face = prediction.has_face
    lines = [f"{has_face.sum()} of {len(has_face)} frames show the face"]
    kinds = {"emotion": prediction.emotions(), "authenticity": prediction.authenticities()}
    for name, scores in kinds.items():
        ranked = sorted(scores, key=lambda kind: -scores[kind][0])
        probabilities = ", ".join(f"{kind} {scores[kind][0]:.2f}" for kind in ranked)
        lines.append(f"{name:13} {probabilities or 'not known to this model: its task has none'}")
    seconds = prediction.seconds.astype(int)
    for second in np.unique(seconds):
        rows = 1 + np.flatnonzero(seconds == second)  # row 0 is the clip's
        cells = []
        for scores in filter(None, kinds.values()):
            best = max(scores, key=lambda kind: scores[kind][rows].mean())
            cells.append(f"{best} {scores[best][rows].mean():.2f}")
        lines.append(f"{second:4d} s        {', '.join(cells)}")
    return "\n".join(lines)


def in_json(prediction: Prediction) -> str:
    """Write a prediction for programs, as one line of JSON; its keys must not change."""
    kinds = {"emotion": prediction.emotions(), "authenticity": prediction.authenticities()}
    summary: dict[str, Any] = {
        "clip": {name: {k: float(v[0]) for k, v in s.items()} for name, s in kinds.items()},
        "seconds": prediction.seconds.tolist(),
        "over_time": {name: {k: v[1:].tolist() for k, v in s.items()} for name, s in kinds.items()},
    }
    return json.dumps(summary)


def _emotion_and_authenticity(name: str) -> tuple[str | None, str | None]:
    """Split a class's name into its emotion and its authenticity; None for a part that it lacks."""
    if name in AUTHENTICITIES:
        return None, name
    emotion, _, kind = name.rpartition("_")
    known = kind in AUTHENTICITIES and emotion in EMOTIONS
    return (emotion, kind) if known else (name, None)
