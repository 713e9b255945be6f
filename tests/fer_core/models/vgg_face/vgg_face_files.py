"""Write VGG-16's weights in each format, laid out as the format's own tools do.

No reader of the product is used here. Every writer takes the tensors by their names in VGG-Face's
own files, for RGB input, with axes OIHW.
"""

import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

Tensors = Mapping[str, Tensor]
CAFFE_LAYER = {"new": (100, 1, 7), "v1": (2, 4, 6)}  # fields: of a layer, its name, its blobs
LAYERS = [f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
LAYERS += ["fc6", "fc7", "fc8"]
FEATURES = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
TORCHVISION = dict(zip(LAYERS, FEATURES + [f"classifier.{i}" for i in (0, 3, 6)], strict=True))
CHANNELS = [3, *range(4, 17)]  # 13 convolutions of different sizes, so that none is mistaken
CONNECTED = [CHANNELS[-1] * 49, 17, 18, 19]
WEIGHTS = [(out, into, 3, 3) for into, out in pairwise(CHANNELS)]
WEIGHTS += [(out, into) for into, out in pairwise(CONNECTED)]
SHAPES = {  # shapes of a small network, in which no two layers are alike
    f"{layer}.{kind}": shape
    for layer, weight in zip(LAYERS, WEIGHTS, strict=True)
    for kind, shape in (("weight", weight), ("bias", weight[:1]))
}


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def written(kind: str, tensors: Tensors, folder: Path) -> Path:
    name, writer, *_ = WRITERS[kind]
    writer(tensors, folder / name)
    return folder / name


def dag(tensors: Tensors, path: Path) -> None:
    torch.save(dict(tensors), path)


def dag_of_2018(tensors: Tensors, path: Path) -> None:
    torch.save(dict(tensors), path, _use_new_zipfile_serialization=False)


def safetensors(tensors: Tensors, path: Path) -> None:
    save_file(dict(tensors), path)


def torchvision(tensors: Tensors, path: Path) -> None:
    names = {name: name.split(".") for name in tensors}
    torch.save({f"{TORCHVISION[a]}.{b}": tensors[name] for name, (a, b) in names.items()}, path)


def pyvggface(tensors: Tensors, path: Path) -> None:
    def theirs(name: str) -> str:
        return f"fc.{name}" if name.startswith("fc") else f"features.conv_{name[4:]}"

    torch.save({theirs(name): tensor for name, tensor in bgr(tensors).items()}, path)


def torch7(tensors: Tensors, path: Path) -> None:
    path.write_bytes(Torch7(flat=False).network(bgr(tensors)))


def torch7_flat(tensors: Tensors, path: Path) -> None:
    path.write_bytes(Torch7(flat=True).network(bgr(tensors)))


def caffe(tensors: Tensors, path: Path) -> None:
    path.write_bytes(caffe_net(bgr(tensors), "new"))


def caffe_v1(tensors: Tensors, path: Path) -> None:
    path.write_bytes(caffe_net(bgr(tensors), "v1"))


def matconvnet(tensors: Tensors, path: Path) -> None:
    scipy.io.savemat(path, {"meta": {"classes": 2622}, "layers": matlab_layers(tensors)})


def matconvnet_packed(tensors: Tensors, path: Path) -> None:
    net = {"layers": matlab_layers(tensors)}
    scipy.io.savemat(path, {"net": net}, do_compression=True)


def matconvnet_filters(tensors: Tensors, path: Path) -> None:
    scipy.io.savemat(path, {"layers": matlab_layers(tensors, filters=True)})


def keras_1(tensors: Tensors, path: Path) -> None:
    keras(tensors, path, "{0}/{0}_{1}_1:0", ("W", "b"))


def keras_2(tensors: Tensors, path: Path) -> None:
    keras(tensors, path, "{0}/{0}/{1}:0", ("kernel", "bias"))


def keras_2_model(tensors: Tensors, path: Path) -> None:
    keras(tensors, path, "model_weights/{0}/{0}/{1}:0", ("kernel", "bias"))


def keras_3(tensors: Tensors, path: Path) -> None:
    keras(tensors, path, "layers/{0}/vars/{1}", ("0", "1"))


WRITERS = {  # what is written: its file, its writer, the format and channel order that are said
    "dag": ("vgg_face_dag.pth", dag, "dag", "rgb"),
    "dag of 2018": ("vgg_face_dag.pth", dag_of_2018, "dag", "rgb"),
    "safetensors": ("face.safetensors", safetensors, "dag", "rgb"),
    "pyvggface": ("vggface.pth", pyvggface, "pyvggface", "bgr"),
    "torch7": ("VGG_FACE.t7", torch7, "torch7", "bgr"),
    "torch7, flat": ("VGG_FACE.t7", torch7_flat, "torch7", "bgr"),
    "caffe": ("VGG_FACE.caffemodel", caffe, "caffe", "bgr"),
    "caffe, v1": ("VGG_FACE.caffemodel", caffe_v1, "caffe", "bgr"),
    "matconvnet": ("vgg-face.mat", matconvnet, "matconvnet", "rgb"),
    "matconvnet, packed": ("vgg-face.mat", matconvnet_packed, "matconvnet", "rgb"),
    "matconvnet, filters": ("vgg-face.mat", matconvnet_filters, "matconvnet", "rgb"),
    "keras 1": ("rcmalli_vggface_tf_vgg16.h5", keras_1, "keras", "bgr"),
    "keras 2": ("rcmalli_vggface_tf_vgg16.h5", keras_2, "keras", "bgr"),
    "keras 2, model": ("model.h5", keras_2_model, "keras", "bgr"),
    "keras 3": ("model.weights.h5", keras_3, "keras", "bgr"),
}


def bgr(tensors: Tensors) -> dict[str, Tensor]:
    """Give the same network for images whose first channel is blue."""
    return {
        name: tensor[:, [2, 1, 0]] if name == "conv1_1.weight" else tensor
        for name, tensor in tensors.items()
    }


def by_layer(tensors: Tensors) -> dict[str, list[NDArray[np.float32]]]:
    layers: dict[str, list[NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():  # each weight comes before its bias
        layers.setdefault(name.split(".")[0], []).append(np.ascontiguousarray(tensor.numpy()))
    return layers


class Torch7:
    """Torch7's File:writeObject, for a Sequential of modules with and without weights."""

    def __init__(self, *, flat: bool) -> None:
        self.flat = flat  # kernels as (O, I*H*W), as nn.SpatialConvolutionMM has them
        self.objects = 1  # the network

    def network(self, tensors: Tensors) -> bytes:
        modules = []
        for layer, arrays in by_layer(tensors).items():
            kind = "nn.Linear" if layer.startswith("fc") else "nn.SpatialConvolution"
            if layer == "fc6":
                size = self.torch("torch.LongStorage", struct.pack("<2q", 1, arrays[0].shape[1]))
                modules.append(self.module("nn.View", {"numElements": 25088.0}, size=size))
            modules += [self.module(kind, {"dW": 1.0, "train": False}, *arrays)]
            modules += [self.module("nn.ReLU", {"inplace": True, "threshold": 0.0})]
        number = self.next()
        pairs = b"".join(self.number(n) + m for n, m in enumerate(modules, 1))
        table = struct.pack("<iii", 3, number, len(modules)) + pairs
        return self.torch(
            "nn.Sequential", self.table({"_type": "torch.FloatTensor"}, modules=table), number=1
        )

    def module(self, kind, settings, *arrays, **fields):
        for name, array in zip(("weight", "bias"), arrays, strict=False):
            shape = (len(array), -1) if self.flat and name == "weight" else array.shape
            fields[name], again = self.tensor(array.reshape(shape))
            fields[f"grad{name.title()}"] = again  # the same tensor, by its number
        fields["output"] = self.torch("torch.FloatTensor", struct.pack("<iqi", 0, 1, 0))
        return self.torch(kind, self.table(settings, **fields))

    def tensor(self, array):
        strides = [size // array.itemsize for size in array.strides]
        padding = np.float32([7, 7])  # the view begins in the middle of its storage
        values = np.concatenate([padding, array.ravel()])
        storage = struct.pack("<q", values.size) + values.tobytes()
        head = struct.pack(f"<i{2 * array.ndim}q", array.ndim, *array.shape, *strides)
        head += struct.pack("<q", 1 + padding.size)
        written = self.torch("torch.FloatTensor", head + self.torch("torch.FloatStorage", storage))
        return written, struct.pack("<ii", 4, self.objects)

    def table(self, settings, **fields):
        number = self.next()
        pairs = [self.string(k) + self.plain(v) for k, v in settings.items()]
        pairs += [self.string(k) + v for k, v in fields.items()]
        return struct.pack("<iii", 3, number, len(pairs)) + b"".join(pairs)

    def plain(self, value):
        if isinstance(value, bool):
            return struct.pack("<ii", 5, value)
        return self.string(value) if isinstance(value, str) else self.number(value)

    def torch(self, kind, content, number=None):
        name = struct.pack("<i", 3) + b"V 1" + self.string(kind)[4:]
        return struct.pack("<ii", 4, number or self.next()) + name + content

    def next(self):
        self.objects += 1
        return self.objects

    @staticmethod
    def number(value):
        return struct.pack("<id", 1, value)

    @staticmethod
    def string(text):
        return struct.pack("<ii", 2, len(text)) + text.encode()


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer: an integer, or bytes after their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def caffe_net(tensors: Tensors, version: str) -> bytes:
    layer_field, name_field, blob_field = CAFFE_LAYER[version]
    net = field(1, b"VGG_FACE_16_layers") + field(5, 1)  # and force_backward
    for layer, arrays in by_layer(tensors).items():
        blobs = b"".join(field(blob_field, blob(array, version)) for array in arrays)
        learning = varint(7 << 3 | 5) + struct.pack("<f", 1.0) if version == "v1" else b""
        relu = field(name_field, f"relu_{layer}".encode())
        net += field(layer_field, relu) + field(
            layer_field, field(name_field, layer.encode()) + blobs + learning
        )
    return net


def blob(array: NDArray[np.float32], version: str) -> bytes:
    data = field(5, array.tobytes())
    if version == "new":
        return data + field(7, field(1, b"".join(map(varint, array.shape))))
    sizes = [1] * (4 - array.ndim) + list(array.shape)  # four, whatever the tensor
    return b"".join(field(n, size) for n, size in enumerate(sizes, 1)) + data


def matlab_layers(tensors: Tensors, *, filters: bool = False) -> NDArray[np.object_]:
    layers: list[dict[str, object]] = []
    for name, (weight, bias) in by_layer(tensors).items():
        side = 7 if name == "fc6" else 1
        kernel = weight.reshape(len(weight), -1, side, side) if weight.ndim == 2 else weight
        arrays = [kernel.transpose(2, 3, 1, 0), bias.reshape(-1, 1)]
        named = dict(zip(("filters", "biases"), arrays, strict=True))
        layers += [
            {"name": name, "type": "conv", **(named if filters else {"weights": cell(arrays)})},
            {"name": f"relu_{name}", "type": "relu", "weights": cell([])},
        ]
    return cell(layers)


def cell(values: list[object]) -> NDArray[np.object_]:
    array = np.empty((1, len(values)), dtype=object)
    for place, value in enumerate(values):
        array[0, place] = value
    return array


def keras(tensors: Tensors, path: Path, place: str, kinds: tuple[str, str]) -> None:
    with h5py.File(path, "w") as file:
        file.create_group(place.split("{", maxsplit=1)[0] + "pool1")
        for layer, (weight, bias) in by_layer(bgr(tensors)).items():
            kernel = weight.T
            if layer == "fc6":
                kernel = weight.reshape(len(weight), -1, 7, 7).transpose(2, 3, 1, 0)
                kernel = kernel.reshape(-1, len(weight))
            elif weight.ndim == 4:
                kernel = weight.transpose(2, 3, 1, 0)
            for kind, array in zip(kinds, (kernel, bias), strict=True):
                file[place.format(layer, kind)] = array
