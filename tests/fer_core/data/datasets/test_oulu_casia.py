import pytest

from fer_core.data.datasets import load
from fer_core.errors import DataError

NESTINGS = [".", "Strong", "VL/Strong", "B_OriginalImg/VL/Strong", "a/b/OriginalImg/VL/Strong"]


@pytest.mark.parametrize("nesting", NESTINGS)
def test_clips_are_folders_of_frames_in_any_usual_nesting(nesting, tmp_path, write):
    for frame in range(3):
        write(tmp_path / nesting / "P001" / "Anger" / f"{frame:03d}.jpeg")
        write(tmp_path / nesting / "P080" / "Surprise" / f"{frame:03d}.PNG")

    clips = load("oulu_casia", tmp_path).clips

    assert [(c.subject, c.emotion, c.authenticity) for c in clips] == [
        ("P001", "anger", None),
        ("P080", "surprise", None),
    ]
    assert all(clip.path.is_dir() for clip in clips)


def test_other_cameras_and_lights_are_not_read(tmp_path, write):
    for place in ("VL/Strong", "VL/Dark", "NI/Strong"):
        write(tmp_path / "B_OriginalImg" / place / "P001" / "Fear" / "000.jpeg")

    clips = load("oulu_casia", tmp_path).clips

    assert [clip.clip for clip in clips] == ["B_OriginalImg/VL/Strong/P001/Fear"]


def test_unknown_and_empty_folders_are_left_out_with_a_reason(tmp_path, write):
    write(tmp_path / "VL" / "Strong" / "P001" / "Anger" / "000.jpeg")
    write(tmp_path / "VL" / "Strong" / "P001" / "Boredom" / "000.jpeg")
    write(tmp_path / "VL" / "Strong" / "P001" / "Fear" / "Thumbs.db")

    left_out = dict(load("oulu_casia", tmp_path).left_out)

    assert left_out["VL/Strong/P001/Boredom"].startswith("its name is none of anger")
    assert left_out["VL/Strong/P001/Fear"] == "it is a folder without images"


def test_two_copies_of_the_set_are_not_mixed(tmp_path, write):
    for copy in ("first", "second"):
        write(tmp_path / copy / "VL" / "Strong" / "P001" / "Anger" / "000.jpeg")

    with pytest.raises(DataError, match=r"more than one folder of .*: .*first.*second"):
        load("oulu_casia", tmp_path)
