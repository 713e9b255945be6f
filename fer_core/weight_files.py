"""Find files of trained weights on this machine; nothing here downloads.

The backbones and the landmark engines ask here for weights that come with a package or that lie in
torch's own folder. A file that the user names with `--weights` is only checked to exist.
"""

import importlib.util
import os
from pathlib import Path

from fer_core.errors import WeightsError


def packaged(name: str) -> Path:
    """Return the path of a file of the package face-recognition-models.

    The package is found without importing it, because it imports `pkg_resources`, which new Python
    versions do not have.

    Raises: WeightsError if the package is not installed or has no such file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"{name} comes with the package face-recognition-models, which is not installed; "
            "run pip install face-recognition-models."
        )
    return existing(Path(spec.origin).parent / "models" / name)


def hub_checkpoint(name: str) -> Path:
    """Return the path of a file of torch's own folder of weights, $TORCH_HOME/hub/checkpoints.

    Raises: WeightsError if it is not there; this function never downloads it.
    """
    # torch.hub.get_dir() is the same folder, but importing torch takes half a gigabyte of memory.
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return existing(Path(home).expanduser() / "hub" / "checkpoints" / name)


def existing(path: Path) -> Path:
    """Return the path unchanged if it is a file.

    Raises: WeightsError if it is not.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights file {path.name} is not in {path.parent}; this program never downloads "
            "weights, so put the file there yourself."
        )
    return path
