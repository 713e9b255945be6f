"""Known totals of the real datasets, of which FER_DATA holds a folder each, by name."""

import os
from pathlib import Path

import pytest

from fer_core.data.dataset import difference
from fer_core.data.datasets import DATASETS, load

WITH_TOTALS = [name for name, dataset in DATASETS.items() if dataset.totals]
OULU_FRAMES = [  # of VL/Strong, by subject numbers: domain.md, section 3
    (range(1, 81), 10_379),
    (range(61, 81), 2_625),
    (range(66, 81), 1_982),
    (range(1, 61), 7_754),
]


def real(name):
    """The folder of a real dataset."""
    root = Path(os.environ.get("FER_DATA", "/nowhere"), name)
    if not root.is_dir():
        pytest.skip(f"FER_DATA holds no folder {name}: the real dataset is not here")
    return root


@pytest.mark.parametrize("name", WITH_TOTALS)
def test_a_real_copy_has_the_known_totals(name):
    manifest = load(name, real(name))

    assert difference(manifest, DATASETS[name].totals) == ()


@pytest.mark.parametrize(("subjects", "frames"), OULU_FRAMES)
def test_vl_strong_has_the_known_frames(subjects, frames):
    clips = load("oulu_casia", real("oulu_casia")).clips

    folders = [clip.path for clip in clips if int(clip.subject[1:]) in subjects]
    assert sum(len(list(folder.glob("*.jpeg"))) for folder in folders) == frames
