"""One manifest of all media that people have: what is read, what is refused, and the counts."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fer_core.data.datasets import load
from fer_core.data.manifest import Clip
from fer_core.faces import video
from fer_core.faces.file_checks import header
from fer_core.storage.containers import listed_frames, open_video, picture_of, pixel_aspect
from tests.fer_core.faces import oddities
from tests.fer_core.faces.oddities import ASIDE, JUNK, ODDITIES

TOLERANCE = 14  # levels that lossy coding may move a colour by


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return oddities.write(tmp_path_factory.mktemp("oddities"))


@pytest.fixture(scope="module")
def manifest(root):
    return load("folder", root)


@pytest.mark.parametrize("odd", ODDITIES, ids=lambda odd: odd.name)
def test_each_oddity_is_read_as_it_is_meant_or_refused_in_a_sentence(manifest, odd):
    found = oddities.found(manifest, odd)

    if odd.refused:
        assert isinstance(found, str), "it was read"
        assert odd.refused in found
        assert (odd.name in dict(manifest.left_out)) == odd.at_once
        return
    assert not isinstance(found, str), found
    assert len(found) == odd.frames
    for image in found:
        assert image.shape == (odd.size[1], odd.size[0], 3)
        assert image.dtype == np.uint8
    spot = found[0][odd.size[1] // 2, odd.size[0] // 4]
    np.testing.assert_allclose(spot, odd.left, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "declared", "hidden", "dropped", "aspect", "steps"),
    [  # as in the videos that users of similar software had: trimmed, from a lab, wide, by a phone
        ("edit list.mp4", 30, 12, 0, 1, {1}),
        ("edit list within a group.mp4", 60, 12, 0, 1, {1}),
        ("dropped frames.avi", 17, 0, 5, 1, {1, 2}),
        ("anamorphic.mp4", 12, 0, 0, Fraction(16, 9), {1}),
        ("variable rate.mp4", 12, 0, 0, 1, {1, 3}),
    ],
)
def test_the_made_videos_have_the_traits_that_refuted_a_simpler_reading(
    root, name, declared, hidden, dropped, aspect, steps
):
    with open_video(root / name) as container:
        stream = picture_of(container)
        entries = stream.index_entries

        assert stream.frames == declared
        assert sum(entry.is_discard for entry in entries) == hidden
        assert declared - listed_frames(container) == hidden + dropped
        assert pixel_aspect(stream) == aspect
    apart = np.diff(video.times(root / name)) * 25
    assert {*apart.round().astype(int)} == steps


@pytest.mark.parametrize("odd", ODDITIES, ids=lambda odd: odd.name)
def test_the_doctor_says_of_each_what_reading_will_find(manifest, odd, root):
    clip = Clip(clip="", subject="", emotion="", authenticity=None, path=root / odd.name, sha256="")

    seen = header(clip)

    assert bool(seen.fault) == bool(odd.refused), seen
    if not odd.refused:
        assert (seen.frames, seen.size) == (odd.frames, odd.size) or "turned" in odd.name


def test_the_counts_add_up_to_the_files_that_are_there(manifest, root):
    top = [path for path in root.iterdir() if path.name not in (*JUNK, "__MACOSX")]
    inside = {"frames and a text/notes.txt"}

    assert len(ODDITIES) >= 60
    read = [odd.name for odd in ODDITIES if not (odd.refused and odd.at_once)]
    assert sorted(clip.clip for clip in manifest.clips) == sorted(read)
    refused = [odd.name for odd in ODDITIES if odd.refused and odd.at_once]
    assert [name for name, _ in manifest.left_out] == sorted([*refused, "gone.jpg"])
    assert [name for name, _ in manifest.copies] == ["plainer.jpg"]
    assert dict(manifest.aside) == {".xlsx": 1, ".jpg": 1, "no suffix": 1, ".csv": 1, ".txt": 1}
    assert sum(count for _, count in manifest.aside) == len(ASIDE) + len(inside) + 1
    counted = len(manifest.clips) + len(manifest.left_out) - 1 + len(manifest.copies)
    assert counted + len(ASIDE) + 1 == len(top)


def test_the_page_of_kinds_of_files_has_a_row_for_each_oddity():
    page = (Path(__file__).parents[3] / "docs" / "media.md").read_text(encoding="utf-8")
    rows = [row.replace(r"\|", "/") for row in page.splitlines() if row.startswith("| `")]
    shown = {row.split("`")[1]: row.split("| ")[-1].startswith("refused: ") for row in rows}

    assert shown == {odd.name.replace("|", "/"): bool(odd.refused) for odd in ODDITIES}
