import cv2
import dlib
import numpy as np
import pytest
import torch

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import build, dlib_resnet
from fer_core.storage.files import file_sha256
from fer_core.weight_files import packaged

PUBLISHED = StreamConfig(backbone="dlib_resnet", weights="package", blocks=6, freeze_depth=6)


@pytest.fixture(scope="module")
def backbone():
    return build(PUBLISHED, weights_file=None, seed=0)


@pytest.fixture(scope="module")
def chips(shared_data):
    """Cut real faces, neutral and smiling, as dlib cuts them: 150 px RGB."""
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(str(packaged("shape_predictor_68_face_landmarks.dat")))
    folder = shared_data / "london480"
    paths = [p for kind in ("neutral", "smiling") for p in sorted((folder / kind).glob("*.jpg"))]
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in paths[::25]]
    return [dlib.get_face_chip(image, predict(image, detect(image)[0]), 150) for image in images]


def test_dlibs_own_last_layer_gives_its_descriptor_of_our_maps_of_real_faces(backbone, chips):
    net = dlib.face_recognition_model_v1(str(packaged(dlib_resnet.FILE)))
    expected = torch.tensor([list(net.compute_face_descriptor(chip)) for chip in chips])

    with torch.no_grad():
        maps = backbone.preprocess(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float())
        for block in backbone.blocks:
            maps = block(maps)
    last = torch.from_numpy(dlib_resnet.read_tensors(packaged(dlib_resnet.FILE))["fc_2"][0])
    found = maps.mean(dim=(2, 3)) @ last.view(-1, 128)

    assert len(chips) >= 5
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert expected.abs().mean() > 0.05  # the tolerance is small beside the figures


def test_the_maps_have_the_published_shapes(backbone):
    maps, shapes = backbone.preprocess(torch.zeros(1, 3, 150, 150)), []
    for block in backbone.blocks:
        maps = block(maps)
        shapes.append(tuple(maps.shape[1:]))

    assert shapes == [
        (32, 35, 35), (32, 35, 35), (64, 17, 17), (128, 8, 8), (256, 4, 4), (256, 2, 2)
    ]  # fmt: skip


def test_trained_weights_are_known_by_their_file(backbone):
    assert backbone.weights_sha256 == file_sha256(packaged(dlib_resnet.FILE))
    assert backbone.source == "package"


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.dat"
    path.write_bytes(b"\x01\x05con_4")

    with pytest.raises(WeightsError, match=r"other\.dat is not dlib's ResNet-29: .* must be"):
        dlib_resnet.read_tensors(path)


@pytest.mark.parametrize("blocks", range(1, 7))
@pytest.mark.parametrize("crop_pixels", range(32, 112, 8))
def test_a_crop_either_passes_or_is_refused_before_it_is_read(blocks, crop_pixels):
    stream = StreamConfig(
        backbone="dlib_resnet",
        weights="random",
        blocks=blocks,
        freeze_depth=0,
        width=1 / 32,
        crop_pixels=crop_pixels,
    )
    try:
        backbone = build(stream, weights_file=None, seed=0)
    except ConfigError as error:
        assert "use a larger crop" in str(error)  # noqa: PT017 - either outcome is right
        assert crop_pixels < 103
        return

    maps = backbone.preprocess(torch.zeros(1, 3, crop_pixels, crop_pixels))
    for block in backbone.blocks:
        maps = block(maps)

    assert maps.numel() > 0
