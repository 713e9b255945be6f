"""State dicts from files, read as tensors alone: no pickle of a file is ever executed."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fer_core.errors import WeightsError


def read(path: Path) -> dict[str, Tensor]:
    """Read the names and tensors of a .pth or .safetensors file.

    Raises: WeightsError where it holds anything else.
    """
    try:
        with path.open("rb") as file:
            is_safe = file.read(9)[8:] == b"{"  # after the length of its header
        if is_safe:
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says what is wrong
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files were seen to raise eight kinds of it
        raise WeightsError(
            f"weights file {path} cannot be read as tensors alone; give a state dict that "
            "torch.save wrote (.pth), or .safetensors."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # as training scripts save it, beside their settings
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(f"weights file {path} holds no state dict of names and tensors.")
    return state


def load_exact(
    module: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    *,
    of: str,
    unused: Callable[[str], bool] = lambda name: False,
) -> None:
    """Fill a module from a state dict: each tensor it has is there, and each that is there is used.

    `unused` says which names may be left over, such as a classifier that the module has not.

    Raises: WeightsError that lists what is missing, unknown or of another shape.
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
    module.load_state_dict(wanted)  # with its versions, which torchvision's MNASNet asks for


def misfit(path: Path, of: str, faults: Iterable[str]) -> str:
    """Say in one line why a file is not the weights of `of`."""
    return f"weights file {path} does not fit {of}: {'; '.join(sorted(faults))}."
