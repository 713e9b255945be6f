"""The datasets that can be read: for each a reader of its folder, its totals and its protocols."""

from pathlib import Path

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


def load(name: str, root: Path) -> Manifest:
    """Read the dataset of that name from its folder.

    Raises: DataError where the name is unknown or the folder holds nothing of it.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the one that holds the dataset '{name}'.")
    try:
        if not any(root.iterdir()):
            raise DataError(f"{root} is empty; give the folder that holds the dataset '{name}'.")
        return DATASETS[name].manifest(root)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
