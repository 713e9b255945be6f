from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(__file__).parents[3] / "../shared/data"
    if not folder.is_dir():
        pytest.skip("the openly licensed faces of ../shared/data are not here")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Two threads are slower than one where a core is shared, and these nets are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
