"""Read and write what the stage `faces` stores: each frame's points, and its face as a JPEG.

A shard is one array of bytes: one record for each frame, then the JPEG files one after another. It
is read by memory map. A copy of the shard is enough to make views on a machine that does not have
the dataset. `faces_stage` writes this format; `views_stage`, `features`, `predict` and `search`
read it.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Array, Image
from fer_core.faces.follow import LEFT_OUT
from fer_core.storage.store import Entry

JPEG_FIELDS = [("start", "<i8"), ("bytes", "<i4")]  # where a JPEG file lies among a shard's files
FRAME = np.dtype(
    [
        # In the pixels of the frame; NaN if the frame is left out, or given whole.
        ("points", "<f4", (68, 2)),
        ("state", "u1"),  # FOUND, INTERPOLATED or LEFT_OUT
        ("left", "<i4"),  # left edge of the cut, in the pixels of the frame
        ("top", "<i4"),  # its top edge, likewise
        ("scale", "<f4"),  # pixels of the cut per pixel of the frame
        *JPEG_FIELDS,
    ]
)


class Track:
    """One clip's face over its T frames: its points, and the pictures cut out around it."""

    def __init__(self, rows: Array, files: Array) -> None:
        self._rows, self._files = rows, files

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks (T, 68, 2) float32 in the frames' pixels; NaN where there are none."""
        points: NDArray[np.float32] = self._rows["points"]
        return points

    @property
    def states(self) -> NDArray[np.uint8]:
        """The state of each frame (T,): FOUND, INTERPOLATED or LEFT_OUT."""
        states: NDArray[np.uint8] = self._rows["state"]
        return states

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether each frame (T,) shows the face."""
        usable: NDArray[np.bool_] = self.states != LEFT_OUT
        return usable

    def pictures(self, indices: Sequence[int] | NDArray[np.intp]) -> list[Image]:
        """Decode the cuts (H, W, 3) of some frames; none of them may be left out."""
        return [decode_record(self._files, self._rows[i]) for i in indices]

    def crop_points(self, indices: Sequence[int] | NDArray[np.intp]) -> Array:
        """Give the landmarks (n, 68, 2) of some frames in the pixels of their cuts."""
        rows = self._rows[list(indices)]
        corner = np.stack([rows["left"], rows["top"]], axis=-1)[:, None]
        scale = rows["scale"][:, None, None]
        # A pixel's centre is at a whole number, so the edge of the first pixel is at -0.5.
        moved: Array = (rows["points"] - corner + 0.5) * scale - 0.5
        return moved


class Faces:
    """One shard of the stage `faces`, as it was read from the store."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._clips: Mapping[str, tuple[int, int]] = entry.meta["clips"]
        self.skipped: Mapping[str, str] = entry.meta["skipped"]  # reasons by a clip's name
        self.notes: Mapping[str, str] = entry.meta["notes"]  # what is unusual, by a clip's name

    @property
    def clips(self) -> tuple[str, ...]:
        """The names of the clips that can be used."""
        return tuple(self._clips)

    @property
    def states(self) -> NDArray[np.uint8]:
        """The states of all frames of its clips: FOUND, INTERPOLATED or LEFT_OUT."""
        total = max((past for _, past in self._clips.values()), default=0)
        rows, _ = unpacked(self._entry.array, FRAME, total)
        return np.array(rows["state"])

    def track(self, clip: str) -> Track:
        """Read the face of the clip of that name."""
        total = max(past for _, past in self._clips.values())
        rows, files = unpacked(self._entry.array, FRAME, total)
        first, past = self._clips[clip]
        return Track(np.array(rows[first:past]), files)


def packed(rows: Array, files: Sequence[bytes]) -> Array:
    """Join records and the JPEG file of each to one array of bytes (N,).

    The records have the fields JPEG_FIELDS, which are filled in here.
    """
    lengths = np.array([len(file) for file in files], np.int64)
    rows["start"], rows["bytes"] = np.cumsum(lengths) - lengths, lengths
    return np.frombuffer(b"".join([rows.tobytes(), *files]), np.uint8)


def unpacked(array: Array, kind: np.dtype[np.void], rows: int) -> tuple[Array, Array]:
    """Split what `packed` joined into records and files, without copying either."""
    end = rows * kind.itemsize
    return array[:end].view(kind), array[end:]


def decode_record(files: Array, row: Array) -> Image:
    """Decode the JPEG file of a record to RGB (H, W, 3)."""
    return decode_jpeg(files[row["start"] : row["start"] + row["bytes"]])


def decode_jpeg(jpeg: bytes | Array) -> Image:
    """Decode the bytes of a JPEG file to RGB (H, W, 3)."""
    data = np.frombuffer(jpeg, np.uint8) if isinstance(jpeg, bytes) else np.asarray(jpeg)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])
