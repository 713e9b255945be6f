import contextlib
import importlib.util
import os
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from fer_core.config import StreamConfig
from fer_core.errors import WeightsError
from fer_core.models import vgg_face
from fer_core.models.backbones import vgg16

specification = importlib.util.spec_from_file_location(
    "vgg_face_files", Path(__file__).with_name("vgg_face_files.py")
)
files = importlib.util.module_from_spec(specification)
specification.loader.exec_module(files)

SHAPES, drawn, written = files.SHAPES, files.drawn, files.written
FORMATS = sorted(files.WRITERS)


def read(path, weights="file"):
    return vgg_face.read(path, SHAPES, weights=weights)


def refusal(path, weights="file"):
    """Read a file that must be refused, in one line that names it, and give that line."""
    with pytest.raises(WeightsError) as caught:
        read(path, weights)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("top", [True, False])
def test_every_format_gives_the_same_tensors_with_and_without_the_top(kind, top, tmp_path):
    tensors = {n: t for n, t in drawn(SHAPES).items() if top or n.startswith("conv")}
    path = written(kind, tensors, tmp_path)

    weights = read(path)

    assert weights.tensors.keys() == tensors.keys()
    assert all(torch.equal(weights.tensors[name], tensors[name]) for name in tensors)
    assert (weights.format, weights.order) == files.WRITERS[kind][2:]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_is_told_by_what_is_in_the_file_not_by_its_name(kind, tmp_path):
    suffix = ".safetensors" if kind == "safetensors" else ".bin"
    path = written(kind, drawn(SHAPES), tmp_path).rename(tmp_path / f"weights{suffix}")

    assert read(path).format == files.WRITERS[kind][2]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_missing_and_what_has_another_shape_is_listed_at_once(kind, tmp_path):
    tensors = drawn({n: s for n, s in SHAPES.items() if not n.startswith("fc8")})
    tensors |= {"conv2_1.bias": torch.zeros(99)}

    message = refusal(written(kind, tensors, tmp_path))

    assert message.endswith(
        "conv2_1.bias is (99,), not (6,); fc8.bias is missing; fc8.weight is missing."
    )


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "torch7" not in kind])
def test_a_layer_of_another_name_is_unknown(kind, tmp_path):
    extra = drawn({"conv9_9.weight": (5, 4, 3, 3), "conv9_9.bias": (5,)})

    message = refusal(written(kind, drawn(SHAPES) | extra, tmp_path))

    assert message.count("is unknown") == 2
    assert "9_9" in message


def test_a_layer_too_many_in_a_torch7_file_which_has_no_names_is_unknown(tmp_path):
    tensors = drawn(SHAPES | {"fc9.weight": (5, 19), "fc9.bias": (5,)})

    message = refusal(written("torch7", tensors, tmp_path))

    assert message.endswith("vgg16: layer 17.bias is unknown; layer 17.weight is unknown.")


def test_a_layer_that_occurs_twice_is_refused(tmp_path):
    path = written("caffe", drawn(SHAPES), tmp_path)
    path.write_bytes(path.read_bytes() * 2)  # a protocol buffer's way to add to it

    assert refusal(path).endswith("conv1_1.weight occurs twice.")


def test_a_third_array_of_a_layer_is_unknown(tmp_path):
    tensors = drawn(SHAPES) | {"conv1_1.moments": torch.zeros(4)}

    path = tmp_path / "VGG_FACE.caffemodel"
    path.write_bytes(files.caffe_net(files.bgr(tensors), "new"))

    assert refusal(path).endswith("vgg16: conv1_1.2 is unknown.")


def test_torchvisions_layers_go_with_imagenet_weights_and_no_others_do(tmp_path):
    tensors = drawn(SHAPES)
    files.torchvision(tensors, tmp_path / "vgg16.pth")
    files.dag(tensors, tmp_path / "face.pth")

    weights = read(tmp_path / "vgg16.pth", "imagenet")

    assert all(torch.equal(weights.tensors[name], tensors[name]) for name in SHAPES)
    assert (weights.format, weights.order) == ("torchvision", "rgb")
    assert "layers of torchvision" in refusal(tmp_path / "vgg16.pth", "file")
    assert "layers of dag" in refusal(tmp_path / "face.pth", "imagenet")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_anywhere_is_refused(kind, tmp_path):
    path = written(kind, drawn(SHAPES), tmp_path)
    content = path.read_bytes()

    for size in {*np.linspace(0, len(content) - 1, 24, dtype=int), *range(12)}:
        path.write_bytes(content[:size])
        assert refusal(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_wrong_bytes_anywhere_are_refused_or_are_weights(kind, tmp_path):
    path = written(kind, drawn(SHAPES), tmp_path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)

    for reach in [300] * 12 + [len(content)] * 6:  # most of them where the structure is
        wrong = content.copy()
        wrong[generator.integers(0, reach, 6)] = generator.integers(0, 256, 6)
        path.write_bytes(wrong.tobytes())
        shapes = SHAPES  # of what is read, where it is not refused
        with contextlib.suppress(WeightsError):
            shapes = {name: tuple(value.shape) for name, value in read(path).tensors.items()}
        assert shapes == SHAPES


@pytest.mark.parametrize(
    "start", [b"", b"hello", *(s for starts, _ in vgg_face.READERS.values() for s in starts)]
)
def test_garbage_is_refused_whatever_it_begins_with(start, tmp_path):
    for seed in range(10):
        path = tmp_path / "garbage"
        path.write_bytes(start + np.random.default_rng(seed).bytes(1000))
        assert refusal(path)


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".t7", ".caffemodel", ".mat", ".h5"])
@pytest.mark.parametrize("how", [0, 2, 4, "torch", "torch of 2018"])
def test_a_pickle_is_not_run_under_any_name(suffix, how, tmp_path):
    path, mark = tmp_path / f"VGG_FACE{suffix}", tmp_path / "was-run"
    state = {"conv1_1.weight": Evil(mark)}
    if isinstance(how, int):
        path.write_bytes(pickle.dumps(state, protocol=how))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "torch")

    refusal(path)

    assert not mark.exists()


T7 = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 13) + b"nn.Sequential"
STORAGE = struct.pack("<iii", 4, 2, 3) + b"V 1" + struct.pack("<i", 18) + b"torch.FloatStorage"
MODULES = struct.pack("<iiiii", 3, 2, 1, 2, 7) + b"modules"


MAT = b"MATLAB 5.0 MAT-file".ljust(128)
ZEROS = zlib.compress(bytes(50_000_000))


@pytest.fixture
def little_memory():
    """Hold a test to 20 MB."""
    tracemalloc.start()
    yield
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20e6


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "content",
    [
        T7 + STORAGE + struct.pack("<q", 2**60),
        T7 + STORAGE + struct.pack("<q", -1),
        T7 + struct.pack("<ii", 2, 2**31 - 1),  # a string
        T7 + struct.pack("<iii", 3, 2, 2**31 - 1),  # a table
        T7 + struct.pack("<iii", 3, 2, 2**31 - 1) + struct.pack("<ii", 2, -8),  # going back
        T7 + MODULES + struct.pack("<ii", 3, 2),  # a table that is in itself
        T7 + MODULES + struct.pack("<iiid", 3, 3, 1, 1) * 10_000,
        T7 + struct.pack("<iii", 8, 2, 0),  # a function
        b"\x0a" + b"\xff" * 3_000_000,  # a varint that does not end
        files.field(100, b"")[:-1] + files.varint(2**60),
        files.field(100, files.field(7, files.field(5, b"1234") + files.field(1, 2**62))),
        files.field(100, files.field(7, files.field(7, files.field(1, b"\xff" * 9 + b"\1")))),
        MAT + struct.pack("<II", 14, 2**32 - 1),
        MAT + struct.pack("<II", 15, len(ZEROS)) + ZEROS,
    ],
    ids=range(14),
)
def test_a_file_that_says_it_is_huge_or_endless_is_refused_at_once(content, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)

    assert refusal(path)


@pytest.mark.usefixtures("little_memory")
def test_a_dataset_that_was_never_filled_is_not_made_up(tmp_path):
    path = tmp_path / "vgg.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("conv1_1/kernel", (3, 3, 2**16, 64), "f4", chunks=(3, 3, 8, 8))

    assert "cannot be read as one" in refusal(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "view", [(4, 3, 3, 3, 2**40, 9, 3, 1), (4, 999, 999, 9, 0, 0, 0, 0), (4, 3, 3, 3, -1, 9, 3, 1)]
)
def test_a_tensor_is_no_larger_than_its_storage_and_within_it(view, tmp_path):
    path = written("torch7", drawn(SHAPES), tmp_path)
    content = path.read_bytes()
    head = struct.pack("<i8q", 4, 4, 3, 3, 3, 27, 9, 3, 1)  # conv1_1's sizes and strides
    assert content.count(head) == 1

    path.write_bytes(content.replace(head, struct.pack("<i8q", 4, *view)))

    assert "cannot be read as one" in refusal(path)


def convolutions_of_the_published_size():
    return {n: t for n, t in vgg16.shapes(2622).items() if n.startswith("conv")}


@pytest.fixture(scope="module")
def published():
    return {n: t / 30 for n, t in drawn(convolutions_of_the_published_size()).items()}


@pytest.fixture(scope="module")
def maps(published, tmp_path_factory):
    """Read an RGB image by the network of a file in the format."""

    def maps_of(kind):
        path = written(kind, published, tmp_path_factory.mktemp("published"))
        stream = StreamConfig(backbone="vgg16", weights="file", blocks=3, freeze_depth=3)
        backbone = vgg16.build(stream, path, torch.Generator())
        path.unlink()
        x = 255 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        x = backbone.preprocess(x)
        with torch.no_grad():
            for block in backbone.blocks:
                x = block(x)
        return x

    return maps_of


@pytest.fixture(scope="module")
def expected(maps):
    return maps("dag")


@pytest.mark.parametrize("kind", ["torch7", "caffe", "matconvnet", "keras 2", "pyvggface"])
def test_an_rgb_image_has_the_same_maps_by_every_format(kind, maps, expected):
    assert expected.std() > 0
    assert torch.equal(maps(kind), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_of_the_published_size_is_read(kind, tmp_path):
    tensors = drawn(vgg16.shapes(2622))
    path = written(kind, tensors, tmp_path)

    weights = vgg_face.read(path, vgg16.shapes(2622), weights="file")

    path.unlink()
    assert all(torch.equal(weights.tensors[name], tensors[name]) for name in tensors)
