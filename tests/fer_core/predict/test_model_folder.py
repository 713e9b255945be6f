import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from fer_core.errors import DataError
from fer_core.faces.frontal import surface
from fer_core.predict import model_folder
from tests.fer_core.faces.frontal.meshes import written_obj


def test_a_folder_whose_reduction_does_not_fit_its_backbone_is_damaged(votes, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(votes, folder)
    tensors = load_file(folder / "weights.safetensors")
    for name in ("mean", "scale"):
        tensors[f"streams.0.{name}"] = tensors[f"streams.0.{name}"][:-1].clone()
    save_file(tensors, folder / "weights.safetensors")

    with pytest.raises(DataError, match="is damaged: its scaling or PCA is for"):
        model_folder.load(folder)


def test_a_folder_that_holds_something_is_not_written_over(votes, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(DataError, match="not empty"):
        model_folder.save(model_folder.load(votes), tmp_path, card="")


def test_an_exported_folder_says_what_it_is(votes):
    assert sorted(file.name for file in votes.iterdir()) == [
        "README.md",
        "config.json",
        "labels.json",
        "preprocessing.json",
        "weights.safetensors",
    ]
    steps = json.loads((votes / "preprocessing.json").read_text())
    assert steps["streams"][0]["view"] == "aligned"
    assert steps["streams"][0]["mean"] == pytest.approx([122.782, 117.001, 104.298])
    assert json.loads((votes / "labels.json").read_text())["classes"][0] == "happiness_acted"


def test_what_was_exported_is_exported_again_the_same(exported, tmp_path):
    model_folder.save(model_folder.load(exported), tmp_path / "again", card="# A card\n")

    for file in exported.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("form", [".obj", ".npz"])
def test_a_model_keeps_every_file_of_the_surface_that_it_used(form, votes, tmp_path):
    path = written_obj(tmp_path)
    if form == ".npz":
        numbers = np.loadtxt(path.with_suffix(".landmarks.txt"), dtype=int)
        lines = [line.split()[1:4] for line in path.read_text().splitlines() if line[:2] == "v "]
        path = path.with_suffix(".npz")
        np.savez(path, vertices=np.array(lines, float), landmarks=numbers)

    model_folder.save(model_folder.load(votes), tmp_path / "model", card="", surface=path)

    kept = model_folder.load(tmp_path / "model").surface
    assert kept.sha256 == surface.load(path).sha256
