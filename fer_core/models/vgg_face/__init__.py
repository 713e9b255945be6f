"""Read the weights of VGG-Face from any of the file formats in which they are published.

In comes a file of Torch7, MatConvNet, Caffe, Keras or PyTorch, told apart by its first bytes; out
come tensors under one set of names, for RGB input. Each module reads one format without the library
that wrote it; `layers` is what they share. `fer_core.models.backbones.vgg16` uses this, also for
torchvision's ImageNet weights, which have the same shapes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fer_core.errors import WeightsError
from fer_core.models import state_dicts
from fer_core.models.vgg_face import caffe, keras, matconvnet, state_dict, torch7
from fer_core.models.vgg_face.layers import Named

__all__ = ["FaceWeights", "read"]

# For each format, the first bytes that its files may have, and the function that reads them.
READERS: Mapping[str, tuple[tuple[bytes, ...], Callable[[Path], Named]]] = {
    "torch7": ((b"\x04\0\0\0\x01\0\0\0",), torch7.read),  # a torch object with number 1
    "matconvnet": ((b"MATLAB 5.0 MAT-file",), matconvnet.read),
    "keras": ((b"\x89HDF\r\n\x1a\n",), keras.read),
    "caffe": ((b"\x0a", b"\x12", b"\xa2\x06"), caffe.read),  # the name of a net, or a layer
}
PICKLED = (b"PK\x03\x04", b"\x80")  # first bytes of what torch.save writes, and wrote before 1.6
ORDERS = {  # order of the colour channels that conv1_1 reads, by the format of the file
    "dag": "rgb",  # converted from matconvnet's
    "matconvnet": "rgb",
    "torchvision": "rgb",
    **dict.fromkeys(("caffe", "keras", "pyvggface", "torch7"), "bgr"),
}


@dataclass(frozen=True, kw_only=True)
class FaceWeights:
    """Hold the weights of a VGG-16, and the format of the file that they were read from.

    The names of tensors are conv{b}_{i}.weight (O, I, 3, 3), fc{6,7,8}.weight (O, I), and .bias
    (O,) for both. conv1_1 reads RGB, and fc6 reads a flattened map (C, H, W).
    """

    tensors: Mapping[str, Tensor]
    format: str  # a key of ORDERS
    order: str  # order of the colour channels in the file, "rgb" or "bgr"


def read(path: Path, shapes: Mapping[str, tuple[int, ...]], *, weights: str) -> FaceWeights:
    """Read a file that has the tensors of these names and shapes; all fc layers may be missing.

    `weights` is "imagenet" for torchvision's format, and "file" for those of VGG-Face.

    Raises: WeightsError where the file is damaged, of the other kind, or has other tensors.
    """
    format_, tensors = _read(path)
    if (format_ == "torchvision") != (weights == "imagenet"):
        raise WeightsError(
            f"weights file {path} has the layers of {format_}, which stream.weights '{weights}' "
            "cannot read; use 'imagenet' for the layers of torchvision, and 'file' for all others."
        )
    connected = {name for name in shapes if name.startswith("fc")}
    wanted = shapes.keys() if connected & tensors.keys() else shapes.keys() - connected
    faults = [f"{name} is missing" for name in wanted - tensors.keys()]
    faults += [f"{name} is unknown" for name in tensors.keys() - wanted]
    faults += [
        f"{name} is {tuple(tensors[name].shape)}, not {shapes[name]}"
        for name in wanted & tensors.keys()
        if tensors[name].shape != shapes[name]
    ]
    if faults:
        raise WeightsError(state_dicts.misfit(path, "vgg16", faults))
    if ORDERS[format_] == "bgr":
        tensors["conv1_1.weight"] = tensors["conv1_1.weight"].flip(1)
    return FaceWeights(tensors=tensors, format=format_, order=ORDERS[format_])


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    format_ = _format(path)
    try:
        if format_ in READERS:
            return format_, _unique(path, READERS[format_][1](path))
        state = state_dicts.read(path)
        format_ = state_dict.layout(state)
        return format_, _unique(path, state_dict.renamed(state, format_))
    except WeightsError:
        raise
    except Exception as error:  # a damaged file makes these libraries raise errors of any kind
        raise WeightsError(
            f"weights file {path} begins as a {format_} file does, but cannot be read as one; it "
            "may be cut short, or hold something else: fetch it again."
        ) from error


def _format(path: Path) -> str:
    """Tell the format of a file by its first bytes."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(PICKLED) or start[8:9] == b"{":  # a safetensors file: a length, then JSON
        return "state dict"
    for format_, (starts, _) in READERS.items():
        if start.startswith(starts):
            return format_
    raise WeightsError(
        f"weights file {path} cannot be read: it is neither a state dict (.pth or .safetensors) "
        f"nor a file of {', '.join(READERS)}."
    )


def _unique(path: Path, named: Named) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in named:
        if name in tensors:
            raise WeightsError(state_dicts.misfit(path, "vgg16", [f"{name} occurs twice"]))
        tensors[name] = tensor
    return tensors
