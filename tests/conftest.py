"""What several folders of tests share: a rendered dataset, real photographs, and an S3."""

import fcntl
import logging
import os
import secrets
from pathlib import Path, PurePosixPath

import pytest
import torch
from hypothesis import settings
from pyarrow import fs

from fer_core.storage.paths import S3Path
from fer_core.synthetic import dataset
from tests.fer_core.crops import write_table

SHARED = Path(__file__).parents[2] / "shared" / "data"


# How long an example takes says more of the machine's load than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
torch.set_num_threads(1)  # as in a worker; more only get into each other's way here


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """The folder that the workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def rendered(run_folder):
    """Ten subjects in SASE-FE's layout: what the smoke study renders, and the protocol's least.

    The workers of one run share them: whoever comes first renders, and the others wait.
    """
    with (run_folder / "synthetic.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return dataset.ensure(run_folder / "synthetic" / "s10", subjects=10)


@pytest.fixture(scope="session")
def face_crops(run_folder):
    """A folder with some sixty face crops of 48 pixels in FER2013's layout; one shows nothing."""
    with (run_folder / "crops.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = run_folder / "crops"
        if not folder.exists():
            folder.mkdir()
            write_table(folder / "fer2013.csv", 72)
        return folder


@pytest.fixture(scope="session")
def shared_data():
    """Openly licensed faces, videos and weights; see materials.md."""
    if not SHARED.is_dir():
        pytest.skip("the openly licensed faces of ../shared/data are not here")
    return SHARED


@pytest.fixture(scope="session")
def london(shared_data):
    """102 adults, neutral and smiling."""
    return shared_data / "london480"


class S3Server:
    """An S3 on loopback that can go away for a while; what it holds it keeps."""

    def __init__(self):
        self._server, self._port = None, 0

    def start(self):
        from moto.server import ThreadedMotoServer  # takes a second, which most tests have not

        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        host, self._port = self._server.get_host_and_port()
        return f"http://{host}:{self._port}"

    def stop(self):
        self._server.stop()


@pytest.fixture(scope="session")
def s3_server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": server.start(),
    }
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server):
    """A new bucket's folder."""
    name = f"lab-{secrets.token_hex(4)}"
    admin = fs.S3FileSystem(
        allow_bucket_creation=True, endpoint_override=os.environ["AWS_ENDPOINT_URL"]
    )
    admin.create_dir(name)
    return S3Path(name, PurePosixPath("search"))
