import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.data.datasets import load
from fer_core.data.manifest import Clip
from fer_core.faces import near_copies
from fer_core.faces.file_checks import header
from fer_core.faces.near_copies import SIDE, find, hashes, mirrored

CODES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9)


def picture(seed, pixels=320):
    """A smooth random picture, (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), np.uint8)
    return cv2.resize(coarse, (pixels, pixels), interpolation=cv2.INTER_CUBIC)


def clip_at(path):
    return Clip(
        clip=path.name, subject="1", emotion="joy", authenticity=None, path=path, sha256=path.name
    )


def reduced(path, image, quality=95):
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return near_copies.thumbnail(clip_at(path), header(clip_at(path)))


def scaled(image, factor):
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=method)


CHANGES = {  # what was done: the change, the JPEG quality, whether it mirrors
    "half": (lambda image: scaled(image, 0.5), 95, False),
    "double": (lambda image: scaled(image, 2), 95, False),
    "re-encoded": (lambda image: image, 50, False),
    "mirrored": (lambda image: image[:, ::-1], 95, True),
    "grey": (lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 95, False),
    "all": (lambda image: scaled(image[:, ::-1], 0.5), 50, True),
}


@given(CODES)
def test_mirroring_twice_gives_the_first_hash_again(codes):
    codes = np.array(codes, np.uint64)

    assert (mirrored(mirrored(codes)) == codes).all()
    assert (mirrored(codes) != codes).all()


@given(st.integers(0, 2**32 - 1))
def test_the_hash_of_a_mirrored_image_is_the_mirrored_hash(seed):
    images = np.random.default_rng(seed).integers(0, 256, (4, SIDE, SIDE), np.uint8)

    assert (hashes(images[:, :, ::-1]) == mirrored(hashes(images))).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_brightness_does_not_change_the_hash(seed, more):
    images = np.random.default_rng(seed).integers(0, 156, (4, SIDE, SIDE), np.uint8)

    changed = np.bitwise_count(hashes(images + np.uint8(more)) ^ hashes(images))

    assert changed.max() <= 1  # a frequency that is nearly zero may round to either side


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_said_to_be_mirrored_if_it_is(change, tmp_path):
    alter, quality, is_mirrored = CHANGES[change]
    images = [reduced(tmp_path / f"{seed}.jpg", picture(seed)) for seed in range(20)]
    images.append(reduced(tmp_path / "copy.jpg", alter(picture(7)), quality))

    found = find(np.array(images), np.arange(21))

    assert found.pairs == 1
    (match,) = found.matches
    assert (match.first, match.second, match.mirrored) == (7, 20, is_mirrored)


def test_copies_within_a_group_do_not_count(tmp_path):
    images = np.array([reduced(tmp_path / "a.jpg", picture(1))] * 3)

    assert find(images, np.array([0, 0, 0])).pairs == 0
    assert find(images, np.array([0, 0, 1])).pairs == 2


@given(
    st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 12), st.sampled_from([3, 9999])
)
def test_every_pair_of_close_hashes_is_a_candidate_once(seed, count, most_flips, block):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2**64, count, np.uint64)
    copied = random.integers(0, count, count)
    for i in range(count // 2):
        flips = random.choice(64, random.integers(0, most_flips + 1), replace=False)
        code = codes[copied[i]] if i % 3 else mirrored(codes[copied[i] : copied[i] + 1])[0]
        codes[i] = code ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64))
    plain, groups = random.random(count) < 0.1, random.integers(0, count, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_copies, "_BLOCK", block)
        found = [
            (int(i), int(j), turned)
            for first, second, turned in near_copies._candidates(codes, plain, groups)
            for i, j in zip(first, second, strict=True)
        ]

    wanted = {
        (i, j, turned)
        for turned, own in ((False, codes), (True, mirrored(codes)))
        for i in range(count)
        for j in range(i + 1, count)
        if (own[i] ^ codes[j]).item().bit_count() <= near_copies.MOST_BITS
        if groups[i] != groups[j] and not plain[i] and not plain[j]
    }
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_a_symmetric_image_and_its_copy_are_one_pair():
    half = picture(1)[:, :160, 0]
    image = cv2.resize(np.hstack([half, half[:, ::-1]]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    found = find(np.array([image, image]), np.arange(2))

    assert found.pairs == 1
    assert [(m.first, m.second) for m in found.matches] == [(0, 1)]


def test_plain_images_equal_nothing():
    plain = np.full((3, SIDE, SIDE), 128, np.uint8)
    plain[1] += 1

    assert find(plain, np.arange(3)).pairs == 0


def test_no_images_have_no_copies():
    assert find(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, int)) == near_copies.NearCopies(
        0, ()
    )


def test_blocks_of_pairs_find_what_one_block_finds(tmp_path, monkeypatch):
    seeds = [*range(30), 3, 11, 3]
    images = np.array([reduced(tmp_path / "x.jpg", picture(seed)) for seed in seeds])
    whole = find(images, np.arange(33))

    monkeypatch.setattr(near_copies, "_BLOCK", 70)

    assert find(images, np.arange(33)) == whole
    assert whole.pairs == 4
    assert {m.second for m in whole.matches} == {30, 31, 32}


@pytest.mark.parametrize("factor", [1, 2.5, 5, 9])
def test_a_large_jpeg_is_reduced_while_it_is_decoded_and_looks_the_same(factor, tmp_path):
    large = scaled(picture(1), factor)

    jpeg = reduced(tmp_path / "a.jpg", large)
    whole = reduced(tmp_path / "a.png", large)

    assert np.abs(jpeg.astype(int) - whole).max() <= 4


def test_two_people_with_one_expression_before_one_wall_are_no_copies(london):
    manifest = load("folder", london)
    read = near_copies.thumbnails([(clip, header(clip)) for clip in manifest.clips])

    assert find(np.array(read), np.arange(len(read))).pairs == 0


def test_a_file_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    clip = clip_at(tmp_path / "a.png")

    assert near_copies.thumbnails([(clip, header(clip))]) == [None]
