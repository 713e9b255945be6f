from pathlib import Path

import pytest

from fer_core.datasets import synthetic


@pytest.fixture(scope="session")
def rendered_oulu(tmp_path_factory):
    """One subject in the layout of OULU-CASIA."""
    root = tmp_path_factory.mktemp("rendered") / "oulu"
    return synthetic.ensure(root, layout="oulu_casia", subjects=1, workers=1)


@pytest.fixture
def write():
    """Write a file and the folders that it needs."""

    def write_file(path: Path, content: str = "") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or str(path))
        return path

    return write_file
