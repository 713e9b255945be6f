"""RAF-DB, the part with basic emotions: 15,339 photographs from the web, with seven emotions.

Source: Li et al., 2017, https://doi.org/10.1109/CVPR.2017.277; on request from the authors. Layout:
`EmoLabel/list_patition_label.txt` (sic), with lines such as `train_00001.jpg 5`, and the images
`Image/original/train_00001.jpg` (dataset `raf_db`) or `Image/aligned/train_00001_aligned.jpg`
(`raf_db_aligned`). Each image counts as its own subject, because the people are unknown.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import official
from fer_core.data.reading import Faulty, Verdict, by_table, coded
from fer_core.data.tables.tables import need, whole
from fer_core.storage.tables.table_format import encoding

LIST = "EmoLabel/list_patition_label.txt"
EMOTIONS = codes("surprise fear disgust happiness sadness anger neutral", start=1)


def _manifest(root: Path, *, name: str, ending: str) -> Manifest:
    return by_table(name, root, _judged(need(root, LIST), ending))


def _judged(table: Path, ending: str) -> Iterator[tuple[Path, Verdict]]:
    images = table.parent.parent / "Image" / (ending.strip("_") or "original")
    text = table.read_text(encoding(table), "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{table.name}, line {number}"
        image, *codes = re.split(r"[\s,;]+", line.strip(' \t"\ufeff'))
        part = image.partition("_")[0]
        if image and (part not in ("train", "test") or len(codes) != 1):
            why = f"the line '{line.strip()}' does not look like 'train_00001.jpg 5'"
            yield images / place, Faulty(why, place)
        elif image:
            verdict = coded(whole(codes[0]), EMOTIONS, part=part, place=place)
            yield images / f"{Path(image).stem}{ending}.jpg", verdict


def _dataset(name: str, ending: str) -> Dataset:
    about = (
        "the test list of Li et al. 2017 is sealed, and five folds of the training list, with "
        "equal class shares, choose in turn"
    )
    return Dataset(
        manifest=partial(_manifest, name=name, ending=ending),
        totals=(Totals(source="Li et al. 2017", clips=12_271 + 3_068),),
        protocols={"official": Published(about=about, split=official)},
        given_faces=(lambda _: True) if ending else None,
        anonymous=True,
    )


ORIGINAL = _dataset("raf_db", "")
ALIGNED = _dataset("raf_db_aligned", "_aligned")
