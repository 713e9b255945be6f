"""What every dataset promises, over the table, on rendered trees in the real layouts."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fer_core.data import subjects
from fer_core.data.datasets import DATASETS, load
from fer_core.data.labels import EMOTIONS
from fer_core.data.tables import tables
from fer_core.errors import DataError
from fer_core.faces import video
from search.request import data

ROOT = Path(__file__).parents[4]
specification = importlib.util.spec_from_file_location(
    "layouts", Path(__file__).with_name("layouts.py")
)
layouts = importlib.util.module_from_spec(specification)
sys.modules["layouts"] = layouts
specification.loader.exec_module(layouts)

WITHOUT_TREE = {"synthetic"} | {
    name
    for name in DATASETS
    if name.startswith("oulu_casia_") and name != "oulu_casia_cropped"  # two stand for twelve
}
# The layouts whose adapters find their files by suffix: photographs, videos and folders of frames.
PHOTOGRAPHS = (
    *("affectnet of eight labels", "ck_plus of 48 pixels", "fer2013 in folders", "folder"),
    *("jaffe", "kdef", "kdef_all"),
)
VIDEOS = ("mmi", "sase_fe")
FRAMES = ("ck_plus", "dfew", "oulu_casia", "oulu_casia cropped")
BY_TABLE = ("affectnet", "fer2013", "ferplus", "raf_db", "raf_db_aligned")  # they name their files
HEIC = b"\0\0\0\x1cftypheic" + bytes(99)
UNREAD = {".heic": HEIC, ".heics": HEIC, ".dng": b"raw", ".jxl": b"\xff\n" + bytes(99)}
CUT_OUT = {  # the layouts whose pictures are faces that were cut out
    *{"affectnet of eight labels", "ck_plus of 48 pixels", "fer2013", "fer2013 in folders"},
    *{"ferplus", "oulu_casia cropped", "raf_db_aligned"},
}
FILES = [name for name in layouts.LAYOUTS if name not in ("fer2013", "ferplus")]  # not one table
NOBODY_KNOWS = {"affectnet", "dfew", "fer2013", "ferplus", "raf_db", "raf_db_aligned"}
OULU = {
    ("VL", "Strong"): "oulu_casia",
    ("NI", "Dark"): "oulu_casia_ni_dark",
    ("VL_Acropped", "Strong"): "oulu_casia_cropped",
    ("VL_Acropped", "Weak"): "oulu_casia_cropped_vl_weak",
}


LEFT_BY_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Trashes")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Each layout, written once: its root, its dataset and what must be read."""
    made = {}

    def tree(name):
        if name not in made:
            root = tmp_path_factory.mktemp("layouts") / "data"
            made[name] = (root, *layouts.write(name, root))
        return made[name]

    return tree


@pytest.fixture
def own_tree(trees, tmp_path):
    """A copy of a layout to spoil."""

    def copy(name):
        root, dataset, tree = trees(name)
        return Path(shutil.copytree(root, tmp_path / "own")), dataset, tree

    return copy


def rows(manifest):
    return [(c.clip, c.subject, c.emotion, c.authenticity, c.part) for c in manifest.clips]


def names(pairs):
    return [name for name, _ in pairs]


def first_file(path):
    return min(path.iterdir()) if path.is_dir() else path


def test_every_dataset_has_a_rendered_tree():
    written = {dataset for dataset, _ in layouts.LAYOUTS.values()}

    assert written | WITHOUT_TREE == DATASETS.keys()


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_tree_is_read_back_exactly(layout, trees):
    root, dataset, tree = trees(layout)

    manifest = load(dataset, root)

    assert rows(manifest) == sorted(tree.rows)
    assert names(manifest.left_out) == sorted(tree.left_out)
    assert names(manifest.ignored) == sorted(tree.ignored)
    assert names(manifest.copies) == sorted(tree.copies)
    assert manifest.dataset == dataset


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_split_is_by_clip_where_nobody_knows_the_people_and_no_subject_has_two_names(
    layout, trees
):
    root, dataset, tree = trees(layout)
    unknown = all(clip == subject for clip, subject, *_ in tree.rows)

    manifest = load(dataset, root)

    assert (subjects.kind_of_split(manifest) == subjects.BY_CLIP) >= unknown
    assert unknown == (dataset in NOBODY_KNOWS)
    assert subjects.similar_names(manifest.subjects) == []


def test_each_layout_finds_its_files_by_a_table_or_by_their_suffixes():
    assert {*PHOTOGRAPHS, *VIDEOS, *FRAMES, *BY_TABLE} == layouts.LAYOUTS.keys()


@pytest.mark.parametrize("suffix", UNREAD)
@pytest.mark.parametrize("layout", PHOTOGRAPHS)
def test_every_adapter_reads_a_jfif_and_counts_what_it_cannot_read_as_missing(
    layout, suffix, own_tree
):
    root, dataset, tree = own_tree(layout)
    before = load(dataset, root)
    first, second = (root / row[0] for row in sorted(tree.rows)[:2])
    renamed = first.rename(first.with_suffix(".jfif"))
    second.unlink()
    lost = second.with_suffix(suffix)
    lost.write_bytes(UNREAD[suffix])

    after = load(dataset, root)

    assert renamed in [clip.path for clip in after.clips]
    assert {*names(after.left_out)} - {*names(before.left_out)} == {
        lost.relative_to(root).as_posix()
    }
    assert len(after.clips) == len(before.clips) - 1
    assert after.aside == before.aside


@pytest.mark.parametrize("suffix", [".mts", ".3gp", ".wmv", ".OGV"])
@pytest.mark.parametrize("layout", VIDEOS)
def test_every_adapter_of_videos_finds_them_under_any_suffix_and_counts_an_empty_one_as_missing(
    layout, suffix, own_tree
):
    root, dataset, tree = own_tree(layout)
    first, second = (root / row[0] for row in sorted(tree.rows)[-2:])
    renamed = first.rename(first.with_suffix(suffix))
    second.unlink()
    second.with_suffix(suffix).touch()

    manifest = load(dataset, root)

    assert renamed in [clip.path for clip in manifest.clips]
    lost = second.with_suffix(suffix).relative_to(root).as_posix()
    assert dict(manifest.left_out)[lost] == "it is empty"


@pytest.mark.parametrize("suffix", UNREAD)
@pytest.mark.parametrize("layout", FRAMES)
def test_every_adapter_of_frames_reads_a_jfif_and_leaves_out_what_holds_a_frame_it_cannot_read(
    layout, suffix, own_tree
):
    root, dataset, tree = own_tree(layout)
    before = load(dataset, root)
    first, second = (root / row[0] for row in sorted(tree.rows)[:2])
    frame = min(first.iterdir())
    frame.rename(frame.with_suffix(".jfif"))
    (second / f"frame{suffix}").write_bytes(UNREAD[suffix])

    after = load(dataset, root)

    (whole,) = (clip for clip in after.clips if clip.path == first)
    assert sum(1 for _ in video.frames(whole.path)) == layouts.FRAMES
    reason = dict(after.left_out)[second.relative_to(root).as_posix()]
    assert reason.startswith(f"frame frame{suffix}: it is a")
    assert len(after.clips) == len(before.clips) - 1


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_layout_of_cut_out_faces_says_so(layout, trees):
    root, dataset, _ = trees(layout)

    assert data.given_faces(load(dataset, root), "auto") == (layout in CUT_OUT)


def test_every_dataset_of_oulu_that_is_called_cropped_has_cut_out_faces_and_no_other():
    for name in (name for name in DATASETS if name.startswith("oulu_casia")):
        assert (DATASETS[name].given_faces is not None) == ("cropped" in name)


def test_a_complete_copy_of_photographs_of_ck_plus_has_three_of_each_sequence():
    sequences, photographs = DATASETS["ck_plus"].totals

    assert (sequences.clips, photographs.clips) == (327, 981)
    assert photographs.classes["surprise"] == 249


@pytest.mark.parametrize(("camera", "light"), OULU)
def test_each_camera_and_light_of_oulu_is_a_dataset_of_its_own(camera, light, tmp_path):
    tree = layouts.oulu_casia(tmp_path, camera, light)

    manifest = load(OULU[camera, light], tmp_path)

    assert rows(manifest) == sorted(tree.rows)
    assert manifest.dataset == OULU[camera, light]


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_the_same_data_have_one_hash_wherever_they_lie(layout, trees, own_tree):
    root, dataset, _ = trees(layout)
    moved, _, _ = own_tree(layout)

    first, again, elsewhere = load(dataset, root), load(dataset, root), load(dataset, moved)

    assert first == again
    assert elsewhere.sha256 == first.sha256


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_folders_that_systems_leave_are_not_read_whatever_lies_in_them(layout, trees, own_tree):
    original, *_ = trees(layout)
    root, dataset, tree = own_tree(layout)
    before = load(dataset, root)
    beside_a_file = first_file(root / min(tree.rows)[0]).parent
    for place in {root, beside_a_file if beside_a_file.is_dir() else root}:
        for left in LEFT_BY_SYSTEMS:
            shutil.copytree(original, place / left)

    assert load(dataset, root) == before


@pytest.mark.parametrize("layout", FILES)
def test_an_empty_file_a_loop_and_a_lost_link_are_named_and_the_rest_is_read(layout, own_tree):
    root, dataset, tree = own_tree(layout)
    empty, loop, lost, *rest = [root / row[0] for row in sorted(tree.rows)]
    first_file(empty).write_bytes(b"")
    for path, target in ((loop, loop.name), (lost, "nowhere")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(target)

    manifest = load(dataset, root)

    reasons = {root / name: reason for name, reason in manifest.left_out}
    assert reasons[empty].endswith("it is empty")
    assert reasons[loop] == "it cannot be read: Too many levels of symbolic links"
    assert reasons[lost] == "it is a broken link"
    read = {clip.path for clip in manifest.clips}
    assert read.isdisjoint({empty, loop, lost})
    assert read >= set(rest)  # and SASE-FE's copy of a file that was spoiled


@pytest.mark.parametrize("layout", ["affectnet", "dfew", "raf_db"])
def test_what_a_table_names_and_is_not_there_is_left_out(layout, own_tree):
    root, dataset, tree = own_tree(layout)
    lost = root / sorted(tree.rows)[0][0]
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()

    manifest = load(dataset, root)

    assert dict(manifest.left_out)[lost.relative_to(root).as_posix()] == "it does not exist"
    assert len(manifest.clips) == len(tree.rows) - 1


def test_a_frame_that_cannot_be_read_leaves_its_sequence_out_by_name(own_tree):
    root, dataset, tree = own_tree("oulu_casia")
    sequence = root / sorted(tree.rows)[0][0]
    frame = sequence / "001.jpeg"
    frame.unlink()
    frame.symlink_to(frame.name)

    reasons = dict(load(dataset, root).left_out)

    reason = reasons[sequence.relative_to(root).as_posix()]
    assert reason == "frame 001.jpeg: it cannot be read: Too many levels of symbolic links"


def test_a_pipe_is_not_waited_for(own_tree):
    root, dataset, _ = own_tree("kdef")
    os.mkfifo(root / "AF02ANS.JPG")

    assert dict(load(dataset, root).left_out)["AF02ANS.JPG"] == "it is a device or a pipe"


def test_a_linked_folder_is_read_and_one_around_the_link_is_named(own_tree, tmp_path):
    root, dataset, tree = own_tree("kdef")
    (root / "KDEF").rename(tmp_path / "elsewhere")
    (root / "KDEF").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "around").symlink_to(root)

    manifest = load(dataset, root)

    assert rows(manifest) == sorted(tree.rows)
    assert ("KDEF/around", "it is a link to a folder that contains it") in manifest.left_out


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from fer_core.data.datasets import load

if os.getuid() == 0:
    os.setuid(65534)
manifest = load("kdef", Path(sys.argv[1]))
print(len(manifest.clips), *manifest.left_out, sep="\\n")
"""


def test_what_may_not_be_read_is_named_and_the_rest_is_read(trees):
    root, _, tree = trees("kdef")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        own = Path(shutil.copytree(root, Path(folder) / "own"))
        (own / "KDEF" / "AF01" / "AF01AFS.JPG").chmod(0)
        (own / "KDEF" / "BM35").chmod(0)

        ended = subprocess.run(
            [sys.executable, "-c", READ_AS_NOBODY, str(own)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        (own / "KDEF" / "BM35").chmod(0o755)

    assert ended.stderr == ""
    clips, *left_out = ended.stdout.splitlines()
    denied = "it cannot be read: Permission denied"
    assert int(clips) == len(tree.rows) - 2
    assert f"('KDEF/AF01/AF01AFS.JPG', '{denied}')" in left_out
    assert f"('KDEF/BM35', '{denied}')" in left_out


@pytest.mark.parametrize("cut", [slice(-3000, None), slice(-3000, -2000)])
def test_a_row_of_pixels_that_is_cut_short_is_left_out(cut, own_tree):
    root, dataset, tree = own_tree("fer2013")
    table = root / "fer2013" / "fer2013.csv"
    content = bytearray(table.read_bytes())
    del content[cut]
    table.write_bytes(content)

    manifest = load(dataset, root)

    ((name, reason),) = manifest.left_out
    assert name == tree.rows[-1][0]
    assert reason.startswith("its line is cut short: it has ")
    assert len(manifest.clips) == len(tree.rows)  # the copy among the rows of train stays instead


def test_a_row_of_pixels_with_another_usage_is_left_out_with_its_usage(own_tree):
    root, dataset, _ = own_tree("fer2013")
    table = root / "fer2013" / "fer2013.csv"
    content = table.read_bytes()
    place = content.rindex(b"PrivateTest")
    table.write_bytes(content[:place] + b"Test" + content[place + len(b"PrivateTest") :])

    ((_, reason),) = load(dataset, root).left_out

    assert reason == "its Usage 'Test' is none of Training, PublicTest, PrivateTest"


def test_a_table_of_pixels_holds_stills_and_its_line_ends_do_not_count(own_tree):
    root, dataset, _ = own_tree("fer2013")
    table = root / "fer2013" / "fer2013.csv"
    before = load(dataset, root)
    table.write_bytes(table.read_bytes().replace(b"\r\n", b"\n"))

    after = load(dataset, root)

    assert before.stills
    assert after.sha256 == before.sha256
    assert after.clips[-1].offset != before.clips[-1].offset


def test_the_offset_of_a_row_is_where_its_line_begins(trees):
    root, dataset, _ = trees("fer2013")

    for clip in load(dataset, root).clips:
        with clip.path.open("rb") as file:
            file.seek(clip.offset)
            code = file.readline().split(b",")[0]

        assert layouts.FER_ROWS[int(clip.clip[-5:])][0] == int(code)


def test_rows_of_votes_must_be_those_of_the_faces(own_tree):
    root, dataset, _ = own_tree("ferplus")
    votes = root / "FERPlus" / "fer2013new.csv"
    votes.write_text("\n".join(votes.read_text().splitlines()[:-1]))

    with pytest.raises(DataError, match="differ in their rows, so votes"):
        load(dataset, root)


@pytest.mark.parametrize("name", DATASETS)
def test_totals_and_classes_use_the_one_vocabulary(name):
    for totals in DATASETS[name].totals:
        assert totals.classes.keys() <= set(EMOTIONS)
        assert not totals.classes or sum(totals.classes.values()) == totals.clips


def test_what_a_system_hides_in_a_folder_of_frames_changes_no_hash(own_tree):
    root, dataset, tree = own_tree("oulu_casia")
    before = load(dataset, root)
    (root / tree.rows[0][0] / ".DS_Store").write_text("left behind")

    assert load(dataset, root).sha256 == before.sha256


def test_the_folder_of_another_light_is_not_taken_for_the_one_asked_for(trees):
    root, _, tree = trees("oulu_casia")
    strong = (root / tree.rows[0][0]).parents[1]

    with pytest.raises(DataError, match="holds no folder NI/Dark"):
        load("oulu_casia_ni_dark", strong)


def test_a_table_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "fer2013.csv").symlink_to("fer2013.csv")

    with pytest.raises(DataError, match=r"fer2013\.csv cannot be read: Too many levels"):
        load("fer2013", tmp_path)


@pytest.mark.parametrize("above", [".", "AffectNet"])
def test_a_table_may_lie_in_folders_around_it(above, own_tree, tmp_path):
    root, dataset, tree = own_tree("affectnet")
    outer = tmp_path / "outer"
    shutil.copytree(root, outer / above)

    assert len(load(dataset, outer).clips) == len(tree.rows)


def test_no_table_is_looked_for_among_images(tmp_path):
    (tmp_path / "train_set" / "images" / "deep").mkdir(parents=True)
    (tmp_path / "train_set" / "images" / "deep" / "fer2013.csv").touch()

    assert tables.find(tmp_path, "fer2013.csv") is None


def test_where_all_is_left_out_the_first_reason_is_told(tmp_path):
    (tmp_path / "AF01ANS.JPG").touch()

    with pytest.raises(DataError, match=r"all 1 clips are left out; .*AF01ANS.JPG: it is empty\."):
        load("kdef", tmp_path)


@pytest.mark.parametrize(
    ("head", "separator", "order"),
    [
        ("emotion, Usage, pixels", ",", (0, 2, 1)),  # FER2013's other table
        ('"emotion","pixels","Usage"', ",", (0, 1, 2)),
        ("Pixels;EMOTION;usage", ";", (1, 0, 2)),
        ("usage\temotion\tpixels", "\t", (2, 0, 1)),
        ("\ufeffemotion ,pixels ,Usage ", ",", (0, 1, 2)),
        ("sep=;\nemotion;pixels;Usage", ";", (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_table_of_pixels_is_read_whatever_its_head_order_and_separator(
    own_tree, head, separator, order, line_end
):
    root, dataset, _ = own_tree("fer2013")
    table = root / "fer2013" / "fer2013.csv"
    before = load(dataset, root)
    pictures = [next(video.frames(clip.path, clip.offset)) for clip in before.clips]
    _, *rows = table.read_text().splitlines()
    moved = [separator.join(row.split(",")[i] for i in order) for row in rows]
    table.write_bytes(line_end.join([*head.split("\n"), *moved, ""]).encode())

    after = load(dataset, root)

    assert after.sha256 == before.sha256
    for clip, picture in zip(after.clips, pictures, strict=True):
        assert (next(video.frames(clip.path, clip.offset)) == picture).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.encode("utf-16"), "is saved as UTF-16; save it as CSV in UTF-8"),
        (lambda text: text.replace("\n", "\r").encode(), "ends its lines in CR only"),
        (lambda text: text.replace("pixels", "pics").encode(), "has no column pixels"),
    ],
)
def test_a_table_of_pixels_that_cannot_be_read_by_bytes_is_refused(own_tree, change, message):
    root, dataset, _ = own_tree("fer2013")
    table = root / "fer2013" / "fer2013.csv"
    table.write_bytes(change(table.read_text()))

    with pytest.raises(DataError, match=message):
        load(dataset, root)


@pytest.mark.parametrize(
    ("layout", "table", "old", "new"),
    [
        ("raf_db", "basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 5", "???"),
        ("ferplus", "FERPlus/fer2013new.csv", "PublicTest,fer0000007.png,4", "PublicTest,x,y"),
        ("dfew", "EmoLabel_DataSplit/test(single-labeled)/set_1.csv", "1,1", ",1"),
        ("affectnet", "Manually_Annotated_file_lists/training.csv", "103/", "../../../x/"),
    ],
)
def test_a_bad_row_of_a_dataset_is_left_out_with_its_line_and_the_rest_is_read(
    own_tree, layout, table, old, new
):
    root, dataset, tree = own_tree(layout)
    (found,) = root.rglob(Path(table).name) if layout != "dfew" else [root / table]
    text = found.read_text("utf-8-sig")
    assert old in text
    before = load(dataset, root)
    found.write_text(text.replace(old, new, 1))

    manifest = load(dataset, root)

    new_ones = {*manifest.places} - {*before.places}
    assert any(f"{found.name}, line " in place for _, place in new_ones)
    assert len(manifest.left_out) > len(tree.left_out)
    assert len(manifest.clips) >= len(tree.rows) - 1


@pytest.mark.parametrize("layout", ["affectnet", "dfew", "ferplus", "raf_db"])
@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "utf-16"), ("\t", "utf-8-sig"), (",", "cp1252")]
)
def test_tables_of_datasets_may_be_saved_again_by_a_spreadsheet(
    own_tree, layout, separator, encoding
):
    root, dataset, _ = own_tree(layout)
    before = load(dataset, root)
    for table in root.rglob("*.csv"):
        if table.name == "fer2013.csv":  # a face is read from it by its byte
            continue
        decimal = ",0" if separator == ";" else ".0"
        text = table.read_text("utf-8-sig").replace(";", " ")
        text = re.sub(r"(?<=,)(\d+)(?=[,\n])", rf"\1{decimal.replace(',', '@')}", text)
        again = text.replace(",", separator).replace("@", ",")
        table.write_bytes(again.replace("\n", "\r\n").encode(encoding))
    for table in root.rglob("list_patition_label.txt"):
        table.write_bytes(table.read_text().encode(encoding))

    assert load(dataset, root).sha256 == before.sha256
