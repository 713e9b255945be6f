"""VGG-Face's weights, from each format they are published in to one set of names and RGB input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fer_core.errors import WeightsError
from fer_core.models import state_dicts
from fer_core.models.vgg_face import caffe, keras, matconvnet, state_dict, torch7
from fer_core.models.vgg_face.layers import Named

__all__ = ["FaceWeights", "read"]

READERS: Mapping[str, tuple[tuple[bytes, ...], Callable[[Path], Named]]] = {  # by first bytes
    "torch7": ((b"\x04\0\0\0\x01\0\0\0",), torch7.read),  # a torch object, number 1
    "matconvnet": ((b"MATLAB 5.0 MAT-file",), matconvnet.read),
    "keras": ((b"\x89HDF\r\n\x1a\n",), keras.read),
    "caffe": ((b"\x0a", b"\x12", b"\xa2\x06"), caffe.read),  # a net's name, or a layer
}
PICKLED = (b"PK\x03\x04", b"\x80")  # as torch.save does, and did before 1.6
ORDERS = {  # of the channels that conv1_1 reads
    "dag": "rgb",  # converted from matconvnet's
    "matconvnet": "rgb",
    "torchvision": "rgb",
    **dict.fromkeys(("caffe", "keras", "pyvggface", "torch7"), "bgr"),
}


@dataclass(frozen=True, kw_only=True)
class FaceWeights:
    """VGG-16's weights, and what kind of file they were in."""

    # conv{b}_{i}.weight (O, I, 3, 3), fc{6,7,8}.weight (O, I), .bias (O,). conv1_1 reads RGB; fc6 a
    # map (C, H, W).
    tensors: Mapping[str, Tensor]
    format: str  # a key of ORDERS
    order: str  # the file's own, "rgb" or "bgr"


def read(path: Path, shapes: Mapping[str, tuple[int, ...]], *, weights: str) -> FaceWeights:
    """Read a file that holds these tensors and no other; the fc layers may all be absent.

    `weights` is "imagenet" for torchvision's format, "file" for VGG-Face's.

    Raises: WeightsError where the file is broken or of the other kind, or its tensors differ.
    """
    format_, tensors = _read(path)
    if (format_ == "torchvision") != (weights == "imagenet"):
        raise WeightsError(
            f"weights file {path} has the layers of {format_}: those of torchvision go with "
            "weights 'imagenet', all others with 'file'."
        )
    top = {name for name in shapes if name.startswith("fc")}
    wanted = shapes.keys() if top & tensors.keys() else shapes.keys() - top
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
    except Exception as error:  # nobody lists what a broken file makes these libraries raise
        raise WeightsError(
            f"weights file {path} begins as a {format_} file does, but cannot be read as one; it "
            "may be cut short, or hold something else: fetch it again."
        ) from error


def _format(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(PICKLED) or start[8:9] == b"{":  # safetensors: a length, then JSON
        return "state dict"
    for format_, (starts, _) in READERS.items():
        if start.startswith(starts):
            return format_
    raise WeightsError(
        f"weights file {path} cannot be read: it is no state dict (.pth or .safetensors), and of "
        f"none of the formats {', '.join(READERS)}."
    )


def _unique(path: Path, named: Named) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in named:
        if name in tensors:
            raise WeightsError(state_dicts.misfit(path, "vgg16", [f"{name} is there twice"]))
        tensors[name] = tensor
    return tensors
