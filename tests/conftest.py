"""What several folders of tests share: one rendered dataset, and where the real photographs lie."""

from pathlib import Path

import pytest
import torch

from fer_core.datasets import synthetic

SHARED = Path(__file__).parents[2] / "shared" / "data"


torch.set_num_threads(1)  # as in a worker; more only get into each other's way here


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Ten subjects in SASE-FE's layout: what the smoke study renders, and the protocol's least."""
    return synthetic.ensure(tmp_path_factory.mktemp("synthetic") / "s10", subjects=10)


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
