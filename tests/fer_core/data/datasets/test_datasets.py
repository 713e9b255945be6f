import subprocess
import sys

import pytest

from fer_core.data.datasets import DATASETS, load
from fer_core.errors import DataError


def test_an_unknown_dataset_is_answered_with_the_nearest_and_with_all():
    with pytest.raises(DataError, match=r"no dataset 'sase'; did you mean 'sase_fe'\?.*oulu_casia"):
        load("sase", None)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_folder_is_named(name, tmp_path):
    with pytest.raises(DataError, match=r"nowhere is not a folder; give the folder that holds"):
        load(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_named(name, tmp_path):
    with pytest.raises(DataError, match=r"is empty; give the folder that holds"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_of_other_things_is_named_in_one_line(name, tmp_path, write):
    write(tmp_path / "notes" / "readme.txt")

    with pytest.raises(DataError) as caught:
        load(name, tmp_path)

    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_loads_without_opencv_torch_or_numpy():
    heavy = "{'cv2', 'torch', 'numpy'}"
    code = f"import sys, fer_core.data.datasets; print({heavy} & set(sys.modules))"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "set()"
