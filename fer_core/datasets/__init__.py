"""The datasets that can be read: for each a function from its folder to a manifest."""

from collections.abc import Callable
from pathlib import Path

from fer_core.datasets import folder, oulu_casia, sase_fe
from fer_core.errors import DataError, unknown
from fer_core.manifest import Manifest


def _synthetic(root: Path) -> Manifest:
    from fer_core.datasets import synthetic  # a program too, so not to be imported beforehand

    return synthetic.manifest(root)


DATASETS: dict[str, Callable[[Path], Manifest]] = {
    "folder": folder.manifest,
    "oulu_casia": oulu_casia.manifest,
    "sase_fe": sase_fe.manifest,
    "synthetic": _synthetic,
}


def load(name: str, root: Path) -> Manifest:
    """Read the dataset of that name from its folder.

    Raises: DataError where the name is unknown or the folder holds nothing of it.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the one that holds the dataset '{name}'.")
    if not any(root.iterdir()):
        raise DataError(f"{root} is empty; give the folder that holds the dataset '{name}'.")
    return DATASETS[name](root)
