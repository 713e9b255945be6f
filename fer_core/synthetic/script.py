"""Write the script of a clip: decide everything that happens in it before a pixel is painted.

`painter` paints the script and `writing` stores its landmarks. A script is derived only from the
seed, the subject, the emotion and the authenticity. A subject's clips therefore do not depend on
how many subjects are rendered, or in which order.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array
from fer_core.data.labels import AUTHENTICITIES, EMOTIONS, Authenticity
from fer_core.synthetic import action_units
from fer_core.synthetic.action_units import NUMBERS, PROTOTYPES, UNPAIRED, Prototype
from fer_core.synthetic.camera import Shot, draw_shot
from fer_core.synthetic.dynamics import Course, draw_course
from fer_core.synthetic.identity import Identity, draw_identity

SHORTEST, LONGEST = 16, 40  # frames per clip
# Pairs of landmarks, upper and lower, of the lids and inner lips, which stop where they touch.
UPPER = (37, 38, 43, 44, 61, 62, 63)
LOWER = (41, 40, 47, 46, 67, 66, 65)
IDENTITY_STREAM, CLIP_STREAM = 0, 1  # keep the random numbers of people and clips apart


@dataclass(frozen=True)
class Script:
    """One clip: who is filmed, what the face does, and how it is filmed."""

    identity: Identity
    units: Array  # (T, 2, units), intensities: the person's right half, then the left
    points: Array  # (T, points, 3), in the order of `mean_face.points()`
    shot: Shot
    rng: np.random.Generator  # the random numbers for the painting

    @property
    def landmarks(self) -> Array:
        """The exact landmarks (T, 68, 2) float32, in pixels."""
        tracks = [self.shot.project(t, face[:68]) for t, face in enumerate(self.points)]
        return np.stack(tracks).astype(np.float32)


def subject_identity(seed: int, subject: int) -> Identity:
    """Draw the person of that number, who is the same in all of their clips."""
    return draw_identity(np.random.default_rng([seed, IDENTITY_STREAM, subject]))


def write_script(
    seed: int, subject: int, emotion: str, authenticity: Authenticity, *, identity: Identity
) -> Script:
    """Draw one clip of a subject."""
    labels = [EMOTIONS.index(emotion), AUTHENTICITIES.index(authenticity)]
    rng = np.random.default_rng([seed, CLIP_STREAM, subject, *labels])
    frames = int(rng.integers(SHORTEST, LONGEST + 1))
    course = draw_course(rng, authenticity, frames)
    units = _unit_intensities(rng, PROTOTYPES[emotion], course) * identity.expressiveness
    shift = np.tensordot(units.reshape(frames, -1), action_units.displacements(), axes=1)
    points = identity.points + shift
    return Script(identity, units, _closed(points), draw_shot(rng, frames), rng)


def _unit_intensities(rng: np.random.Generator, prototype: Prototype, course: Course) -> Array:
    """Draw how strongly each action unit acts in each frame, (T, 2, units).

    The second axis is the right and the left half of the face.
    """
    strength = np.zeros((2, len(NUMBERS)))
    wanted = {**prototype.always, **prototype.sometimes}
    factors = rng.uniform(0.6, 1.15, size=len(wanted))
    occurs = rng.random(size=len(wanted)) < 0.5
    for (unit, intensity), factor, chosen in zip(wanted.items(), factors, occurs, strict=True):
        if unit in prototype.always or chosen:
            strength[:, NUMBERS.index(unit)] = intensity * factor
    strength[rng.integers(2)] *= prototype.weak_side
    intensities: Array = course.halves[:, :, None] * strength
    whole = [NUMBERS.index(unit) for unit in UNPAIRED]
    intensities[:, :, whole] = intensities[:, :, whole].mean(axis=1, keepdims=True)
    return intensities


def _closed(points: Array) -> Array:
    """Stop lids and lips where they meet, so that they do not pass through each other."""
    overlap = np.maximum(points[:, UPPER, 1] - points[:, LOWER, 1], 0)
    points[:, UPPER, 1] -= overlap / 2
    points[:, LOWER, 1] += overlap / 2
    return points
