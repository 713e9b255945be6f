"""Find images that are nearly the same: resized, re-encoded or mirrored copies of one another.

`search.checkup` compares all images of a dataset. Each becomes a grey thumbnail. A 64-bit
perceptual hash of it, the signs of its 64 lowest frequencies, picks the pairs that may be alike;
the correlation of the two thumbnails decides. This is the pHash of Zauner 2010,
http://www.phash.org/docs/pubs/thesis_zauner.pdf, but its bits compare with zero and not with the
median: a mirrored image then has the same hash with the odd frequencies turned, so that it is
found without a second hash.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Array
from fer_core.data.manifest import Clip
from fer_core.data.media import is_jpeg
from fer_core.errors import DataError
from fer_core.faces import video
from fer_core.faces.file_checks import Header

SIDE = 32  # pixels of a thumbnail; pHash's too
# Measured on the 204 London portraits (102 people, one background and one pose, DeBruine and Jones
# 2017) at 480 pixels, as aligned faces of 224 and of 48. Copies at half and twice the size, at JPEG
# quality 50, mirrored, or all of these: at most 3 bits differ, and the correlation is 0.999 or more
# (48 pixels: 5 bits and 0.995 at quality 50). Two people: 0.968 at most, one person with two
# expressions 0.981; as aligned faces one pair of 102 has 0.992.
MOST_BITS = 6  # by which the hashes of two candidates differ
LEAST_CORRELATION = 0.995  # of two thumbnails
LEAST_CONTRAST = 2.0  # standard deviation in grey levels; an image with less shows nothing

Thumbnail = NDArray[np.uint8]  # (SIDE, SIDE) grey levels
_FREQUENCIES = sorted(  # (row, column) of the 64 lowest, without the mean
    [(u, v) for u in range(SIDE) for v in range(SIDE) if u or v], key=lambda uv: (sum(uv), uv)
)[:64]
_LARGEST = max(max(pair) for pair in _FREQUENCIES) + 1
_COSINES = np.cos(  # (frequencies, pixels): the discrete cosine transform, DCT-II
    np.pi * np.arange(_LARGEST)[:, None] * (np.arange(SIDE) + 0.5) / SIDE
).astype(np.float32)
# Two hashes that differ by MOST_BITS at most are equal in one of so many parts: Norouzi, Punjani
# and Fleet 2012, "Fast search in Hamming space with multi-index hashing". Each part has its lowest
# bit, and the mask of its bits there.
_EDGES = np.linspace(0, 64, MOST_BITS + 2).astype(int).tolist()
_PARTS = tuple(
    (np.uint64(low), np.uint64((1 << (high - low)) - 1)) for low, high in pairwise(_EDGES)
)
_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_ODD = np.bitwise_or.reduce(_BITS[[column % 2 == 1 for _, column in _FREQUENCIES]])
_BLOCK = 2**20  # pairs whose hashes are compared at once; they take about 50 MB
_PAIR_SECONDS = 7e-9  # by the square of the images; faces of the renderer, a busy AMD EPYC
_CHUNK = 4096  # candidates whose thumbnails are compared at once


@dataclass(frozen=True)
class Match:
    """Two images that are nearly the same, by their places in the list."""

    first: int
    second: int
    mirrored: bool
    correlation: float


@dataclass(frozen=True)
class NearCopies:
    """What was found: how many pairs, and for each image the most similar one before it."""

    pairs: int
    matches: tuple[Match, ...]


def thumbnail(clip: Clip, header: Header) -> Thumbnail:
    """Reduce an image, or the middle frame of a clip, to (SIDE, SIDE) grey pixels.

    A large JPEG is decoded at a smaller size, which is several times as fast.

    Raises: DataError or OSError if it cannot be read.
    """
    factor = _reduction(clip, header)
    if factor == 1:
        frames = video.frames(clip.path, clip.offset)
        image = next(islice(frames, header.frames // 2, None), None)
        if image is None:
            raise DataError(f"{clip.path} has fewer frames than it declares.")
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    else:
        data = np.frombuffer(clip.path.read_bytes(), np.uint8)
        found = cv2.imdecode(data, getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{factor}"))
        if found is None:
            raise DataError(f"image {clip.path} cannot be decoded.")
        grey = found
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def thumbnails(clips: Sequence[tuple[Clip, Header]]) -> list[Thumbnail | None]:
    """Reduce several clips; None for one that cannot be read."""
    found: list[Thumbnail | None] = []
    for clip, header in clips:
        try:
            found.append(thumbnail(clip, header))
        except (DataError, OSError, cv2.error):
            found.append(None)
    return found


def hashes(images: Array) -> NDArray[np.uint64]:
    """Give the perceptual hash of each thumbnail (N, SIDE, SIDE) as one number (N,)."""
    waves = _COSINES @ images.astype(np.float32) @ _COSINES.T
    rows, columns = np.array(_FREQUENCIES).T
    codes = (waves[:, rows, columns] > 0) @ _BITS
    return np.asarray(codes, np.uint64)


def mirrored(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give the hashes (N,) of the mirrored images.

    Mirroring turns the sign of every frequency whose column is odd.
    """
    turned: NDArray[np.uint64] = codes ^ _ODD
    return turned


def seconds(images: int) -> float:
    """Predict how long comparing so many images takes."""
    return _PAIR_SECONDS * images**2


def find(images: Array, groups: Array) -> NearCopies:
    """Find all pairs of thumbnails (N, SIDE, SIDE) that are nearly the same.

    Pairs of one group, given for each thumbnail in `groups` (N,), do not count.
    """
    if not len(images):
        return NearCopies(0, ())
    parts = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    codes = np.concatenate([hashes(part) for part in parts])
    plain = np.concatenate([part.std(axis=(1, 2)) < LEAST_CONTRAST for part in parts])
    nearest = np.full(len(images), len(images))  # the most similar image before each
    best, turned = np.zeros(len(images), np.float32), np.zeros(len(images), bool)
    pairs = 0
    for first, second, turn in _candidates(codes, plain, groups):
        correlation = _correlations(images, first, second, turn)
        alike = correlation >= LEAST_CORRELATION
        first, second, correlation = first[alike], second[alike], correlation[alike]
        pairs += len(first) - (_count_known(images, codes, first, second) if turn else 0)
        tied = (correlation == best[second]) & (first < nearest[second])
        better = np.flatnonzero((correlation > best[second]) | tied)
        better = better[np.lexsort((-first[better], correlation[better]))]  # the last one stays
        at = second[better]
        nearest[at], best[at], turned[at] = first[better], correlation[better], turn
    return NearCopies(
        pairs,
        tuple(
            Match(int(nearest[k]), int(k), bool(turned[k]), float(best[k]))
            for k in np.flatnonzero(nearest < len(images))
        ),
    )


def _candidates(
    codes: NDArray[np.uint64], plain: Array, groups: Array
) -> Iterator[tuple[Array, Array, bool]]:
    """Yield the pairs whose hashes are close, some at once: first, second, whether mirrored."""
    shown = np.flatnonzero(~plain)
    codes, groups = codes[shown], groups[shown]
    for turn, own in enumerate((codes, mirrored(codes))):
        for part in range(len(_PARTS)):
            for first, second in _equal_in_part(own, codes, part):
                counts = groups[first] != groups[second]
                yield shown[first[counts]], shown[second[counts]], turn == 1


def _equal_in_part(
    own: NDArray[np.uint64], codes: NDArray[np.uint64], part: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the close pairs of `own` and a later one of `codes` that are equal in a part.

    Pairs that are equal in an earlier part as well are left out, so that each comes once.
    """
    low, mask = _PARTS[part]
    place = np.arange(len(codes), dtype=np.uint64)
    total = np.uint64(len(codes))
    keys = ((codes >> low) & mask) * total + place  # in the order of the part, then of the images
    order = np.argsort(keys)
    own_part = ((own >> low) & mask) * total
    starts = np.searchsorted(keys, own_part + place, side="right", sorter=order)
    counts = np.searchsorted(keys, own_part + total, side="left", sorter=order) - starts
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(codes):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        first = np.repeat(np.arange(begin, end), counts[begin:end])
        # The partners of each lie side by side in the order, from its start on.
        shift = (starts - (ends - counts))[begin:end]
        second = order[np.repeat(shift, counts[begin:end]) + np.arange(before, before + len(first))]
        differ = own[first] ^ codes[second]
        close = np.bitwise_count(differ) <= MOST_BITS
        for earlier, bits in _PARTS[:part]:
            close &= (differ >> earlier) & bits != 0
        yield first[close], second[close]
        begin = end


def _count_known(images: Array, codes: NDArray[np.uint64], first: Array, second: Array) -> int:
    """Count the pairs that are alike unmirrored, too: symmetric images, which are one pair."""
    close = np.bitwise_count(codes[first] ^ codes[second]) <= MOST_BITS
    correlation = _correlations(images, first[close], second[close], turned=False)
    return int((correlation >= LEAST_CORRELATION).sum())


def _correlations(images: Array, first: Array, second: Array, turned: bool) -> Array:
    """Correlate the thumbnails of each pair (P,), the first of them mirrored if `turned`."""
    found = np.zeros(len(first), np.float32)
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        left, right = images[first[part]], images[second[part]]
        left = left[:, :, ::-1] if turned else left
        found[part] = (_standardised(left) * _standardised(right)).sum(axis=(1, 2))
    return found


def _standardised(images: Array) -> NDArray[np.float32]:
    """Scale thumbnails to mean 0 and length 1; none of them may be plain."""
    centred = images.astype(np.float32) - images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    scaled: NDArray[np.float32] = centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    return scaled


def _reduction(clip: Clip, header: Header) -> int:
    """Choose by how much a file is reduced while it is decoded: 8, 4, 2 or 1.

    Only a JPEG decoder averages pixels for it. Twice the thumbnail's side is kept.
    """
    if header.size is None or clip.path.is_dir() or not is_jpeg(clip.path):
        return 1
    return next((k for k in (8, 4, 2) if min(header.size) >= 2 * SIDE * k), 1)
