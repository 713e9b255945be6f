"""How an expression unfolds in time: the only difference between genuine and acted clips.

`script` draws a `Course` for each clip. At a relative time s in [0, 1], a frame shows the
expression at the intensity a(s) = Q_s(U(s)). The two halves of the face show it at a (1 + d) and
a (1 - d), where d = ASYMMETRY (2 D(s) - 1). Q_s is a quantile function: a ramp from 0 at s = 0 to 1
at s = 1, whose onset is later for a smaller U. U and D are independent and uniform on [0, 1] at
every s, in both classes. A single frame therefore has the same distribution in both classes, and
cannot tell them apart.

- genuine: U and D stay as drawn. The onset is slow and smooth, and the asymmetry is stable.
- acted: U and D run to and fro between 0 and 1. The onset is jerky, with bursts and holds, and the
  two halves of the face take turns in leading.

Because single frames must look alike, some properties cannot differ. The mean time at the apex, for
example, is the sum over frames of the probability to be at the apex, so it is equal in both
classes. What differs is how the time on the way to the apex is spent: in one smooth run, or in
bursts and holds.

Why U and D stay uniform: the phase is drawn uniformly from one period, and stays uniform modulo
that period whatever is added to it. Reflecting a run of constant speed at 0 and 1 is this phase,
folded. The classes differ only in the speed, which is zero for genuine clips; the same random
numbers are drawn for both. That deliberate smiles begin faster was found by Schmidt et al., 2006,
https://doi.org/10.1007/s10919-005-0003-x. They did not find more asymmetry in them: that it
changes over time, and how strong both effects are, was chosen for this project.
"""

from dataclasses import dataclass

import numpy as np

from fer_core.arrays import Array

ASYMMETRY = 0.65  # the leading half has up to 1.65 of the mean intensity, the other 0.35
LATEST_ONSET = 0.30  # relative time
RAMP = 0.50  # relative time from onset to apex
# Ranges of the speeds, in crossings of [0, 1] per clip. LATEST_ONSET times INTENSITY_SPEED is below
# 1, so that an intensity never falls. At ASYMMETRY_SPEED the asymmetry travels at least the
# length of its range in any third of a clip.
INTENSITY_SPEED = (2.0, 3.0)
ASYMMETRY_SPEED = (3.2, 4.5)


@dataclass(frozen=True)
class Course:
    """The intensity of an expression in each of T frames, and how its two halves differ."""

    intensity: Array  # (T,), 0 at the first frame, 1 at the last
    asymmetry: Array  # (T,) in [-ASYMMETRY, ASYMMETRY]; positive if the person's right half leads

    @property
    def halves(self) -> Array:
        """The intensity of the person's right and left half, (T, 2)."""
        right = self.intensity * (1 + self.asymmetry)
        return np.stack([right, 2 * self.intensity - right], axis=1)


def reflected(phase: float | Array, speed: float, times: Array) -> Array:
    """Give positions in [0, 1] of a point that moves at a constant speed between two walls.

    It starts at `phase` in [0, 2), where 1 to 2 means on the way back, and is reflected at 0 and 1.
    """
    place: Array = np.abs(np.mod(phase + speed * times + 1, 2) - 1)
    return place


def draw_course(rng: np.random.Generator, authenticity: str, frames: int) -> Course:
    """Draw how an expression goes from neutral to its apex in a clip of `frames` frames."""
    times = np.linspace(0, 1, frames)
    moving = 1.0 if authenticity == "acted" else 0.0
    phases = rng.uniform(0, 2, size=2)
    intensity_speed = moving * rng.uniform(*INTENSITY_SPEED)
    asymmetry_speed = moving * rng.uniform(*ASYMMETRY_SPEED)

    earliness = reflected(phases[0], intensity_speed, times)
    progress = np.clip((times - LATEST_ONSET * (1 - earliness)) / RAMP, 0, 1)
    lead = 2 * reflected(phases[1], asymmetry_speed, times) - 1
    return Course(progress * progress * (3 - 2 * progress), ASYMMETRY * lead)
