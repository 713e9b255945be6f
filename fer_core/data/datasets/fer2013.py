"""FER2013: 35,887 grey faces of 48 x 48 pixels from the web, with seven emotions.

Source: Goodfellow et al., 2013, https://arxiv.org/abs/1307.0414; from Kaggle. Layout: either the
table `fer2013.csv` with the columns emotion, pixels and Usage, or image folders
`train|test/<emotion>/<name>`. Each face counts as its own subject, because the people are unknown.
Some faces occur twice, even in two parts; the copies are removed.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes, spelled
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import official
from fer_core.data.reading import Faulty, Found, Labels, Verdict, assemble, by_place, clip, coded
from fer_core.data.tables.tables import check_columns, find, whole
from fer_core.errors import DataError
from fer_core.storage.file_names import is_image_name
from fer_core.storage.tables.table_format import encoding, head_cells

TABLE = "fer2013.csv"
PIXELS = 48 * 48
EMOTIONS = codes("anger disgust fear happiness sadness surprise neutral")
COUNTS = (4953, 547, 5121, 8989, 6077, 4002, 6198)  # Goodfellow et al. 2013, section 2
PARTS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def manifest(root: Path) -> Manifest:
    """Read the table, or the image folders if there is no table."""
    table = find(root, TABLE)
    if table is None:
        return by_place("fer2013", root, _judge)
    verdicts = (coded(whole(row["emotion"]), EMOTIONS) for _, row in lines(table))
    return assemble("fer2013", root, faces(root, table, verdicts))


def lines(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of the table of pixels, with the byte at which its line begins.

    `tables.rows` cannot be used, since a face is read later from that byte on. Names of columns are
    in lower case.

    Raises: DataError if a column is missing, or if the table's lines cannot be found by bytes.
    """
    saved_in = encoding(table)
    if saved_in.startswith(("utf-16", "utf-32")):
        raise DataError(f"{table} is saved as {saved_in.upper()}; save it as CSV in UTF-8.")
    with table.open("rb") as file:
        first = file.readline()
        if first.rstrip(b"\r\n").count(b"\r"):
            raise DataError(f"{table} ends its lines in CR only; save it as CSV with LF or CR LF.")
        if first.lstrip(b'\xef\xbb\xbf"').lower().startswith(b"sep="):
            first = file.readline()
        names, separator = head_cells(first.decode(saved_in, "replace"))
        check_columns(table, names, ("emotion", "usage", "pixels"))
        offset = file.tell()
        for line in file:
            cells = (_cell(each) for each in line.decode("utf-8", "replace").split(separator))
            if line.strip():
                yield offset, dict.fromkeys(names, "") | dict(zip(names, cells, strict=False))
            offset += len(line)


def _cell(text: str) -> str:
    return text.strip("\"' \t\r\n\u00a0")


def faces(root: Path, table: Path, verdicts: Iterable[Verdict]) -> Iterator[Found]:
    """Make one clip for each row of the table of pixels, from the verdicts on these rows."""
    folder = table.relative_to(root).as_posix()
    for number, ((offset, row), verdict) in enumerate(zip(lines(table), verdicts, strict=True)):
        name, pixels = f"{folder}/{number:05d}", row["pixels"].encode()
        count = pixels.count(b" ") + 1
        if not isinstance(verdict, Labels):
            yield name, verdict
        elif count != PIXELS:
            yield name, Faulty(f"its line is cut short: it has {count} pixels instead of {PIXELS}")
        elif row["usage"] not in PARTS:
            yield (
                name,
                Faulty(f"its Usage '{row['usage']}' is none of {', '.join(PARTS)}"),
            )
        else:
            sha256, part = hashlib.sha256(pixels).hexdigest(), PARTS[row["usage"]]
            found = clip(table, name, replace(verdict, part=part), sha256)
            yield name, replace(found, offset=offset)


def _judge(path: Path) -> Verdict | None:
    part = path.parent.parent.name
    if not is_image_name(path) or part not in PARTS.values():
        return None
    emotion = spelled(path.parent.name)
    return (
        Labels(emotion=emotion, part=part)
        if emotion
        else Faulty("its folder is not named after an emotion")
    )


OFFICIAL = Published(
    about="Training trains, PublicTest chooses and PrivateTest is sealed (Goodfellow et al. 2013); "
    "the image folders have no PublicTest, so fifths of train choose in turn",
    split=official,
)
CLASSES = dict(zip(EMOTIONS.values(), COUNTS, strict=True))
DATASET = Dataset(
    manifest=manifest,
    totals=(Totals(source="Goodfellow et al. 2013", clips=35_887, classes=CLASSES),),
    protocols={"official": OFFICIAL},
    given_faces=lambda _: True,
    anonymous=True,
)
