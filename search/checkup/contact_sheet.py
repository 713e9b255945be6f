"""Draw a contact sheet: a picture of some subjects' faces, for a person to look at.

It has one block for each view. In a block, rows are subjects, columns are emotions, and each cell
is a face at the height of its expression. `search.doctor --sheet` draws it.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer_core.config import GIVEN, ClipConfig
from fer_core.config import VIEWS as ALL_VIEWS
from fer_core.data.manifest import Clip, Manifest
from fer_core.data.protocol import ascending
from fer_core.errors import DataError
from fer_core.faces.sampling import pick
from fer_core.faces.tracks import Faces
from fer_core.faces.views import views
from fer_core.storage.files import write_atomically

VIEWS = tuple(view for view in ALL_VIEWS if view != GIVEN)  # whole pictures need no check
# Pixels: side of a cell, step to the next cell, and the space for labels at the left and the top.
CELL, STEP, LEFT, TOP = 112, 114, 110, 76
MOST_COLUMNS = 20
WIDTH = 1750  # pixels; blocks stand side by side up to this width
_APEX = ClipConfig(sampling="onset_apex", frames=1)
_PAPER, _EMPTY, _INK, _FAINT, _POINT = "#ffffff", "#404040", "#101010", "#a0a0a0", "#00ff40"
_POINT_SHARE = 1 / 220  # radius of a drawn point, as a share of the picture's width
_FONT, _TITLE_FONT = ImageFont.load_default(13), ImageFont.load_default(20)

Column = tuple[str, str]  # emotion, and authenticity ("" if unknown)
Cell = tuple[str, Column]  # row and column
Face = tuple[NDArray[np.uint8], NDArray[np.floating]]  # picture (H, W, 3), and points in it (68, 2)


def draw(path: Path, manifest: Manifest, faces: Sequence[Faces], *, subjects: int) -> None:
    """Write the sheet as PNG, with `subjects` rows: subjects from the first to the last.

    If the dataset does not name its subjects, or has only one clip of most, each row shows one
    example of every column instead. The columns are the MOST_COLUMNS most frequent ones, so that
    the picture has a size that can be looked at, whatever the dataset.
    """
    shards = {clip: shard for shard in faces for clip in shard.clips}
    frequent = Counter(map(_column, manifest.clips)).most_common(MOST_COLUMNS)
    columns = sorted(column for column, _ in frequent)
    shown = [clip for clip in manifest.clips if _column(clip) in columns]
    clips_of = Counter(clip.subject for clip in shown)
    single = sum(count == 1 for count in clips_of.values())
    choose_clips = _examples if 2 * single > len(clips_of) else _by_subject
    clips = choose_clips(shown, shards.keys(), subjects)
    rows = ascending({row for row, _ in clips})
    chosen = {cell: _face(shards[clip], clip) for cell, clip in clips.items() if clip in shards}
    width, height = LEFT + len(columns) * STEP, TOP + len(rows) * STEP
    abreast = min(len(VIEWS), max(1, WIDTH // width))
    sheet = Image.new("RGB", (width * abreast, height * -(-len(VIEWS) // abreast)), _PAPER)
    for i, view in enumerate(VIEWS):
        block = Image.new("RGB", (width, height), _PAPER)
        _fill(block, view, rows, columns, chosen)
        sheet.paste(block, (i % abreast * width, i // abreast * height))
    png = BytesIO()
    sheet.save(png, "PNG")
    write_atomically(path, png.getvalue())


def _column(clip: Clip) -> Column:
    return clip.emotion, clip.authenticity or ""


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Choose `count` of the names, or all if there are fewer, evenly from the first to the last."""
    spread = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[i] for i in spread]


def _by_subject(clips: Sequence[Clip], shown: Container[str], rows: int) -> dict[Cell, str]:
    """Choose a clip for each cell: the first that shows a face, else the first.

    `shown` names the clips that show a face.
    """
    subjects = {*_spread(ascending({clip.subject for clip in clips}), rows)}
    cells: dict[Cell, str] = {}
    for clip in sorted(clips, key=lambda clip: clip.clip not in shown):
        if clip.subject in subjects:
            cells.setdefault((clip.subject, _column(clip)), clip.clip)
    return cells


def _examples(clips: Sequence[Clip], shown: Container[str], rows: int) -> dict[Cell, str]:
    """Choose clips for the cells of each column, evenly among those that show a face."""
    by_column: dict[Column, list[str]] = defaultdict(list)
    for clip in clips:
        if clip.clip in shown:
            by_column[_column(clip)].append(clip.clip)
    return {
        (str(row), column): clip
        for column, names in by_column.items()
        for row, clip in enumerate(_spread(names, rows), start=1)
    }


def _face(shard: Faces, clip: str) -> Face:
    """Cut out the face of a clip at the height of its expression."""
    track = shard.track(clip)
    apex = pick(track.points, track.usable, _APEX)
    return track.pictures(apex)[0], track.crop_points(apex)[0]


def _fill(
    block: Image.Image,
    view: str,
    rows: Sequence[str],
    columns: Sequence[Column],
    chosen: Mapping[Cell, Face],
) -> None:
    """Draw the block of a view. A cell without a clip, or without this view of it, gets a dash."""
    pen = ImageDraw.Draw(block)
    pen.text((4, 8), view, _INK, _TITLE_FONT)
    for x, words in enumerate(columns):
        for line, word in enumerate(words):
            pen.text((LEFT + x * STEP, TOP - 36 + 16 * line), _fitted(word, CELL), _INK, _FONT)
    for y, row in enumerate(rows):
        middle = TOP + y * STEP + CELL // 2
        pen.text((LEFT - 6, middle), _fitted(row, LEFT - 12), _INK, _FONT, anchor="rm")
        for x, column in enumerate(columns):
            left, top = LEFT + x * STEP, TOP + y * STEP
            try:
                cell = _cell(chosen[row, column], view)
                block.paste(cell.resize((CELL, CELL), Image.Resampling.BOX), (left, top))
            except (KeyError, DataError):
                pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), _EMPTY)
                pen.text((left + CELL // 2, middle), "-", _FAINT, _TITLE_FONT, anchor="mm")


def _cell(face: Face, view: str) -> Image.Image:
    """Draw a face in a view, with its landmarks.

    Frontal views are made from the picture without points, since these would be warped into it.
    """
    picture, points = face
    if not view.startswith("frontal"):
        image = Image.fromarray(picture)
        pen, radius = ImageDraw.Draw(image), max(0.5, image.width * _POINT_SHARE)
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), _POINT)
        picture = np.asarray(image)
    return Image.fromarray(views([picture], points[None], view=view)[0])


def _fitted(text: str, pixels: int) -> str:
    """Shorten a text until it fits into a width in pixels."""
    if _FONT.getlength(text) <= pixels:
        return text
    kept = next(n for n in range(len(text), -1, -1) if _FONT.getlength(text[:n] + "...") <= pixels)
    return text[:kept] + "..."
