from pathlib import Path

import pytest

from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.errors import FerError
from fer_core.storage.paths import S3Path
from search.cluster.reachability import is_mounted, missing_file_message, shared_store
from search.request.settings import resolve
from search.study.options import Options


@pytest.fixture
def make_settings(tmp_path):
    def make(**places):
        named = {"store": tmp_path / "store", "leaderboards": tmp_path / "boards"} | places
        studies = named.pop("studies", tmp_path / "studies")
        options = {name: str(place) for name, place in named.items()}
        return resolve(Options(space="spaces/smoke.py", **options), studies=str(studies))

    return make


def test_on_one_machine_a_folder_is_used_as_it_is(make_settings, tmp_path):
    assert shared_store(make_settings(), grows=False) == tmp_path / "store"


def test_where_machines_join_later_a_local_folder_is_refused_with_what_helps(make_settings):
    with pytest.raises(
        FerError,
        match=r"--store .*store is a folder of this machine, and machines that join later would "
        "not see it; give a folder that all machines mount, or s3://BUCKET/FOLDER",
    ) as refused:
        shared_store(make_settings(), grows=True)

    assert refused.value.exit_code == 2


@pytest.mark.parametrize("option", ["studies", "leaderboards"])
def test_no_other_folder_may_stay_behind_either(make_settings, bucket, tmp_path, option):
    places = {"studies": bucket, "leaderboards": bucket} | {option: tmp_path / option}

    with pytest.raises(FerError, match=f"--{option} .* is a folder of this machine"):
        shared_store(make_settings(store=bucket, **places), grows=True)


def test_a_bucket_that_cannot_be_written_to_is_refused_before_anything_starts(
    make_settings, bucket
):
    elsewhere = S3Path("no-such-bucket", bucket.key)

    with pytest.raises(FerError, match="s3://no-such-bucket/search cannot be used"):
        shared_store(make_settings(store=elsewhere), grows=False)


MOUNTS = """/dev/sda1 / ext4 rw 0 0
10.0.0.1:/lab /mnt/lab nfs4 rw 0 0
/dev/sdb1 /mnt/lab/scratch xfs rw 0 0
10.0.0.1:/two /mnt/two\\040words nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "mounted"),
    [
        ("/home/ray/store", False),
        ("/mnt/lab/store", True),
        ("/mnt/lab", True),
        ("/mnt/lab/scratch/store", False),
        ("/mnt/two words/store", True),
        ("/mnt/labyrinth", False),
    ],
)
def test_the_closest_mount_says_whether_others_may_see_a_folder(tmp_path, folder, mounted):
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)

    assert is_mounted(Path(folder), table) == mounted


def test_a_machine_that_joins_late_says_what_it_does_not_see(make_study_data, folder):
    study_data = make_study_data(weights={"vgg16": str(folder.path / "vgg.pth")})
    assert "does not see" in missing_file_message(study_data, folder)
    assert "space.py" in missing_file_message(study_data, folder)

    folder.space.write_text("")
    assert "vgg.pth; put it into a folder that all machines mount" in missing_file_message(
        study_data, folder
    )

    (folder.path / "vgg.pth").touch()
    assert missing_file_message(study_data, folder) is None


@pytest.fixture
def make_study_data(tmp_path):
    def make(**values):
        return StudyData(
            manifest=Manifest(dataset="none", root=tmp_path, clips=()),
            protocol=Protocol(name="one", sealed=(), folds=(("a",),)),
            task="emotion",
            seed=0,
            store=tmp_path,
            landmarks="data",
            **values,
        )

    return make
