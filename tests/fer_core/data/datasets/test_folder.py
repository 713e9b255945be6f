import os
import unicodedata
from collections import Counter

import pytest

from fer_core.data.datasets import load
from fer_core.errors import DataError, FerError


def test_a_table_names_files_and_folders_of_frames(tmp_path, write):
    write(tmp_path / "a.MP4")
    write(tmp_path / "b" / "0001.png")
    write(
        tmp_path / "manifest.csv",
        "path,subject,emotion,authenticity\na.MP4,ann,joy,acted\nb,bob,rage,\n",
    )

    clips = load("folder", tmp_path).clips

    assert [(c.clip, c.subject, c.emotion, c.authenticity) for c in clips] == [
        ("a.MP4", "ann", "joy", "acted"),
        ("b", "bob", "rage", None),
    ]


def test_a_table_of_any_name_counts_if_its_columns_do(tmp_path, write):
    write(tmp_path / "a.jpg")
    write(tmp_path / "people.csv", "face_id,age\n1,30\n")
    write(tmp_path / "labels.csv", "path,subject,emotion\na.jpg,ann,joy\n")

    clips = load("folder", tmp_path).clips

    assert [(c.subject, c.emotion) for c in clips] == [("ann", "joy")]


def test_what_a_table_names_in_vain_is_left_out_with_a_reason(tmp_path, write):
    write(tmp_path / "a.jpg")
    write(tmp_path / "notes.txt")
    rows = "a.jpg,ann,joy\ngone.jpg,ann,joy\nnotes.txt,ann,joy\n"
    write(tmp_path / "manifest.csv", f"path,subject,emotion\n{rows}")

    assert load("folder", tmp_path).left_out == (
        ("gone.jpg", "it does not exist"),
        ("notes.txt", "it is neither an image, a video nor a folder of images"),
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,emotion\na.jpg,joy\n", "has no column subject"),
        ("path,subject,emotion\na.jpg,,joy\n", "line 2: the column 'subject' is empty"),
        (
            "path,subject,emotion,authenticity\na.jpg,ann,joy,fake\n",
            "line 2: there is no authenticity 'fake'; available: acted, genuine",
        ),
    ],
)
def test_a_wrong_table_says_where_and_what(table, message, tmp_path, write):
    write(tmp_path / "a.jpg")
    write(tmp_path / "manifest.csv", table)

    with pytest.raises(DataError, match=message):
        load("folder", tmp_path)


def test_two_tables_of_labels_need_one_to_be_named(tmp_path, write):
    for name in ("a.csv", "b.csv"):
        write(tmp_path / name, "path,subject,emotion\nx.jpg,ann,joy\n")

    with pytest.raises(DataError, match=r"several tables of labels, a\.csv, b\.csv"):
        load("folder", tmp_path)


def test_without_a_table_the_place_and_the_name_are_the_labels(tmp_path, write):
    write(tmp_path / "joy" / "ann_1.jpg")
    write(tmp_path / "joy" / "ann_2.bmp")
    write(tmp_path / "rage" / "bob_clip.mp4")
    write(tmp_path / "rage" / "nobody.png")
    write(tmp_path / "rage" / "bob_points.txt")

    manifest = load("folder", tmp_path)

    assert [(c.clip, c.subject, c.emotion) for c in manifest.clips] == [
        ("joy/ann_1.jpg", "ann", "joy"),
        ("joy/ann_2.bmp", "ann", "joy"),
        ("rage/bob_clip.mp4", "bob", "rage"),
    ]
    reason = "its name does not begin with a subject and an underscore"
    ((path, why),) = manifest.left_out
    assert (path, why.partition(";")[0]) == ("rage/nobody.png", reason)


def test_a_folder_in_another_layout_is_answered_with_what_to_do(tmp_path, write):
    write(tmp_path / "flat" / "a.jpg")
    write(tmp_path / "unnamed" / "joy" / "im0.jpg")

    with pytest.raises(DataError, match=r"a\.jpg is no clip: it lies in no folder of a label\."):
        load("folder", tmp_path / "flat")
    with pytest.raises(DataError, match="with --subjects TABLE or --subject-pattern REGEX"):
        load("folder", tmp_path / "unnamed")


def test_the_london_set_is_read_as_it_lies(london):
    manifest = load("folder", london)

    assert Counter(c.emotion for c in manifest.clips) == {"neutral": 102, "smiling": 102}
    assert len(manifest.subjects) == 102
    assert manifest.left_out == ()


def test_what_should_be_a_clip_and_is_not_read_is_missing_and_the_rest_is_counted(tmp_path, write):
    write(tmp_path / "happy" / "1_a.jpg")
    write(tmp_path / "happy" / "1_b.heic")
    write(tmp_path / "happy" / "1_c.CR2")
    write(tmp_path / "happy" / "1_d.txt")
    write(tmp_path / "happy" / "Thumbs.db")
    write(tmp_path / "happy" / "1" / "1_c.jpg")
    write(tmp_path / "__MACOSX" / "happy" / "1_e.jpg")

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["happy/1_a.jpg"]
    reasons = dict(manifest.left_out)
    assert "pip install pillow-heif" in reasons.pop("happy/1_b.heic")
    assert "a camera's raw file" in reasons.pop("happy/1_c.CR2")
    assert reasons == {}
    assert manifest.missing_share() == pytest.approx(2 / 3)
    assert dict(manifest.ignored) == {
        "happy/1/1_c.jpg": "it lies deeper than <label>/<subject>_<anything>",
    }
    assert manifest.aside == ((".txt", 1),)


def test_a_name_that_no_file_can_have_is_left_out(tmp_path, write):
    write(tmp_path / "1.jpg")
    write(tmp_path / "manifest.csv", "path,subject,emotion\n1.jpg,1,anger\n2\0.jpg,2,anger\n")

    ((_, reason),) = load("folder", tmp_path).left_out

    assert "embedded null byte" in reason


def test_a_file_beside_the_table_that_is_no_table_is_passed_over(tmp_path, write):
    write(tmp_path / "happy" / "1_a.jpg")
    write(tmp_path / "notes.csv", '"' + "x" * 200_000)

    assert len(load("folder", tmp_path).clips) == 1


def test_a_pattern_finds_the_subject_in_the_path_wherever_the_file_lies(tmp_path, write):
    write(tmp_path / "joy" / "Subj3" / "one.jpg")
    write(tmp_path / "rage" / "Subj3" / "more" / "two.jpg")
    write(tmp_path / "rage" / "Subj4" / "one.png")
    write(tmp_path / "rage" / "Subj4" / "notes.txt")

    manifest = load("folder", tmp_path, subject_pattern=r"/Subj(\d+)/")

    assert [(c.clip, c.subject, c.emotion) for c in manifest.clips] == [
        ("joy/Subj3/one.jpg", "3", "joy"),
        ("rage/Subj3/more/two.jpg", "3", "rage"),
        ("rage/Subj4/one.png", "4", "rage"),
    ]
    assert (manifest.ignored, manifest.aside) == ((), ((".txt", 1),))


@pytest.mark.parametrize(
    "table", ["path,emotion\na_1.jpg,joy\n", "path,subject,emotion\na_1.jpg,x,joy\n"]
)
def test_with_a_pattern_a_table_needs_no_subjects_and_those_it_has_do_not_count(
    tmp_path, write, table
):
    write(tmp_path / "a_1.jpg")
    write(tmp_path / "labels.csv", table)

    (clip,) = load("folder", tmp_path, subject_pattern="^([a-z])_").clips

    assert (clip.subject, clip.emotion) == ("a", "joy")


def test_files_in_which_a_pattern_finds_no_subject_are_counted_and_the_first_is_named(
    tmp_path, write
):
    for name in ("joy/a_1.jpg", "joy/b.jpg", "rage/c.jpg", "rage/notes.txt"):
        write(tmp_path / name)

    with pytest.raises(DataError, match=r"no subject in 2 of 3 files .* first is 'joy/b\.jpg'"):
        load("folder", tmp_path, subject_pattern=r"([a-z])_\d")


def test_another_dataset_takes_no_pattern(tmp_path, write):
    write(tmp_path / "a.jpg")

    with pytest.raises(FerError, match="'jaffe' has its own rule"):
        load("jaffe", tmp_path, subject_pattern="(a)")


def test_one_bad_row_hides_no_other_and_each_has_its_line(tmp_path, write):
    for number in range(4):
        write(tmp_path / f"{number}.jpg")
    rows = [
        "0.jpg,ann,joy,",
        ",bob,joy,",
        "1.jpg,,joy,",
        "../x.jpg,bob,joy,",
        "gone.jpg,bob,joy,",
        "2.jpg,bob,joy,fake",
        "3.jpg,bob,rage,acted",
        "3.jpg,bob,rage,acted",
    ]
    write(tmp_path / "manifest.csv", "\n".join(["path,subject,emotion,authenticity", *rows]))

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["0.jpg", "3.jpg"]
    assert dict(manifest.left_out) == {
        "manifest.csv, line 3": "the column 'path' is empty",
        "1.jpg": "the column 'subject' is empty",
        "manifest.csv, line 5": f"its path '../x.jpg' lies outside {tmp_path}",
        "gone.jpg": "it does not exist",
        "2.jpg": "there is no authenticity 'fake'; available: acted, genuine",
    }
    assert dict(manifest.places)["gone.jpg"] == "manifest.csv, line 6"
    assert "manifest.csv: rows that name the file of a row before them: 1" in manifest.remarks


def test_a_file_that_is_listed_with_two_labels_or_subjects_is_left_out_once(tmp_path, write):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write(tmp_path / name)
    rows = "a.jpg,ann,joy\na.jpg,bob,joy\nb.jpg,ann,joy\nb.jpg,ann,rage\nc.jpg,ann,joy\n"
    write(tmp_path / "manifest.csv", f"path,subject,emotion\n{rows}")

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["c.jpg"]
    assert [reason for _, reason in manifest.left_out] == [
        "it is labelled differently by manifest.csv, line 2 and manifest.csv, line 3",
        "it is labelled differently by manifest.csv, line 4 and manifest.csv, line 5",
    ]


def test_where_all_rows_fail_for_one_reason_that_is_said(tmp_path, write):
    write(tmp_path / "manifest.csv", "path,subject,emotion\nx/1.jpg,a,joy\nx/2.jpg,b,joy\n")

    with pytest.raises(
        DataError,
        match=r"all 2 clips are left out; all for one reason; the first is x/1\.jpg in "
        r"manifest\.csv, line 2: it does not exist\. Paths in a table begin below that folder",
    ):
        load("folder", tmp_path)


def test_columns_under_other_names_are_asked_for_by_option_and_then_read(tmp_path, write):
    write(tmp_path / "bilder" / "a-1.jpg")
    write(tmp_path / "bilder" / "b-1.jpg")
    rows = "bilder\\a-1.jpg;p1;joy\nbilder\\b-1.jpg;p2;rage\n"
    write(tmp_path / "labels.csv", f"Datei;Person ID;Expression\n{rows}")
    columns = {"path": "Datei", "subject": "person id", "emotion": "EXPRESSION"}

    with pytest.raises(
        DataError,
        match="its first line has datei, person id, expression; give --column path=datei "
        "--column 'subject=person id' --column emotion=expression",
    ):
        load("folder", tmp_path)
    manifest = load("folder", tmp_path, columns=columns)

    assert [(c.subject, c.emotion) for c in manifest.clips] == [("p1", "joy"), ("p2", "rage")]
    assert manifest.remarks == (
        "labels: joy 1, rage 1 (column 'expression' of labels.csv); "
        "subjects: 2, p1, p2 (column 'person id')",
        "labels.csv is read with the separator ';'",
    )
    with pytest.raises(DataError, match=r"no column emotion2; .* give --column emotion=expression"):
        load("folder", tmp_path, columns=columns | {"emotion": "emotion2"})


def test_a_table_that_is_not_used_is_named_with_the_options_that_would_use_it(tmp_path, write):
    for label in ("joy", "rage"):
        write(tmp_path / label / "ann_1.jpg")
    write(tmp_path / "list.csv", "file,person,label\njoy/ann_1.jpg,x,y\n")

    _, remark = load("folder", tmp_path).remarks

    assert remark == (
        "list.csv is not used; to read the labels from it, give --column path=file "
        "--column subject=person --column emotion=label"
    )


def test_a_table_with_columns_in_another_language_is_known_by_its_paths(tmp_path, write):
    write(tmp_path / "bilder" / "neutral-001.jpg")
    write(tmp_path / "Liste.csv", "Bild;Person;Gefühl\nbilder\\neutral-001.jpg;001;neutral\n")
    columns = "--column path=bild --column subject=person --column emotion=NAME"

    with pytest.raises(DataError, match=rf"Liste\.csv has no column .*; give {columns}\."):
        load("folder", tmp_path)


def test_a_spreadsheet_of_labels_is_answered_with_what_to_do(tmp_path, write):
    write(tmp_path / "photos" / "a.jpg")
    (tmp_path / "labels.xlsx").write_bytes(b"PK\x03\x04")

    with pytest.raises(DataError, match=r"labels\.xlsx is a spreadsheet.* save it as CSV"):
        load("folder", tmp_path)


def test_a_name_in_another_case_is_said(tmp_path, write):
    write(tmp_path / "a.JPG")
    write(tmp_path / "manifest.csv", "path,subject,emotion\na.jpg,ann,joy\n")

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["a.JPG"]
    assert manifest.remarks[1] == (
        "manifest.csv: names in another case than their files have: 1, such as a.jpg for a.JPG"
    )


def test_a_table_may_lie_in_the_single_folder_that_a_zip_file_leaves(tmp_path, write):
    for number in range(4):
        write(tmp_path / "photos" / f"session{number % 2}" / f"{number}.png")
    write(tmp_path / "__MACOSX" / "photos" / "._manifest.csv")
    rows = "".join(f"session{i % 2}/{i}.png,P{i},joy\n" for i in range(4))
    (tmp_path / "photos" / "manifest.csv").write_text(f"path,subject,emotion\n{rows}")

    manifest = load("folder", tmp_path)

    assert [clip.emotion for clip in manifest.clips] == ["joy"] * 4
    assert "its paths are taken to begin in" in manifest.remarks[1]


def test_a_label_in_two_unicode_forms_is_one_class_and_one_in_two_cases_is_said(tmp_path, write):
    forms = [unicodedata.normalize(form, "glücklich") for form in ("NFC", "NFD")]
    labels = [*forms, "Sad", "sad"]
    for number, label in enumerate(labels):
        write(tmp_path / label / f"P{number}_x.png")

    manifest = load("folder", tmp_path)

    assert {clip.emotion for clip in manifest.clips} == {forms[0], "Sad", "sad"}
    assert manifest.remarks[1] == (
        "labels that are written almost alike are classes of their own: Sad, sad"
    )


def test_a_label_in_one_unicode_form_stays_as_it_is(tmp_path, write):
    label = unicodedata.normalize("NFD", "glücklich")
    write(tmp_path / label / "P1_x.png")

    assert [clip.emotion for clip in load("folder", tmp_path).clips] == [label]


def test_a_name_that_is_no_utf_8_is_left_out(tmp_path, write):
    write(tmp_path / "joy" / "P1_x.png")
    for name in (b"joy/P\xfc_y.png", b"\xe4rger/P2_y.png"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name)

    manifest = load("folder", tmp_path)

    assert [clip.clip for clip in manifest.clips] == ["joy/P1_x.png"]
    assert dict(manifest.left_out) == dict.fromkeys(
        map(os.fsdecode, (b"joy/P\xfc_y.png", b"\xe4rger")),
        "its name is not in UTF-8, as in old zip files; rename it",
    )


def test_a_table_without_rows_and_a_folder_of_archives_are_answered_with_what_is_there(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"Unpack photos\.zip first"):
        load("folder", tmp_path)

    (tmp_path / "manifest.csv").write_text("path,subject,emotion\n")
    with pytest.raises(DataError, match=r"manifest\.csv names the columns, and has no rows"):
        load("folder", tmp_path)
