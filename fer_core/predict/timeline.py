"""Draw a prediction over time: faces on top, then the emotions, then the authenticity.

The command `python -m fer_core.predict` writes this picture beside its text.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_core.arrays import Array
from fer_core.predict.prediction import Prediction

# One colour for each emotion, the same in all pictures. The palette is that of Okabe and Ito 2008,
# which colour-blind people can tell apart.
COLOURS = {
    "anger": "#D55E00",
    "contempt": "#999999",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happiness": "#E69F00",
    "neutral": "#000000",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
    "genuine": "#009E73",
    "acted": "#D55E00",
}
INCHES, DPI = 11.0, 110  # width and resolution
SMOOTHED_SECONDS = 0.4  # the strong line averages over this time, because the scores tremble


def draw(prediction: Prediction, title: str, path: Path) -> None:
    """Draw a prediction to an image file, whose ending chooses the format."""
    panels = {"emotion": prediction.emotions(), "authenticity": prediction.authenticities()}
    panels = {name: scores for name, scores in panels.items() if scores}
    height = 1.9 + 3.0 * ("emotion" in panels) + 1.7 * ("authenticity" in panels)
    figure = Figure(figsize=(INCHES, height), dpi=DPI, layout="constrained")
    ratios = [1.0, *(3.0 if name == "emotion" else 1.5 for name in panels)]
    axes = np.atleast_1d(figure.subplots(len(ratios), 1, height_ratios=ratios, sharex=True))
    _faces(axes[0], prediction)
    for axis, (name, scores) in zip(axes[1:], panels.items(), strict=True):
        _panel(axis, prediction, name, scores)
    best = [max(scores, key=lambda kind: scores[kind][0]) for scores in panels.values()]
    summary = ", ".join(f"{k} {s[k][0]:.2f}" for k, s in zip(best, panels.values(), strict=True))
    figure.suptitle(f"{title}: as one clip {summary}", parse_math=False)  # a name may have a $
    axes[-1].set_xlabel("seconds")
    figure.savefig(path)


def _faces(axis: Any, prediction: Prediction) -> None:
    """Show faces side by side, each joined by a line to its moment on the axis of time."""
    end = prediction.times[-1]
    axis.set_xlim(0, end)
    axis.set_ylim(0, 1)
    width = end / len(prediction.faces)
    for i, face in enumerate(prediction.faces):
        axis.imshow(face, extent=((i + 0.04) * width, (i + 0.96) * width, 0, 1), aspect="auto")
        axis.plot(
            [prediction.faces_seconds[i], (i + 0.5) * width],
            [-0.12, 0],
            "-",
            color="#888888",
            linewidth=0.8,
            clip_on=False,
        )
    axis.set_xlim(0, end)
    axis.axis("off")


def _panel(axis: Any, prediction: Prediction, name: str, scores: dict[str, Array]) -> None:
    """Draw the probabilities of one kind over time, and shade the time without a face."""
    for kind, values in scores.items():
        colour = COLOURS.get(kind)
        line = axis.plot(prediction.seconds, values[1:], linewidth=0.6, alpha=0.35, color=colour)[0]
        label = f"{kind} ({values[0]:.2f})"
        smooth = _smoothed(prediction.seconds, values[1:])
        axis.plot(prediction.seconds, smooth, linewidth=2.0, color=line.get_color(), label=label)
    for start, end in _gaps(prediction):
        axis.axvspan(start, end, color="#dddddd", linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_ylabel(f"P({name})")
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, title="as one clip")


def _smoothed(seconds: Array, values: Array) -> Array:
    """Average each value with those of the moments around it."""
    near = np.abs(seconds[:, None] - seconds[None]) <= SMOOTHED_SECONDS / 2
    smooth: Array = (near * values[None]).sum(axis=1) / near.sum(axis=1)
    return smooth


def _gaps(prediction: Prediction) -> list[tuple[float, float]]:
    """List the intervals (start, end), in seconds, in which no face was found."""
    has_face = np.concatenate([[True], prediction.has_face, [True]]).astype(int)
    edges = prediction.times[np.flatnonzero(np.diff(has_face))]
    return [(start, end) for start, end in edges.reshape(-1, 2)]
