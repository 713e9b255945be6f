"""Measure how fast faces are prepared, as ratios of times that are measured side by side.

    python benchmarks/faces.py [--json FILE] [--video FILE]

frontalize      The time of NumPy and OpenCV, one face after the other, over the time of our batch
                with torch: soft symmetry, from uint8 images and points to uint8 views. Target: at
                least 5 on one thread, which is what a worker has. Medians of repeats in turns.
landmark_share  The time to decode, align and frontalize a clip, over the time in which dlib finds
                the points in every frame, on one thread. Target: at most 0.20. The stage follows
                the face from frame to frame, which is faster; that share is printed as well.
two_workers     The time of one process for the stage `faces` of rendered clips, with dlib, over
                the time of two processes. Target: at least 1.8.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
# Python puts a script's folder first, where `search` would be `search.py` and not our package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from fer_core.data import datasets  # noqa: E402  # after the path
from fer_core.data.labels import AUTHENTICITIES  # noqa: E402  # after the path
from fer_core.faces import landmarks, video  # noqa: E402  # after the path
from fer_core.faces.frontal.surface import Surface, reference  # noqa: E402  # after the path
from fer_core.faces.views import views  # noqa: E402  # after the path
from fer_core.synthetic import dataset  # noqa: E402  # after the path
from fer_core.synthetic.painter import paint_clip  # noqa: E402  # after the path
from fer_core.synthetic.script import subject_identity, write_script  # noqa: E402  # after the path
from search.request import find_faces  # noqa: E402  # after the path

CLIP = ROOT.parent / "shared" / "data" / "video" / "WolfgangLanger_Pexels.mp4"
REPEATS = 9
FACE_PIXELS = 320  # side of the crops in the store
YAW = 0.45  # radians; one side of the face is hidden, so symmetry has work to do
SIDE = 224
RENDERED_SUBJECTS = 10  # half a minute's work for one process

Image = NDArray[np.uint8]
Floats = NDArray[np.floating]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast faces are prepared.")
    parser.add_argument("--json", type=Path, help="write the ratios there, by name")
    parser.add_argument("--video", type=Path, default=CLIP, help="a clip that shows a face")
    options = parser.parse_args()
    ratios = {"frontalize": frontalize(threads=1)}
    frontalize(threads=2)
    if options.video.is_file():
        ratios["landmark_share"] = landmark_share(options.video)
    with tempfile.TemporaryDirectory() as folder:
        ratios["two_workers"] = two_workers(Path(folder))
    if options.json:
        options.json.write_text(json.dumps(ratios, indent=2) + "\n")


def frontalize(*, threads: int) -> float:
    """Print and return how many times faster our batch is than one face after the other."""
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
    """Print and return the time of all other steps over the time of dlib, for the same frames."""
    finder = landmarks.load_finder("dlib")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = list(video.frames(path))
    found = [(image, finder.search(image)) for image in images]
    faces = [image for image, face in found if face is not None]
    points = np.stack([face.points for _, face in found if face is not None])

    def follow() -> None:
        last = None
        for image in images:
            face = finder.search(image, last)
            last = face.points if face else last

    whole, followed, decoded, aligned, frontal = medians(
        lambda: [finder.search(image) for image in images],
        follow,
        lambda: [None for _ in video.frames(path)],
        lambda: views(faces, points, view="aligned"),
        lambda: views(faces, points, view="frontal_soft"),
        repeats=3,
    )
    rest = decoded + aligned + frontal
    milliseconds = 1000 / len(images)
    print(
        f"landmark_share: decoding {decoded * milliseconds:.2f}, aligning "
        f"{aligned * milliseconds:.2f}, frontalizing {frontal * milliseconds:.2f}, dlib "
        f"{whole * milliseconds:.2f} ms a frame, share {rest / whole:.2f}; following the face "
        f"{followed * milliseconds:.2f} ms, share {rest / followed:.2f}"
    )
    return rest / whole


def two_workers(folder: Path) -> float:
    """Print and return how many times faster two processes are than one."""
    root = dataset.ensure(folder / "synthetic", subjects=RENDERED_SUBJECTS)
    manifest = datasets.load("synthetic", root)

    def prepare(workers: int) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as store:
            find_faces.faces(
                manifest,
                engine="dlib",
                store=Path(store),
                workers=workers,
                progress=lambda done, shards: None,
            )

    one, two = medians(lambda: prepare(1), lambda: prepare(2), repeats=3)
    print(
        f"two_workers: {len(manifest.clips)} clips, one {one:.1f} s, two {two:.1f} s, ratio "
        f"{one / two:.2f}"
    )
    return one / two


def medians(*calls: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return the median seconds of each call; repeats take turns, after one call to warm up."""
    taken = np.array([[measured(call) for call in calls] for _ in range(repeats + 1)])
    return [float(seconds) for seconds in np.median(taken[1:], axis=0)]


def measured(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def turned_faces() -> tuple[list[Image], Floats]:
    """Render the frames of a clip with the head turned aside, and return them with their points."""
    clip = write_script(0, 0, "happiness", AUTHENTICITIES[0], identity=subject_identity(0, 0))
    cos, sin = np.cos(YAW), np.sin(YAW)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    clip = replace(clip, shot=replace(clip.shot, rotations=clip.shot.rotations @ turn))
    frames = list(paint_clip(clip))
    scale = FACE_PIXELS / frames[0].shape[0]
    images = [np.asarray(cv2.resize(f, (FACE_PIXELS,) * 2), np.uint8) for f in frames]
    return images, clip.landmarks * scale


def frontal_with_opencv(image: Image, points: Floats, surface: Surface, skin: Floats) -> Image:
    """Frontalize one face with soft symmetry, as Hassner et al. do, with whole arrays.

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
        side[:, middle:] = 1  # the left is seen obliquely: many points share a pixel
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
    """Make a mask (224, 224, 1) that is 0 in the eyes and 1 elsewhere."""
    skin = np.ones((SIDE, SIDE), np.float32)
    for lids in (surface.landmarks[36:42], surface.landmarks[42:48]):
        outline = np.rint(surface.frame.project(lids)).astype(np.int32)
        cv2.fillConvexPoly(skin, outline, 0.0)
    return np.asarray(cv2.GaussianBlur(skin, (0, 0), 2))[..., None]


if __name__ == "__main__":
    main()
