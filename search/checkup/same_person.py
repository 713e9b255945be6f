"""Find clips on different sides of the split that may show one person, by dlib's face descriptor.

`checkup` calls it if the user asks for it. A descriptor is 128 numbers; the nearer two are, the
likelier the faces are of one person. How near is near enough depends on how many pairs are
compared: of a million pairs of strangers, some look alike. The user therefore states how many
false matches are acceptable, and the threshold follows from that and from the data.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core import machine
from fer_core.arrays import Array
from fer_core.config import ONE_FRAME
from fer_core.data.manifest import Clip
from fer_core.errors import DataError
from fer_core.faces.align import CROP_PIXELS
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces
from fer_core.faces.views import aligned
from fer_core.features.descriptors import BATCH, SAME_PERSON, SIZE, Describer
from search.checkup.report import Pair, SamePersonReport

MOST_SHOWN = 20  # pairs of subjects
LEAST_PAIRS = 100  # of clips; from fewer the distribution of distances cannot be told
_METHOD = (
    "the distances of all pairs of clips with different subjects, on different sides, are taken "
    "for normally distributed by their median and their 16 % quantile, which the few pairs of one "
    "person hardly move; never above dlib's own 0.6"
)
_BINS_PER_UNIT, _LARGEST = 1000, 4.0  # of the histogram of distances
_BLOCK = 2**23  # pairs that are compared at once; they take about 100 MB
_PAIR_SECONDS = 8e-8  # by the square of the clips; measured on a busy AMD EPYC, 10,000 clips


@dataclass
class _Distances:
    """Histograms of distances, and the nearest pairs of subjects by their numbers."""

    strangers: NDArray[np.int64]
    genuine: NDArray[np.int64]
    nearest: list[tuple[float, int, int]]


def forecast(describer: Describer, clips: int) -> float:
    """Predict the seconds that describing and comparing so many clips takes, by one batch."""
    faces = np.zeros((BATCH, CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
    describer(faces[:1])  # the first call is slower
    started = time.perf_counter()
    describer(faces)
    each = (time.perf_counter() - started) / BATCH
    return each * clips + _PAIR_SECONDS * clips**2


def load() -> Describer:
    """Load the network, onto a GPU if there is one."""
    machine.keep_to_allowed_cores()
    return Describer(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def look(
    describer: Describer,
    clips: Sequence[Clip],
    faces: Sequence[Faces],
    side_of: Callable[[str], str],
    *,
    false_matches: float,
    progress: Callable[[int, int], None],
) -> SamePersonReport:
    """Describe one face of each clip, and find the nearest pairs across sides.

    `side_of` gives the side of a subject.
    """
    started = time.monotonic()
    shards = {clip: shard for shard in faces for clip in shard.clips}
    shown = sorted((c for c in clips if c.clip in shards), key=lambda c: (c.subject, c.clip))
    shown, descriptors = _described(describer, shown, shards, progress)
    people, subject = np.unique([clip.subject for clip in shown], return_inverse=True)
    _, side = np.unique([side_of(str(each)) for each in people], return_inverse=True)
    found = _compare(descriptors, subject, side)
    pairs, same = int(found.strangers.sum()), int(found.genuine.sum())
    limit = threshold(found.strangers, false_matches)
    below = 0 if limit is None else round(limit * _BINS_PER_UNIT)
    near = [each for each in found.nearest if limit is not None and each[0] < limit]
    return SamePersonReport(
        clips=len(shown),
        pairs=pairs,
        false_matches=false_matches,
        threshold=limit,
        method=_METHOD,
        matches=int(found.strangers[:below].sum()),
        genuine_pairs=same,
        genuine_share=float(found.genuine[:below].sum() / same) if same and limit else None,
        likeliest=tuple(_pairs(near, shown, subject, descriptors)),
        seconds=time.monotonic() - started,
    )


def threshold(strangers: NDArray[np.int64], false_matches: float) -> float | None:
    """Set the distance below which so many pairs of different people are expected.

    `strangers` is the histogram of distances, in steps of 1/1000, of pairs of clips that are nearly
    all of different people. None if it has fewer than LEAST_PAIRS.
    """
    pairs = int(strangers.sum())
    if pairs < LEAST_PAIRS:
        return None
    shares = np.cumsum(strangers) / pairs
    one_below = NormalDist().cdf(-1)
    low, middle = (float(np.searchsorted(shares, q)) / _BINS_PER_UNIT for q in (one_below, 0.5))
    share = min(false_matches / pairs, 0.5)
    limit = middle + (middle - low) * NormalDist().inv_cdf(share)
    return max(0.0, min(SAME_PERSON, limit))


def _described(
    describer: Describer,
    clips: Sequence[Clip],
    shards: Mapping[str, Faces],
    progress: Callable[[int, int], None],
) -> tuple[list[Clip], Array]:
    """Describe the middle face of each clip; leave out clips whose points fit no face."""
    kept: list[Clip] = []
    descriptors = [np.zeros((0, SIZE), np.float32)]
    for start in range(0, len(clips), BATCH):
        views = []
        for clip in clips[start : start + BATCH]:
            track = shards[clip.clip].track(clip.clip)
            frame = pick(track.points, track.usable, ONE_FRAME)
            try:
                views.append(aligned(track.pictures(frame)[0], track.crop_points(frame)[0]))
            except DataError:
                continue
            kept.append(clip)
        if views:
            descriptors.append(describer(np.stack(views)))
        progress(start // BATCH + 1, -(-len(clips) // BATCH))
    return kept, np.concatenate(descriptors)


def _compare(descriptors: Array, subject: Array, side: Array) -> _Distances:
    """Compare all clips (N, SIZE), which are in the order of their subjects' numbers (N,).

    `side` (S,) is the side of each subject.
    """
    bins = round(_LARGEST * _BINS_PER_UNIT) + 1
    found = _Distances(np.zeros(bins, np.int64), np.zeros(bins, np.int64), [])
    squares = (descriptors**2).sum(axis=1)
    total, start = len(descriptors), 0
    while start < total:
        rows = max(1, _BLOCK // (total - start))
        end = int(np.searchsorted(subject, subject[min(start + rows, total) - 1], side="right"))
        products = descriptors[start:end] @ descriptors[start:].T
        apart = squares[start:end, None] + squares[start:] - 2 * products
        apart = np.sqrt(np.maximum(apart, 0))
        own, other = subject[start:end], subject[start:]
        later = np.arange(end - start)[:, None] < np.arange(total - start)
        same = own[:, None] == other
        across = later & (side[own][:, None] != side[other])
        for counts, chosen in ((found.strangers, across), (found.genuine, later & same)):
            steps = np.minimum(apart[chosen] * _BINS_PER_UNIT, bins - 1).astype(np.int64)
            counts += np.bincount(steps, minlength=bins)
        apart[~across] = np.inf
        found.nearest = _nearest(apart, own, other, found.nearest)
        start = end
    return found


def _nearest(
    apart: Array, own: Array, other: Array, known: list[tuple[float, int, int]]
) -> list[tuple[float, int, int]]:
    """Add the nearest pairs of subjects of a block of distances to those that are known."""
    rows, columns = (np.flatnonzero(np.diff(numbers, prepend=-1)) for numbers in (own, other))
    least = np.minimum.reduceat(np.minimum.reduceat(apart, columns, axis=1), rows, axis=0)
    flat = least.ravel()
    first = np.argpartition(flat, min(MOST_SHOWN, len(flat)) - 1)[:MOST_SHOWN]
    names = own[rows], other[columns]
    new = [
        (float(flat[k]), int(names[0][k // len(columns)]), int(names[1][k % len(columns)]))
        for k in first
        if np.isfinite(flat[k])
    ]
    return sorted([*known, *new])[:MOST_SHOWN]


def _pairs(
    near: Sequence[tuple[float, int, int]],
    clips: Sequence[Clip],
    subject: Array,
    descriptors: Array,
) -> Iterator[Pair]:
    """Name the two nearest clips of each pair of subjects."""
    for distance, one, another in near:
        firsts, seconds = np.flatnonzero(subject == one), np.flatnonzero(subject == another)
        gaps = descriptors[firsts][:, None] - descriptors[seconds]
        i, j = np.unravel_index(int((gaps**2).sum(axis=-1).argmin()), gaps.shape[:2])
        yield Pair(
            first=clips[firsts[i]].clip, second=clips[seconds[j]].clip, distance=round(distance, 3)
        )
