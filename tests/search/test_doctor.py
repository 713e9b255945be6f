import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fer_core.faces import video
from search.doctor import app
from tests.fer_core.faces.oddities import film, picture

ROOT = Path(__file__).parents[2]
EMOTIONS = {"N2H": "happiness", "N2A": "anger"}
MANY = ("--max-missing", "0.5")


@pytest.fixture(scope="module")
def portraits(rendered):
    """Ten subjects' faces, happy and angry, at the end of their clips: BGR, as OpenCV writes."""
    return {
        (emotion, subject.name): list(video.frames(subject / f"{name}.MP4"))[-1][..., ::-1]
        for subject in (rendered / "FakeTrue_DB").iterdir()
        for name, emotion in EMOTIONS.items()
    }


@pytest.fixture
def photographs(tmp_path, portraits):
    """Twenty sound stills that a study could start from."""
    root = tmp_path / "photographs"
    for (emotion, subject), face in portraits.items():
        write(root / emotion / f"{subject}_a.png", face)
    return root


@pytest.fixture
def bad(photographs, portraits):
    """All that may be wrong with a file, each named for it, among sound ones."""
    face, other = portraits["anger", "1"], portraits["anger", "2"]
    here = photographs / "anger"
    (here / "3_empty.jpg").touch()
    cut(write(here / "3_truncated.jpg", face))
    cut(write_video(here / "3_truncated.mp4", face))
    (here / "3_text.mp4").write_text("not a film\n" * 50)
    (here / "3_loop.jpg").symlink_to(here / "3_loop.jpg")
    (here / "3_around").symlink_to(photographs)
    write(here / "3_faceless.png", np.full((200, 200, 3), 128, np.uint8))
    write(here / "4_two.png", np.hstack([face, other]))
    write(here / "4_grey.png", cv2.cvtColor(face, cv2.COLOR_BGR2GRAY))
    write(here / "4_alpha.png", np.dstack([face, np.full(face.shape[:2], 9, np.uint8)]))
    write(here / "4_deep.png", face.astype(np.uint16) * 256)
    write_turned(here / "4_turned.jpg", face)
    write_video(here / "4_sound.mp4", face)
    return photographs


REASONS = {  # of `bad`: the kind of its finding, and some of what is said
    "3_empty.jpg": ("left out", "it is empty"),
    "3_truncated.jpg": ("left out", "it is cut short after"),
    "3_truncated.mp4": ("left out", "cut short"),
    "3_text.mp4": ("left out", "it is no video"),
    "3_loop.jpg": ("left out", "Too many levels of symbolic links"),
    "3_around": ("left out", "a link to a folder that contains it"),
    "3_faceless.png": ("skipped", "no face found"),
    "4_two.png": ("note", "2 faces in a frame"),
    "4_grey.png": ("note", "grey"),
    "4_alpha.png": ("note", "its alpha channel is dropped"),
    "4_deep.png": ("note", "16 bits a channel"),
    "4_turned.jpg": ("note", "turned as its EXIF orientation 6 says"),
}
LOST = sum(kind != "note" for kind, _ in REASONS.values())


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(path, image)
    return path


def write_turned(path, image):
    """Store a picture as a camera held sideways does."""
    jpeg = write(path, np.rot90(image)).read_bytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    length = (len(segment) + 2).to_bytes(2, "big")
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + length + segment + jpeg[2:])


def write_video(path, image):
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
        for shift in range(6):
            moved = np.ascontiguousarray(np.roll(image, shift, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="bgr24")))
        container.mux(stream.encode())
    return path


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run the command on a folder: its exit code, its output and what it said meanwhile."""
    monkeypatch.chdir(tmp_path)

    def run(root, *arguments, dataset="folder"):
        options = ["--dataset", dataset, "--data-root", str(root), "--workers", "1"]
        done = CliRunner().invoke(app, [*options, *arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


def findings(printed):
    return {Path(f["path"]).name: (f["kind"], f["reason"]) for f in json.loads(printed)["findings"]}


def test_each_bad_file_is_named_with_its_reason_and_the_rest_goes_through(doctor, bad):
    exit_code, printed, _ = doctor(bad, "--json", *MANY)

    named = findings(printed)
    assert named.keys() == REASONS.keys()
    for name, (kind, said) in REASONS.items():
        assert (named[name][0], said in named[name][1]) == (kind, True), named[name]
    report = json.loads(printed)
    sound = 20 + len(REASONS) - LOST + 1
    assert report["faces"] == {
        "frames": sound + 5,  # a clip of six among stills
        "found": sound + 5,
        "interpolated": 0,
        "left_out": 0,
    }
    assert report["missing_share"] == pytest.approx(LOST / (sound + LOST))
    assert (exit_code, report["may_start"]) == (0, True)


def test_too_many_bad_files_stop_a_study_and_so_the_command(doctor, bad):
    exit_code, printed, _ = doctor(bad)

    assert exit_code == 4
    assert "a study must not start: " in printed
    assert "--max-missing is 5.0%" in printed


@pytest.mark.parametrize(("lost", "exit_code"), [(1, 0), (2, 4)])
def test_five_of_a_hundred_may_be_missing_and_no_more(doctor, photographs, lost, exit_code):
    for path in sorted(photographs.rglob("*.png"))[:lost]:
        path.write_bytes(b"")

    found = doctor(photographs, "--quick")

    assert found[0] == exit_code
    assert f"{5 * lost}.0" in found[1].splitlines()[-1]


def test_the_screen_tells_what_the_json_tells(doctor, bad):
    _, printed, _ = doctor(bad, "--json", *MANY)
    _, screen, _ = doctor(bad, *MANY)

    report, flat = json.loads(printed), " ".join(screen.split())
    assert f"{report['clips']} of {report['subjects']} subjects" in flat
    assert f"{report['faces']['found']} found" in flat
    assert all(f"{name} {count}" in flat for name, count in report["classes"].items())
    for name, (kind, reason) in findings(printed).items():
        line = rf"{re.escape(kind)} anger/{re.escape(name)} .*{re.escape(reason.split()[0])}"
        assert re.search(line, flat), name
    assert screen.splitlines()[-1] == f"a study may start: {report['because']}"


def test_a_page_is_plain_and_a_hundred_columns_wide(doctor, bad):
    _, screen, _ = doctor(bad, *MANY)

    assert max(len(line) for line in screen.splitlines()[:-1]) <= 100
    assert "\x1b" not in screen


def test_what_is_shown_otherwise_than_stored_is_noted_and_other_files_are_counted(
    doctor, photographs
):
    film("mp4", aspect=Fraction(16, 9))(photographs / "anger" / "90_wide.mp4", picture(1))
    (photographs / "anger" / "90_phone.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(99))
    (photographs / "anger" / "90_notes.txt").write_text("not a clip")
    (photographs / "anger" / "Thumbs.db").write_text("left behind")

    _, printed, _ = doctor(photographs, "--quick", "--json", "--no-near-copies")
    _, screen, _ = doctor(photographs, "--quick", "--no-near-copies")

    named = findings(printed)
    assert named["90_wide.mp4"] == ("note", "stored 64x48, read as it is shown: 114x48")
    assert named["90_phone.heic"][0] == "left out"
    assert json.loads(printed)["missing_share"] > 0
    assert json.loads(printed)["other_files"] == {".txt": 1}
    assert "other files  not read as clips: .txt 1" in screen


def test_of_alike_findings_three_and_a_count_are_shown_and_a_file_has_them_all(doctor, photographs):
    for path in photographs.rglob("*.png"):
        cv2.imwrite(path, cv2.imread(path, cv2.IMREAD_GRAYSCALE))
    for size in range(1, 43):
        (photographs / "anger" / f"1_{size:02d}.jpg").write_bytes(b"\xff\xd8" + bytes(size))

    _, screen, _ = doctor(photographs, "--quick")

    table = list(csv.reader(Path("folder-findings.csv").read_text().splitlines()))
    assert table[0] == ["kind", "path", "place", "reason"]
    assert len(table) == 1 + 42 + 20
    assert screen.count("\nleft out  ") == screen.count("\nnote  ") == 4
    assert re.search(r"left out  anger/1_01.jpg +it is cut short after 3 bytes", screen)
    assert "and 39 more" in screen
    assert "and 17 more" in screen
    assert "not told of here" not in screen
    assert "all findings are listed in folder-findings.csv" in screen


def test_the_findings_are_written_where_the_user_wants_them(doctor, photographs):
    (photographs / "anger" / "1_x.jpg").touch()

    doctor(photographs, "--quick", "--json", "--findings", "all.csv")

    assert Path("all.csv").read_text().splitlines()[1:] == ["left out,anger/1_x.jpg,,it is empty"]
    assert not Path("folder-findings.csv").exists()


def test_findings_of_a_name_that_is_no_utf_8_keep_its_bytes(doctor, photographs):
    (photographs / "anger" / os.fsdecode(b"1_\xe9.jpg")).touch()

    _, screen, _ = doctor(photographs, "--quick", "--findings", "all.csv")

    assert r"anger/1_\udce9.jpg" in screen
    assert b"anger/1_\xe9.jpg" in Path("all.csv").read_bytes()


def test_a_large_dataset_is_told_what_to_expect_before_its_files_are_read(
    doctor, photographs, monkeypatch
):
    monkeypatch.setattr("search.planning.face_seconds.LARGE", 20)

    exit_code, printed, said = doctor(photographs, "--quick", "--json")

    assert re.match(r"finding all faces takes about \d+ s on 1 processes .* for 20 frames", said)
    assert json.loads(printed)["forecast"]["frames"] == 20
    assert exit_code == 0


def test_the_protocol_that_is_asked_for_comes_first_and_decides(doctor, rendered):
    usual = doctor(rendered, "--quick", "--json", dataset="sase_fe")
    asked = doctor(rendered, "--quick", "--json", "--protocol", "challenge", dataset="sase_fe")

    first, *others = (split["name"] for split in json.loads(asked[1])["protocols"])
    assert first == "challenge"
    assert sorted([first, *others]) == sorted(
        split["name"] for split in json.loads(usual[1])["protocols"]
    )
    unfit = json.loads(asked[1])["protocols"][0]["unfit"]
    assert unfit
    assert unfit in json.loads(asked[1])["because"]
    assert (usual[0], asked[0]) == (0, 4)


def test_running_again_makes_nothing_again(doctor, photographs):
    _, first, said = doctor(photographs, "--json")
    made = {path: path.stat().st_mtime_ns for path in Path("store").rglob("*.npy")}

    _, second, said_again = doctor(photographs, "--json")

    assert "shards made in" in said
    assert "0 shards made in" in said_again
    assert {path: path.stat().st_mtime_ns for path in Path("store").rglob("*.npy")} == made
    assert json.loads(first)["faces"] == json.loads(second)["faces"]


def test_a_quick_look_makes_nothing_and_still_forecasts(doctor, photographs):
    exit_code, printed, said = doctor(photographs, "--quick", "--json")

    report = json.loads(printed)
    assert not Path("store").exists()
    assert report["faces"] is None
    assert report["forecast"]["frames"] == 20
    assert 0 < report["forecast"]["seconds"] < 60
    assert 10_000 < report["forecast"]["bytes"] < 10_000_000
    assert "20 frames" in said
    assert exit_code == 0


def test_equal_content_under_two_labels_is_left_out_on_both_sides(doctor, photographs):
    shutil.copy(photographs / "anger" / "1_a.png", photographs / "happiness" / "1_b.png")

    _, printed, _ = doctor(photographs, "--quick", "--json")

    named = findings(printed)
    assert named["1_b.png"] == (
        "left out",
        "its content is that of anger/1_a.png, but its label differs",
    )
    assert named.keys() == {"1_a.png", "1_b.png"}


def test_a_copy_is_told_and_not_missed(doctor, photographs):
    shutil.copy(photographs / "anger" / "1_a.png", photographs / "anger" / "1_b.png")

    exit_code, printed, _ = doctor(photographs, "--quick", "--json")

    assert findings(printed) == {"1_b.png": ("copy", "a copy of anger/1_a.png")}
    assert (exit_code, json.loads(printed)["missing_share"]) == (0, 0)


def test_near_copies_across_subjects_or_labels_are_findings_and_others_are_not(
    doctor, photographs, portraits
):
    face = portraits["anger", "1"]
    half = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write(photographs / "anger" / "2_other.jpg", half[:, ::-1])
    write(photographs / "happiness" / "1_other.jpg", face)
    write(photographs / "anger" / "1_again.png", half)

    exit_code, printed, said = doctor(photographs, "--quick", "--json")
    _, screen, _ = doctor(photographs, "--quick")

    report, named = json.loads(printed), findings(printed)
    assert {name: kind for name, (kind, _) in named.items()} == dict.fromkeys(
        ("2_other.jpg", "1_other.jpg"), "near copy"
    )
    assert "mirrored" in named["2_other.jpg"][1]
    assert "subject '2' here and '1' there" in named["2_other.jpg"][1]
    assert "label 'happiness' here and 'anger' there" in named["1_other.jpg"][1]
    assert report["near_copies"]["images"] == 23
    assert "examining the files and looking for near copies, about " in said
    assert f"{report['near_copies']['pairs']} pairs with different subjects or labels" in screen
    assert exit_code == 0


def test_near_copies_can_be_left_out(doctor, photographs, portraits):
    write(photographs / "anger" / "2_other.jpg", portraits["anger", "1"])

    _, printed, said = doctor(photographs, "--quick", "--json", "--no-near-copies")

    assert json.loads(printed)["near_copies"] is None
    assert findings(printed) == {}
    assert "near copies" not in said


def test_where_each_image_is_its_own_subject_the_split_is_by_clip(doctor, photographs):
    for number, path in enumerate(sorted(photographs.rglob("*.png"))):
        path.rename(path.with_name(f"{number}_a.png"))

    _, printed, _ = doctor(photographs, "--quick", "--json")
    _, screen, _ = doctor(photographs, "--quick")

    assert json.loads(printed)["split"] == "by-clip"
    assert "split        by-clip: 100% of the clips are the only one of their subject" in screen


def test_subjects_that_differ_in_spelling_only_are_a_finding(doctor, photographs):
    for old, new in (("1_a.png", "Subj3_a.png"), ("2_a.png", "subj3_a.png")):
        for path in photographs.rglob(old):
            path.rename(path.with_name(new))

    exit_code, printed, _ = doctor(photographs, "--quick", "--json")

    kind, reason = findings(printed)["subj3_a.png"]
    assert (kind, "'Subj3' and 'subj3' have nearly the same name" in reason) == ("subject", True)
    assert (exit_code, json.loads(printed)["split"]) == (0, "subject-independent")


def test_a_pattern_says_who_the_subjects_are(doctor, photographs):
    for path in photographs.rglob("*.png"):
        path.rename(path.with_name(f"img_{path.name}"))

    _, plain, _ = doctor(photographs, "--quick", "--json")
    _, named, _ = doctor(photographs, "--quick", "--json", "--subject-pattern", r"img_(\d+)")
    exit_code, _, said = doctor(photographs, "--quick", "--subject-pattern", r"img_\d+")

    assert (json.loads(plain)["subjects"], json.loads(named)["subjects"]) == (1, 10)
    assert "has no group" in said
    assert exit_code == 2


def test_faces_are_compared_on_demand_with_a_forecast_first(doctor, photographs):
    exit_code, printed, said = doctor(photographs, "--json", "--same-person", "2")

    report = json.loads(printed)["same_person"]
    assert (report["clips"], report["false_matches"], report["genuine_pairs"]) == (20, 2, 10)
    assert 100 < report["pairs"] <= 180
    assert len(report["likeliest"]) <= 20
    assert all(pair["distance"] < report["threshold"] for pair in report["likeliest"])
    assert "quantile" in report["method"]
    assert said.index("comparing the people of 20 clips: about") < said.index("shards made")
    assert exit_code == 0


def test_faces_cannot_be_compared_where_none_are_looked_for(doctor, photographs):
    exit_code, _, said = doctor(photographs, "--quick", "--same-person", "1")

    assert "--same-person compares faces, and --quick finds none" in said
    assert exit_code == 2


def test_published_totals_and_protocols_are_held_against_the_copy(doctor, rendered):
    _, printed, _ = doctor(rendered, "--quick", "--json", dataset="sase_fe")
    _, screen, _ = doctor(rendered, "--quick", dataset="sase_fe")
    _, unknown, _ = doctor(rendered, "--quick", dataset="synthetic")

    report = json.loads(printed)
    assert any(said.startswith("clips: 120 here, ") for said in report["totals"])
    assert len(report["protocols"]) > 1
    assert "clips: 120 here, " in screen
    assert "none are known" in unknown


def test_a_split_that_leaks_stops_a_study(doctor, photographs):
    shutil.copy(photographs / "anger" / "1_a.png", photographs / "anger" / "2_b.png")

    exit_code, printed, _ = doctor(photographs, "--quick", "--json")

    report = json.loads(printed)
    assert "equal content and different subjects" in report["protocols"][0]["unfit"]
    assert report["because"] == report["protocols"][0]["unfit"]
    assert (exit_code, report["may_start"]) == (4, False)


def test_too_few_subjects_stop_a_study(doctor, photographs):
    for path in photographs.rglob("10_a.png"):
        path.unlink()

    exit_code, printed, _ = doctor(photographs, "--quick")

    assert "a study must not start: 9 subjects are too few" in printed
    assert exit_code == 4


def test_a_dataset_of_which_no_clip_shows_a_face_must_not_start(doctor, photographs):
    for i, path in enumerate(sorted(photographs.rglob("*.png"))):
        cv2.imwrite(path, np.full((50, 50, 3), i, np.uint8))

    exit_code, printed, _ = doctor(photographs, "--json", "--max-missing", "1")

    report = json.loads(printed)
    assert "can be used" in report["because"]
    assert report["missing_share"] == 1
    assert exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "starts", "kind"),
    [
        ([], False, "skipped"),
        (["--missing", "wrong"], False, "skipped"),
        (["--missing", "fallback"], True, "note"),
        (["--faces", "given"], True, "note"),
        (["--faces", "given", "--missing", "leave-out"], False, "skipped"),
    ],
)
def test_what_becomes_of_pictures_without_a_face_decides_as_in_a_study(
    doctor, photographs, arguments, starts, kind
):
    for i, path in enumerate(sorted(photographs.rglob("*.png"))[:3]):
        cv2.imwrite(path, np.full((50, 50, 3), i, np.uint8))

    exit_code, printed, _ = doctor(photographs, "--json", *arguments)

    report = json.loads(printed)
    assert report["may_start"] == starts == (exit_code == 0)
    kinds = [f["kind"] for f in report["findings"] if "no face found" in f["reason"]]
    assert kinds == [kind] * 3
    assert ("give --faces given" in report["because"]) == (not starts and "given" not in arguments)
    assert ("With --missing fallback" in report["because"]) == (not starts)


def test_the_comparison_of_many_images_is_told_before_it_begins(doctor, photographs, monkeypatch):
    monkeypatch.setattr("search.checkup.checkup._MANY", 20)

    _, _, said = doctor(photographs, "--quick", "--json")

    assert "comparing 20 images with each other" in said


@pytest.mark.parametrize("arguments", [["--faces", "given"], ["--missing", "fallback"]])
def test_a_picture_that_cannot_be_decoded_is_missing_whatever_becomes_of_faceless_ones(
    doctor, photographs, arguments
):
    for path in sorted(photographs.rglob("*.png"))[:3]:
        content = path.read_bytes()
        path.write_bytes(content[:200] + bytes(len(content) - 250) + content[-50:])

    exit_code, printed, _ = doctor(photographs, "--json", *arguments)

    report = json.loads(printed)
    assert not report["may_start"]
    assert exit_code != 0
    assert [f["kind"] for f in report["findings"] if "cannot be" in f["reason"]] == ["skipped"] * 3


def test_the_synthetic_set_is_whole_and_its_points_come_along(doctor, rendered):
    exit_code, printed, said = doctor(rendered, "--quick", "--json", dataset="synthetic")

    report = json.loads(printed)
    assert (report["clips"], report["subjects"], report["findings"]) == (120, 10, [])
    assert "data" in said
    assert exit_code == 0


def test_a_sheet_is_drawn(doctor, photographs):
    exit_code, _, _ = doctor(photographs, "--sheet", "sheet.png", "--sheet-subjects", "2")

    assert cv2.imread("sheet.png") is not None
    assert exit_code == 0


def test_quiet_says_nothing_but_the_report(doctor, photographs):
    _, printed, said = doctor(photographs, "-q", "--quick")

    assert printed
    assert said == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--dataset", "foldr"], 2, "did you mean 'folder'?"),
        (["--data-root", "nowhere"], 4, "nowhere is not a folder"),
        (["--view", "croped"], 2, "did you mean 'crop'?"),
        (["--sheet", "sheet.jpg"], 2, "must be the name of a .png file"),
        (["--sheet", "nowhere/sheet.png"], 2, "nowhere must be a folder"),
        (["--sheet", "a.png", "--quick"], 2, "leave one of them out"),
        (["--findings", "all.txt"], 2, "must be the name of a .csv file"),
        (["--findings", "nowhere/all.csv"], 2, "nowhere must be a folder"),
        (["--protocol", "seald"], 2, "did you mean 'sealed'?"),
        (["--landmarks", "data"], 4, "comes without landmarks"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_an_exit_code(
    doctor, photographs, arguments, code, said
):
    exit_code, printed, errors = doctor(photographs, *arguments, "-q")

    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert (exit_code, printed) == (code, "")


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--max-missing 1.5",
        "--max-missing -0.1",
        "--workers 0",
        "--shet x",
        "--task emotions",
        "--landmarks dlibb",
    ],
)
def test_a_usage_error_is_one_line_too(arguments):
    given = f"--dataset folder {arguments}" + " --data-root ." * bool(arguments)

    done = start(given.split()).communicate()

    (line,) = done[1].splitlines()
    assert line.startswith("error: ")


def start(arguments, **options):
    command = [sys.executable, "-m", "search.doctor", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes, **options)


@pytest.mark.slow
def test_an_interrupt_says_that_running_again_goes_on(rendered, tmp_path):
    options = ["--dataset", "synthetic", "--landmarks", "dlib", "--workers", "1"]
    run = start([*options, "--data-root", str(rendered), "--store", str(tmp_path / "store")])
    while not list(tmp_path.rglob("*.npy")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)

    run.send_signal(signal.SIGINT)

    _, said = run.communicate(timeout=30)
    assert said.splitlines()[-1].endswith("the same command continues there.")
    assert run.returncode == 130


def test_a_file_that_may_not_be_read_is_named(doctor, photographs, monkeypatch):
    with tempfile.TemporaryDirectory() as place:  # pytest's own are for their owner alone
        root = shutil.copytree(photographs, Path(place) / "photographs")
        (root / "anger" / "1_a.png").chmod(0)
        (root / "happiness" / "1_a.png").chmod(0)
        os.chmod(place, 0o755)
        monkeypatch.chdir(place)
        monkeypatch.setenv("TORCH_HOME", place)
        doctor(root, "--quick")  # all is imported while this may be root
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may read all
        try:
            exit_code, printed, _ = doctor(root, "--quick", "--json", *MANY)
        finally:
            os.seteuid(user)

    assert findings(printed)["1_a.png"] == ("left out", "it cannot be read: Permission denied")
    assert len(json.loads(printed)["findings"]) == 2
    assert exit_code == 4  # subject 1 is gone, and nine are too few


def test_importing_the_command_loads_neither_torch_nor_opencv():
    code = "import sys, search.doctor; print({'torch', 'cv2', 'sklearn'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr


def test_views_that_are_asked_for_are_stored_and_not_made_again(doctor, photographs, tmp_path):
    asked = ["--view", "aligned", "--view", "crop", "--store", str(tmp_path / "store")]

    _, _, first = doctor(photographs, *asked)
    _, _, again = doctor(photographs, *asked)

    entries = {
        stage: len(list((tmp_path / "store" / stage).glob("*.json")))
        for stage in ("faces", "views")
    }
    assert entries["views"] == 2 * entries["faces"] > 0
    assert "preparing the view crop" in first
    assert "preparing the view crop" in again
    assert "prepared 1 of" in first
    assert "prepared 1 of" not in again


def test_names_that_look_like_markup_are_printed_as_they_are(doctor, photographs):
    label = next(path for path in photographs.iterdir() if path.is_dir())
    (label / "2_[red].png").touch()

    _, printed, _ = doctor(photographs, "--max-missing", "1")

    assert f"{label.name}/2_[red].png" in printed


def test_no_torch_is_loaded_to_find_faces_with_dlib(photographs, tmp_path):
    code = (
        "import sys\n"
        "from search.doctor import app\n"
        "if __name__ == '__main__':\n"
        f"    app(['--dataset', 'folder', '--data-root', {str(photographs)!r}, '--workers', '1',\n"
        f"         '--store', {str(tmp_path / 'store')!r}, '-q'], standalone_mode=False)\n"
        "    print('torch' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "False", done.stderr
