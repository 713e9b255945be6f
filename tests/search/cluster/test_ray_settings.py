import os
from pathlib import Path

import pytest

from fer_core.errors import ClusterError
from search.cluster import ray_settings

LONG = "/".join(["a-folder-of-a-batch-job"] * 4)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Set the variables that name folders for temporary files; the others are unset."""

    def set_(**folders):
        for name in ("RAY_TMPDIR", "TMPDIR", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name, folder in folders.items():
            monkeypatch.setenv(name, str(folder))

    return set_


@pytest.fixture
def long(tmp_path):
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def short(tmp_path_factory):
    folder = Path("/tmp") / f"s{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def test_a_folder_that_will_do_is_the_one_that_ray_takes_by_itself(places, short):
    places(TMPDIR=short)
    assert ray_settings.folder() == short / "ray"
    assert ray_settings.folder_text() == ""

    places(TMPDIR="/var/tmp", RAY_TMPDIR=short)
    assert ray_settings.folder() == short / "ray"

    places()
    assert ray_settings.folder() == Path("/tmp/ray")


def test_a_tmpdir_that_is_too_long_for_sockets_is_passed_over_and_that_is_said(places, long, short):
    places(TMPDIR=long)
    assert ray_settings.folder() == Path("/tmp/ray")
    said = ray_settings.folder_text()
    assert "in /tmp/ray and not in" in said
    assert "too long for sockets" in said

    places(TMPDIR=long, XDG_RUNTIME_DIR=short)
    assert ray_settings.folder() == short / "ray"


def test_a_ray_tmpdir_is_meant_and_refused_if_it_is_too_long(places, long):
    places(RAY_TMPDIR=long)

    with pytest.raises(ClusterError, match=r"set RAY_TMPDIR to a folder .* of at most \d\d bytes"):
        ray_settings.folder()


def test_a_folder_that_cannot_be_written_is_passed_over(places, tmp_path):
    (tmp_path / "file").touch()
    places(TMPDIR=tmp_path / "file")

    assert ray_settings.folder() == Path("/tmp/ray")


def test_the_longest_folder_that_is_taken_has_room_for_every_socket(places):
    most = ray_settings._MOST_BYTES - len("/ray")
    places(TMPDIR="/tmp/" + "a" * (most - 5))
    taken = ray_settings.folder()
    places(TMPDIR="/tmp/" + "a" * (most - 4))

    assert len(f"{taken}{ray_settings._SOCKET}") == 107
    assert ray_settings.folder() == Path("/tmp/ray")
