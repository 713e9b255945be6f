"""study.json: what is written comes back, older files are read, newer and damaged ones refused."""

import json
from dataclasses import replace

import pytest

from fer_core.errors import FerError
from search.study.folder import FORMAT

DEFAULTS = {  # key of study.json: what a file without it means
    "seed": 0,
    "weights": {},
    "landmarks": "auto",
    "protocol_name": "sealed",
    "surface": None,
    "surface_sha256": None,
    "clip": None,
    "max_missing": 0.05,
    "smoke": False,
    "pruning": False,  # which came later: an old study had none
    "commit": "unknown",
    "versions": {},
    "arguments": [],
}


@pytest.fixture
def change(folder, record):
    """Write study.json, and change its keys by hand."""

    def write(**changes):
        folder.write_record(record)
        file = folder.path / "study.json"
        keys = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({key: v for key, v in keys.items() if v is not ...}))

    return write


def test_a_record_comes_back_as_it_was_written(folder, record):
    files = {"weights": {"vgg16": "/elsewhere/face.pth"}, "surface": "/elsewhere/s.npz"}
    written = replace(record, clip={"frames": 3}, **files)
    folder.write_record(written)

    assert folder.record() == written


def test_the_file_says_its_format(folder, record):
    folder.write_record(record)

    assert json.loads((folder.path / "study.json").read_text())["format"] == FORMAT == 5


@pytest.mark.parametrize("key", DEFAULTS)
def test_what_an_older_file_lacks_gets_its_default(folder, record, change, key):
    change(**{key: ..., "format": ...})

    assert folder.record() == replace(record, **{key: DEFAULTS[key]})


def test_a_key_that_this_version_does_not_know_is_passed_over(folder, record, change):
    change(dreams=True, format=...)

    assert folder.record() == record


def test_a_newer_file_is_refused_by_name(folder, change):
    change(format=FORMAT + 1, trials=...)

    with pytest.raises(FerError, match=r"study\.json has format 6; .* Update fer-search") as error:
        folder.record()
    assert error.value.exit_code == 2


@pytest.mark.parametrize("key", ["task", "trials", "space", "protocol", "data_sha256"])
def test_a_file_without_what_a_study_cannot_do_without_is_damaged(folder, change, key):
    change(**{key: ...})

    with pytest.raises(FerError, match=rf"study\.json is damaged: it has no '{key}'"):
        folder.record()


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_file_that_is_no_json_object_is_damaged(folder, text):
    (folder.path / "study.json").write_text(text)

    with pytest.raises(FerError, match=r"study\.json is damaged"):
        folder.record()
