"""All datasets that this project can read, in one table; each has a file of its own here.

`load` reads the user's copy of a dataset into a manifest. To add a dataset, write a file with a
`DATASET` as the others do, and give it a row in DATASETS. The commands in `search` take the choices
of `--dataset` from this table.
"""

from dataclasses import replace
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.dataset import Dataset
from fer_core.data.datasets import (
    affectnet,
    ck_plus,
    dfew,
    fer2013,
    ferplus,
    folder,
    jaffe,
    kdef,
    mmi,
    oulu_casia,
    raf_db,
    sase_fe,
    synthetic,
)
from fer_core.data.manifest import Manifest
from fer_core.data.other_files import others
from fer_core.errors import DataError, unknown

DATASETS: dict[str, Dataset] = {
    "affectnet": affectnet.DATASET,
    "ck_plus": ck_plus.DATASET,
    "dfew": dfew.DATASET,
    "fer2013": fer2013.DATASET,
    "ferplus": ferplus.DATASET,
    "folder": folder.DATASET,
    "jaffe": jaffe.DATASET,
    "kdef": kdef.FRONTAL,
    "kdef_all": kdef.ALL,
    "mmi": mmi.DATASET,
    **oulu_casia.DATASETS,
    "raf_db": raf_db.ORIGINAL,
    "raf_db_aligned": raf_db.ALIGNED,
    "sase_fe": sase_fe.DATASET,
    "synthetic": Dataset(manifest=synthetic.manifest),
}


def load(name: str, root: Path, *, subject_pattern: str | None = None) -> Manifest:
    """Read a dataset from the folder `root` into its manifest.

    `subject_pattern` finds the subject in the path of each file; only `folder` can have one.

    Raises: DataError if there is no such dataset, or the folder does not hold it; FerError if the
        pattern cannot be used.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the folder that holds the dataset '{name}'.")
    try:
        if not any(root.iterdir()):
            raise DataError(f"{root} is empty; give the folder that holds the dataset '{name}'.")
        if subject_pattern is not None:
            manifest = folder.manifest(root, subjects.pattern(subject_pattern, name))
        else:
            manifest = DATASETS[name].manifest(root)
        return replace(manifest, aside=others(manifest))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
