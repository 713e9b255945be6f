"""Read state dicts (names and tensors) from weight files, and load them into modules.

Files are read as tensors only: no code that a pickle may contain is ever executed. The backbones,
`vgg_face` and the model folders of `fer_core.predict` use this, and `load_exact` makes sure that a
file belongs to the network that it is loaded into.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fer_core.errors import WeightsError


def read(path: Path) -> dict[str, Tensor]:
    """Read the names and tensors of a .pth or .safetensors file, whatever its name ends in.

    Raises: WeightsError where the file is damaged or holds anything else.
    """
    try:
        with path.open("rb") as file:
            is_safetensors = file.read(9)[8:] == b"{"  # 8 bytes of length, then a JSON header
        if is_safetensors:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below states what is wrong
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise at least eight kinds of errors
        raise WeightsError(
            f"weights file {path} cannot be read as tensors alone; give a state dict that "
            "torch.save wrote (.pth), or .safetensors."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # training scripts save it under this key, next to settings
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(
            f"weights file {path} holds no state dict of names and tensors; save a model's "
            "state_dict() with torch.save (.pth), or as .safetensors."
        )
    return state


def load_exact(
    module: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    *,
    of: str,
    unused: Callable[[str], bool] = lambda name: False,
) -> None:
    """Load a state dict into a module, if and only if their names and shapes agree.

    `of` names the network in the error. `unused` tells which names of the file may be left over,
    such as those of a classifier that the module does not have.

    Raises: WeightsError with all names that are missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    faults = [f"{name} is missing" for name in wanted.keys() - state.keys() - counters]
    faults += [f"{name} is unknown" for name in state.keys() - wanted.keys() if not unused(name)]
    faults += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted.keys() & state.keys()
        if state[name].shape != wanted[name].shape
    ]
    if faults:
        raise WeightsError(misfit(path, of, faults))
    wanted.update((name, state[name]) for name in wanted.keys() & state.keys())
    module.load_state_dict(wanted)  # it keeps module versions, which torchvision's MNASNet needs


def misfit(path: Path, of: str, faults: Iterable[str]) -> str:
    """Write the error message of a file that does not hold the weights of the network `of`."""
    return f"weights file {path} does not fit {of}: {'; '.join(sorted(faults))}."
