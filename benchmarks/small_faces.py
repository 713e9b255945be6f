"""Count in how many face crops of 48 pixels the landmark engine finds a face, by what it tries.

    python benchmarks/small_faces.py [--crops N] [--seed N]

The crops are made like FER2013's: rendered faces, cut close, grey, 48 x 48 pixels; of ten, seven
are upright, two are turned by up to 35 degrees, and one is cut by an edge of the picture. The exact
landmarks of each are known. dlib looks at each crop as it does at any picture. Where it finds no
face, it takes the closer looks of `landmarks.CLOSER_LOOKS`, one after another. Prints how many
faces each look finds, the share so far, and the median error of the points as a share of the eyes'
distance.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402  # after the path
import numpy as np  # noqa: E402

from fer_core.arrays import Array, Image, Points  # noqa: E402
from fer_core.faces import landmarks  # noqa: E402
from fer_core.synthetic.action_units import PROTOTYPES  # noqa: E402
from fer_core.synthetic.painter import paint_frame  # noqa: E402
from fer_core.synthetic.script import subject_identity, write_script  # noqa: E402

PIXELS = 48
LABELS = (*PROTOTYPES, "neutral")
KINDS = ("upright",) * 7 + ("turned",) * 2 + ("cut",)  # in turn


@dataclass(frozen=True)
class Crop:
    """A made face crop, (48, 48, 3) with equal channels, and its exact landmarks in it."""

    kind: str
    emotion: str
    subject: int
    image: Image
    points: Points


def made(count: int, seed: int = 0) -> Iterator[Crop]:
    """Render `count` crops, one for each emotion of as many people as it takes."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        subject, emotion = 1 + number // len(LABELS), LABELS[number % len(LABELS)]
        identity, played = subject_identity(seed, subject), emotion
        if emotion == "neutral":  # each clip begins with it
            played = LABELS[0]
        script = write_script(seed, subject, played, "genuine", identity=identity)
        frame = 0 if emotion == "neutral" else len(script.points) - 1
        kind = KINDS[number % len(KINDS)]
        image, points = _crop(paint_frame(script, frame), script.landmarks[frame], kind, rng)
        yield Crop(kind, emotion, subject, image, points)


def _crop(
    picture: Array, points: Points, kind: str, rng: np.random.Generator
) -> tuple[Image, Points]:
    """Cut a face out closely, and shrink it to 48 grey pixels."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    middle = (low + high) / 2 - (0, 0.06 * extent) + rng.normal(0, 0.03, 2) * extent
    if kind == "cut":
        middle = middle + rng.choice([-1, 1], 2) * rng.uniform(0.15, 0.35, 2) * extent
    degrees = rng.uniform(15, 35) * rng.choice([-1, 1]) if kind == "turned" else rng.normal(0, 4)
    scale = PIXELS / (extent * rng.uniform(1.0, 1.3))
    matrix = cv2.getRotationMatrix2D(tuple(map(float, middle)), degrees, scale)
    matrix[:, 2] += PIXELS / 2 - middle
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale) if scale < 1 else picture
    small = cv2.warpAffine(
        blurred, matrix, (PIXELS, PIXELS), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    grey = cv2.cvtColor(np.asarray(small, np.uint8), cv2.COLOR_RGB2GRAY)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2), moved


def _looks() -> list[tuple[str, landmarks.Finder]]:
    """Name each look, and give a finder that takes this look alone."""
    dlib = landmarks.Dlib("cpu")
    names = [
        f"{size} x the size{', with a border' if border else ''}"
        for size, border in landmarks.CLOSER_LOOKS
    ]
    engines = [landmarks.CloserLook(dlib, [look]) for look in landmarks.CLOSER_LOOKS]
    return [(n, landmarks.Finder(e)) for n, e in zip(names, engines, strict=True)]


def _error(found: Points, exact: Points) -> float:
    """Measure how far points are from the exact ones, as a share of the eyes' distance."""
    eyes = np.linalg.norm(exact[36:42].mean(axis=0) - exact[42:48].mean(axis=0))
    return float(np.linalg.norm(found - exact, axis=1).mean() / eyes)


def main() -> None:
    """Search each crop, look by look, until a face is found, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    looks, kinds = _looks(), Counter(KINDS[n % len(KINDS)] for n in range(given.crops))
    found: dict[str, Counter[str]] = {name: Counter() for name, _ in looks}
    errors: dict[str, list[float]] = {name: [] for name, _ in looks}
    seconds = 0.0
    for crop in made(given.crops, given.seed):
        started = time.perf_counter()
        hits = ((name, face) for name, each in looks if (face := each.search(crop.image)))
        hit = next(hits, None)
        seconds += time.perf_counter() - started
        if hit is not None:
            found[hit[0]][crop.kind] += 1
            errors[hit[0]].append(_error(hit[1].points, crop.points))
    so_far: Counter[str] = Counter()
    print(f"{'a face is found at':34}{'more':>6}{'in all':>8}  of each kind; median error")
    for name, counts in found.items():
        so_far += counts
        shares = ", ".join(f"{kind} {so_far[kind] / kinds[kind]:.1%}" for kind in kinds)
        share = so_far.total() / given.crops
        error = f"{np.median(errors[name]):.3f}" if errors[name] else "-"
        print(f"{name:34}{counts.total():6}{share:8.2%}  {shares}; {error}")
    print(f"{1000 * seconds / given.crops:.1f} ms a crop")


if __name__ == "__main__":
    main()
