"""How an expression unfolds: genuine and acted clips differ here, and nowhere else.

At a relative time s in [0, 1] a frame shows the expression at the intensity a(s) = Q_s(U(s)), and
the two halves of the face show it at a (1 + d) and a (1 - d), where d = ASYMMETRY (2 D(s) - 1).
Q_s is a quantile function: a ramp from 0 at s = 0 to 1 at s = 1 whose onset is the later the
smaller U. U and D are independent and uniform on [0, 1] at every s, in both classes, so
every single frame has one and the same distribution in both: no still can tell them.

- genuine: U and D stay as drawn. The onset is slow and smooth, the asymmetry stable.
- acted: U and D run to and fro between 0 and 1. The onset is jerky, with bursts and holds, and now
  one half of the face leads, now the other.

Stills that are alike put a bound on what can differ: how long a clip is at its apex is, on average,
the sum over its frames of the chance to be at the apex, and so equal in both classes. It is the
time spent at each intensity on the way there that differs, in one run or in bursts and holds.

A process that runs at a constant speed and is reflected at 0 and 1 stays uniform, because its
unfolded phase, drawn uniformly from one period, is so modulo that period whatever is added to it.
The classes differ in speed alone, zero or not; every number is drawn in both. That deliberate
smiles set in faster is Schmidt et al., 2006, https://doi.org/10.1007/s10919-005-0003-x; they found
no more asymmetry in them: that it wanders, and the strength of both effects, is chosen here.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array

ASYMMETRY = 0.65  # the leading half at most 1.65, the other 0.35 of the mean intensity
LATEST_ONSET = 0.30  # in relative time
RAMP = 0.50  # relative time from onset to apex
# Ranges of the speed in crossings of [0, 1] a clip. LATEST_ONSET times the first stays below 1, so
# that an intensity never falls; a third of a clip always shows the second cross its range.
INTENSITY_SPEED = (2.0, 3.0)
ASYMMETRY_SPEED = (3.2, 4.5)


@dataclass(frozen=True)
class Course:
    """Intensity of an expression in every frame, (T,), and the half of the face that leads."""

    intensity: Array  # 0 at the first frame, 1 at the last
    asymmetry: Array  # in [-ASYMMETRY, ASYMMETRY]; positive: the person's right half leads

    @property
    def halves(self) -> Array:
        """Intensity of the person's right and left half, (T, 2)."""
        right = self.intensity * (1 + self.asymmetry)
        return np.stack([right, 2 * self.intensity - right], axis=1)


def reflected(phase: float | Array, speed: float, times: Array) -> Array:
    """Run from `phase`, in [0, 2), at a constant speed, reflected at 0 and 1; in [0, 1]."""
    place: Array = np.abs(np.mod(phase + speed * times + 1, 2) - 1)
    return place


def draw_course(rng: np.random.Generator, authenticity: str, frames: int) -> Course:
    """Draw how a clip of `frames` frames goes from neutral to the apex."""
    times = np.linspace(0, 1, frames)
    moving = 1.0 if authenticity == "acted" else 0.0
    phases = rng.uniform(0, 2, size=2)
    intensity_speed = moving * rng.uniform(*INTENSITY_SPEED)
    asymmetry_speed = moving * rng.uniform(*ASYMMETRY_SPEED)

    earliness = reflected(phases[0], intensity_speed, times)
    progress = np.clip((times - LATEST_ONSET * (1 - earliness)) / RAMP, 0, 1)
    lead = 2 * reflected(phases[1], asymmetry_speed, times) - 1
    return Course(progress * progress * (3 - 2 * progress), ASYMMETRY * lead)
