import numpy as np
import pytest
import torch

from fer_core.config import AugmentConfig
from fer_core.features.augment import augmented

STILL = AugmentConfig(flip=False)
STRONG = AugmentConfig(shift=0.1, zoom=0.2, rotate_degrees=15, shear_degrees=10, brightness=0.3)


def crops(clips=2, frames=3, side=32):
    return torch.randint(0, 256, (clips, frames, side, side, 3), dtype=torch.uint8)


def changed(images, augment, seed=0):
    return augmented(images, augment, np.random.default_rng(seed))


def test_without_any_change_an_image_stays_as_it_is():
    images = crops()

    torch.testing.assert_close(changed(images, STILL), images.float(), atol=1e-2, rtol=0)


def test_all_frames_of_a_clip_change_alike_and_clips_each_in_their_way():
    one = crops(1, 1)
    images = one.expand(4, 3, -1, -1, -1)

    result = changed(images, STRONG)

    for frame in range(1, 3):
        torch.testing.assert_close(result[:, frame], result[:, 0])
    assert not torch.allclose(result[0], result[1])


def test_a_flip_mirrors_every_other_clip():
    one = crops(1, 1)
    images = one.expand(64, 1, -1, -1, -1)

    result = changed(images, AugmentConfig(flip=True))

    mirrored = [torch.allclose(r, one[0].float().flip(2), atol=0.05) for r in result]
    upright = [torch.allclose(r, one[0].float(), atol=0.05) for r in result]
    assert all(a != b for a, b in zip(mirrored, upright, strict=True))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize("name", ["shift", "zoom", "brightness"])
def test_each_change_can_be_had_alone(name):
    images = crops()

    result = changed(images, AugmentConfig(flip=False, **{name: 0.2}))

    assert not torch.allclose(result, images.float(), atol=1)
    assert result.min() >= 0
    assert result.max() <= 255


def test_a_seed_repeats_the_changes():
    images = crops()

    assert torch.equal(changed(images, STRONG, 1), changed(images, STRONG, 1))
    assert not torch.equal(changed(images, STRONG, 1), changed(images, STRONG, 2))
