"""RAF-DB, the part with basic emotions: 15,339 photographs from the web, with seven emotions.

Source: Li et al., 2017, https://doi.org/10.1109/CVPR.2017.277; on request from the authors. Layout:
`EmoLabel/list_patition_label.txt` (sic), with lines such as `train_00001.jpg 5`, and the images
`Image/original/train_00001.jpg` (dataset `raf_db`) or `Image/aligned/train_00001_aligned.jpg`
(`raf_db_aligned`). Each image counts as its own subject, because the people are unknown.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import official
from fer_core.data.reading import Verdict, by_table, coded
from fer_core.data.tables import need
from fer_core.errors import DataError

LIST = "EmoLabel/list_patition_label.txt"
EMOTIONS = codes("surprise fear disgust happiness sadness anger neutral", start=1)


def _manifest(root: Path, *, name: str, ending: str) -> Manifest:
    return by_table(name, root, _judged(need(root, LIST), ending))


def _judged(table: Path, ending: str) -> Iterator[tuple[Path, Verdict]]:
    images = table.parent.parent / "Image" / (ending.strip("_") or "original")
    for line in table.read_text("utf-8-sig", "replace").splitlines():
        image, _, code = line.strip().partition(" ")
        part = image.partition("_")[0]
        if line and part not in ("train", "test"):
            raise DataError(f"{table}: the line '{line}' must look like 'train_00001.jpg 5'.")
        if line:
            yield images / f"{Path(image).stem}{ending}.jpg", coded(code, EMOTIONS, part=part)


def _dataset(name: str, ending: str) -> Dataset:
    about = (
        "the test list of Li et al. 2017 is sealed, and five folds of the training list, with "
        "equal class shares, choose in turn"
    )
    return Dataset(
        manifest=partial(_manifest, name=name, ending=ending),
        totals=(Totals(source="Li et al. 2017", clips=12_271 + 3_068),),
        protocols={"official": Published(about=about, split=official)},
        given_faces=lambda _: bool(ending),
    )


ORIGINAL = _dataset("raf_db", "")
ALIGNED = _dataset("raf_db_aligned", "_aligned")
