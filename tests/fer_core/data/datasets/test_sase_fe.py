import pytest

from fer_core.data.datasets import load, sase_fe


@pytest.mark.parametrize("top", ["FakeTrue_DB", "Train", "sase/FakeTrue_DB"])
def test_all_twelve_names_are_read_in_any_nesting_and_case(top, tmp_path, write):
    for name in sase_fe.CLIPS:
        write(tmp_path / top / "7" / f"{name}.MP4")
        write(tmp_path / top / "age" / f"{name.lower()}.mp4")

    manifest = load("sase_fe", tmp_path)

    read = {(c.subject, c.emotion, c.authenticity) for c in manifest.clips}
    assert read == {(s, *labels) for s in ("7", "age") for labels in sase_fe.CLIPS.values()}
    assert manifest.left_out == ()


def test_the_prefix_tells_sadness_from_surprise_where_both_end_alike(tmp_path, write):
    write(tmp_path / "1" / "D2N2S.MP4")
    write(tmp_path / "1" / "H2N2S.MP4")

    clips = load("sase_fe", tmp_path).clips

    assert [(c.emotion, c.authenticity) for c in clips] == [
        ("surprise", "acted"),
        ("sadness", "acted"),
    ]


def test_one_file_under_three_labels_is_left_out_thrice(tmp_path, write):
    for name in ("H2N2A", "H2N2C", "H2N2D"):
        write(tmp_path / "8" / f"{name}.MP4", "the same bytes")
    write(tmp_path / "8" / "N2A.MP4")

    manifest = load("sase_fe", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["8/N2A.MP4"]
    assert [name for name, _ in manifest.left_out] == [
        f"8/{name}.MP4" for name in ("H2N2A", "H2N2C", "H2N2D")
    ]
    assert "8/H2N2C.MP4, 8/H2N2D.MP4, but its label differs" in manifest.left_out[0][1]


def test_of_two_copies_with_one_label_the_first_stays(tmp_path, write):
    write(tmp_path / "FakeTrue_DB" / "1" / "N2A.MP4", "the same bytes")
    write(tmp_path / "Train" / "1" / "N2A.MP4", "the same bytes")

    manifest = load("sase_fe", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["FakeTrue_DB/1/N2A.MP4"]
    assert manifest.copies == (("Train/1/N2A.MP4", "a copy of FakeTrue_DB/1/N2A.MP4"),)
    assert manifest.missing_share() == 0


def test_what_cannot_be_labelled_is_left_out_with_a_reason(tmp_path, write):
    write(tmp_path / "Train" / "1" / "N2A.MP4")
    write(tmp_path / "Train" / "1" / "N2X.MP4")
    write(tmp_path / "N2H.MP4")
    write(tmp_path / "Train" / "1" / "._N2A.MP4")
    write(tmp_path / "Train" / "1" / "notes.txt")

    reasons = dict(load("sase_fe", tmp_path).left_out)

    assert reasons.keys() == {"Train/1/N2X.MP4", "N2H.MP4"}
    assert reasons["Train/1/N2X.MP4"].startswith("its name is none of N2A, N2C")
    assert reasons["N2H.MP4"] == "it does not lie in the folder of a subject"
