"""How fast faces are prepared: each row is a ratio of times, measured side by side in this run.

    python -m benchmarks.faces [--json FILE] [--video FILE]

frontalize      One face after the other with NumPy and OpenCV, over our batch with torch: soft
                symmetry, from uint8 images and points to uint8 views. At least 5, on one thread,
                which is what a worker has; medians of repeats that take turns.
landmark_share  Decoding, aligning and frontalizing a clip, over finding its points with dlib. At
                most 0.20.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fer_core.datasets.rendering.painter import paint_clip
from fer_core.datasets.rendering.script import subject_identity, write_script
from fer_core.faces import landmarks, video
from fer_core.faces.surface import Surface, reference
from fer_core.faces.views import views
from fer_core.labels import AUTHENTICITIES

CLIP = Path(__file__).parents[2] / "shared" / "data" / "video" / "WolfgangLanger_Pexels.mp4"
REPEATS = 9
FACE_PIXELS = 320  # side of the crops that the store keeps
YAW = 0.45  # radians: one side is hidden, so that symmetry has work to do
SIDE = 224

Image = NDArray[np.uint8]
Floats = NDArray[np.floating]
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast faces are prepared.")
    parser.add_argument("--json", type=Path, help="write the ratios there, by name")
    parser.add_argument("--video", type=Path, default=CLIP, help="a clip that shows a face")
    options = parser.parse_args()
    ratios = {"frontalize": frontalize(threads=1)}
    frontalize(threads=2)
    if options.video.is_file():
        ratios["landmark_share"] = landmark_share(options.video)
    if options.json:
        options.json.write_text(json.dumps(ratios, indent=2) + "\n")


def frontalize(*, threads: int) -> float:
    """Print and give how many times faster a batch is than one face after the other."""
    images, points = turned_faces()
    surface = reference()
    skin = without_eyes(surface)  # the published port reads it from a file

    def one_by_one() -> None:
        for image, at in zip(images, points, strict=True):
            frontal_with_opencv(image, at, surface, skin)

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        theirs, ours = medians(one_by_one, lambda: views(images, points, view="frontal_soft"))
    milliseconds = [1000 * seconds / len(images) for seconds in (theirs, ours)]
    print(
        f"frontalize, {threads} thread(s): NumPy and OpenCV {milliseconds[0]:.2f} ms a face, ours "
        f"{milliseconds[1]:.2f} ms, ratio {theirs / ours:.1f}"
    )
    return theirs / ours


def landmark_share(path: Path) -> float:
    """Print and give what all else takes over what dlib takes, for the same frames, one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    finder = landmarks.engine("dlib")
    frames, decoding = measured(lambda: list(video.frames(path)))
    found, searching = measured(lambda: [finder(frame) for frame in frames])
    images = [frame for frame, at in zip(frames, found, strict=True) if at is not None]
    points = np.stack([at for at in found if at is not None])
    _, aligning = measured(lambda: views(images, points, view="aligned"))
    _, frontalizing = measured(lambda: views(images, points, view="frontal_soft"))
    share = (decoding + aligning + frontalizing) / searching
    print(
        f"landmark_share: {len(frames)} frames, decoding {decoding:.2f} s, aligning "
        f"{aligning:.2f} s, frontalizing {frontalizing:.2f} s; dlib, each frame searched whole, "
        f"{searching:.2f} s; share {share:.2f}"
    )
    return share


def medians(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each, their repeats interleaved, after one call to warm up."""
    taken = np.array([[measured(call)[1] for call in calls] for _ in range(REPEATS + 1)])
    return [float(seconds) for seconds in np.median(taken[1:], axis=0)]


def measured(call: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    made = call()
    return made, time.perf_counter() - started


def turned_faces() -> tuple[list[Image], Floats]:
    """Frames of a rendered clip whose head is turned aside, and their exact points."""
    clip = write_script(0, 0, "happiness", AUTHENTICITIES[0], identity=subject_identity(0, 0))
    cos, sin = np.cos(YAW), np.sin(YAW)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    clip = replace(clip, shot=replace(clip.shot, rotations=clip.shot.rotations @ turn))
    frames = list(paint_clip(clip))
    scale = FACE_PIXELS / frames[0].shape[0]
    images = [np.asarray(cv2.resize(f, (FACE_PIXELS,) * 2), np.uint8) for f in frames]
    return images, clip.landmarks * scale


def frontal_with_opencv(image: Image, points: Floats, surface: Surface, skin: Floats) -> Image:
    """Frontalize one face with soft symmetry, as Hassner et al. do, by whole arrays.

    The steps and constants are those of `../shared/domain.md`, section 6; the code is our own.
    """
    camera = np.array([[900.0, 0, 160], [0, 900.0, 160], [0, 0, 1]])
    behind = [1.0, 1.0, -1.0]  # OpenCV's z points away from the camera
    model = surface.landmarks[17:] * behind
    _, turn, shift = cv2.solvePnP(model, points[17:].astype(np.float64), camera, None)
    projection = camera @ np.column_stack([cv2.Rodrigues(turn)[0], shift])
    solid = np.column_stack([surface.points.reshape(-1, 3) * behind, np.ones(SIDE * SIDE)])
    projected = solid @ projection.T
    where = (projected[:, :2] / projected[:, 2:]).astype(np.float32).reshape(SIDE, SIDE, 2)
    raw = cv2.remap(image, where, None, cv2.INTER_LINEAR)
    raw *= surface.mask[..., None]

    height, width = image.shape[:2]
    columns, rows = np.rint(where).astype(int).transpose(2, 0, 1)
    inside = surface.mask & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = (rows * width + columns)[inside]
    _, inverse, hits = np.unique(places, return_inverse=True, return_counts=True)
    counts = np.zeros((SIDE, SIDE))
    counts[inside] = hits[inverse]
    counts = cv2.GaussianBlur(counts, (15, 15), 30)

    middle = SIDE // 2
    left, right = counts[:, :middle].sum(), counts[:, middle:].sum()
    side = np.zeros((SIDE, SIDE))
    if left > right + 800:
        side[:, middle:] = 1  # many hits: the left is seen obliquely
    elif right > left + 800:
        side[:, :middle] = 1
    else:
        return raw
    side = cv2.GaussianBlur(side, (33, 33), 60.5)[..., None]
    own = 1 / np.exp(0.5 + counts / counts.max())[..., None]
    mirrored = (1 - own) * side[:, ::-1]
    own = own * side[:, ::-1]
    soft = (raw * side + raw * own + raw[:, ::-1] * mirrored) / (side + own + mirrored)
    return np.clip(soft * skin + raw * (1 - skin), 0, 255).astype(np.uint8)


def without_eyes(surface: Surface) -> Floats:
    """0 in the eyes, 1 elsewhere, (224, 224, 1)."""
    skin = np.ones((SIDE, SIDE), np.float32)
    for lids in (surface.landmarks[36:42], surface.landmarks[42:48]):
        outline = np.rint(surface.frame.project(lids)).astype(np.int32)
        cv2.fillConvexPoly(skin, outline, 0.0)
    return np.asarray(cv2.GaussianBlur(skin, (0, 0), 2))[..., None]


if __name__ == "__main__":
    main()
