"""What the stage `faces` stores: every frame's points, and the face cut out of it, as JPEG.

A shard is one array of bytes: a record for each frame, then the JPEG files one after another. It
is read by memory map, and whoever copies it to another machine has all that views are made of.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Array
from fer_core.faces.follow import LEFT_OUT, Image
from fer_core.storage.store import Entry

PLACE = [("start", "<i8"), ("bytes", "<i4")]  # of a JPEG file among all of the shard
FRAME = np.dtype(
    [
        ("points", "<f4", (68, 2)),  # in the pixels of the frame; NaN where it is left out
        ("state", "u1"),
        ("left", "<i4"),  # of the cut, in the pixels of the frame
        ("top", "<i4"),
        ("scale", "<f4"),  # pixels of the cut per pixel of the frame
        *PLACE,
    ]
)


class Track:
    """One clip's face over its T frames."""

    def __init__(self, rows: Array, files: Array) -> None:
        self._rows, self._files = rows, files

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks (T, 68, 2) in the pixels of the frames; NaN where one is left out."""
        points: NDArray[np.float32] = self._rows["points"]
        return points

    @property
    def states(self) -> NDArray[np.uint8]:
        """FOUND, INTERPOLATED or LEFT_OUT, (T,)."""
        states: NDArray[np.uint8] = self._rows["state"]
        return states

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether each frame (T,) shows the face."""
        usable: NDArray[np.bool_] = self.states != LEFT_OUT
        return usable

    def pictures(self, indices: Sequence[int] | NDArray[np.intp]) -> list[Image]:
        """Decode the cuts (H, W, 3) of these frames, none of which is left out."""
        return [decoded(self._files, self._rows[i]) for i in indices]

    def crop_points(self, indices: Sequence[int] | NDArray[np.intp]) -> Array:
        """Give the landmarks (n, 68, 2) in the pixels of the cuts."""
        rows = self._rows[list(indices)]
        corner = np.stack([rows["left"], rows["top"]], axis=-1)[:, None]
        scale = rows["scale"][:, None, None]
        moved: Array = (
            rows["points"] - corner + 0.5
        ) * scale - 0.5  # pixels have their middle at 0
        return moved


class Faces:
    """A shard of the stage `faces`."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._clips: Mapping[str, tuple[int, int]] = entry.meta["clips"]
        self.skipped: Mapping[str, str] = entry.meta["skipped"]  # clip: why it cannot be used
        self.notes: Mapping[str, str] = entry.meta["notes"]  # clip: what is odd about it

    @property
    def clips(self) -> tuple[str, ...]:
        """The clips that can be used."""
        return tuple(self._clips)

    def track(self, clip: str) -> Track:
        total = max(past for _, past in self._clips.values())
        rows, files = unpacked(self._entry.array, FRAME, total)
        first, past = self._clips[clip]
        return Track(np.array(rows[first:past]), files)


def packed(rows: Array, files: Sequence[bytes]) -> Array:
    """Join records, which have the fields of PLACE, and the JPEG file of each to bytes (N,)."""
    lengths = np.array([len(file) for file in files], np.int64)
    rows["start"], rows["bytes"] = np.cumsum(lengths) - lengths, lengths
    return np.frombuffer(b"".join([rows.tobytes(), *files]), np.uint8)


def unpacked(array: Array, kind: np.dtype[np.void], rows: int) -> tuple[Array, Array]:
    """Part what `packed` joined, without copying."""
    end = rows * kind.itemsize
    return array[:end].view(kind), array[end:]


def decoded(files: Array, row: Array) -> Image:
    """Decode the JPEG file of a record to RGB (H, W, 3)."""
    return read_back(files[row["start"] : row["start"] + row["bytes"]])


def read_back(jpeg: bytes | Array) -> Image:
    """Decode a JPEG file to RGB (H, W, 3)."""
    data = np.frombuffer(jpeg, np.uint8) if isinstance(jpeg, bytes) else np.asarray(jpeg)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])
