"""Count in how many face crops of 48 pixels the landmark engine finds a face, by what it tries.

    python benchmarks/small_faces.py [--crops N] [--seed N]

The crops are made like FER2013's: rendered faces, cut close, grey, 48 x 48 pixels; of ten, seven
are upright, two are turned by up to 35 degrees, and one is cut by an edge of the picture. The exact
landmarks of each are known. Prints, for each kind, the share in which a face is found: by the
engine as it is for pictures of any size, and by the one that looks more closely at cut-out faces.
Also prints the median error of the points, as a share of the eyes' distance, and the time a crop.
"""

import argparse
import sys
import time
from collections import defaultdict
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


def main() -> None:
    """Make the crops, search each with each engine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    errors, seconds = defaultdict(list), defaultdict(float)
    finders = {name: landmarks.load_finder(name) for name in ("dlib", "dlib-closer")}
    for crop in made(arguments.crops, arguments.seed):
        for name, finder in finders.items():
            started = time.perf_counter()
            face = finder.search(crop.image)
            seconds[name] += time.perf_counter() - started
            found[name][crop.kind].append(face is not None)
            if face is not None:
                eyes = np.linalg.norm(crop.points[36:42].mean(0) - crop.points[42:48].mean(0))
                away = np.linalg.norm(face.points - crop.points, axis=1).mean()
                errors[name].append(float(away / eyes))
    for name in finders:
        total = [each for kind in found[name].values() for each in kind]
        shares = ", ".join(f"{kind} {np.mean(hits):.1%}" for kind, hits in found[name].items())
        print(
            f"{name}: a face in {sum(total)} of {len(total)} crops "
            f"({np.mean(total):.2%}: {shares}), "
            f"median error {np.median(errors[name]):.3f} of the eyes' distance, "
            f"{1000 * seconds[name] / len(total):.1f} ms a crop"
        )


if __name__ == "__main__":
    main()
