"""What a space imports is kept with the study, whatever becomes of the original."""

import io
import textwrap
import zipfile

import pytest

from fer_core.errors import ConfigError
from search.drawing import kept_modules, own_modules
from search.drawing import space as spaces

SPACE = """
{imports}
from fer_core.config import Config, OptimizerConfig, StreamConfig


def space(trial):
    {lazily}
    stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
    lr = trial.suggest_float("lr", 1e-4, {high}, log=True)
    return Config(streams=(stream,), optimizer=OptimizerConfig(lr=lr))
"""


@pytest.fixture
def kept(tmp_path):
    """Write a space and its modules, keep a copy of them, and give the copy's space file."""
    own = tmp_path / "spaces"
    own.mkdir()

    def keep(modules, imports="", lazily="pass", high="HIGH"):
        for name, text in modules.items():
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            (own / name).write_text(textwrap.dedent(text))
        file = own / "mine.py"
        file.write_text(SPACE.format(imports=imports, lazily=lazily, high=high))
        content = kept_modules.archive(spaces.load(file), seed=0)
        study = tmp_path / "study"
        study.mkdir()
        (study / "space.py").write_bytes(file.read_bytes())
        if content is not None:
            (study / own_modules.KEPT).write_bytes(content)
        return study / "space.py"

    return keep


def high(file):
    """Give the upper end of the range that the space draws from."""
    return spaces.ranges_of(spaces.load(file))["lr"].high


def names(file):
    return zipfile.ZipFile(file.with_name(own_modules.KEPT)).namelist()


@pytest.mark.parametrize("change", ["edited", "deleted", "renamed"])
def test_a_helper_that_is_changed_after_the_start_changes_nothing(kept, tmp_path, change):
    file = kept({"helper_one.py": "HIGH = 0.01"}, "from helper_one import HIGH")
    helper = tmp_path / "spaces" / "helper_one.py"

    if change == "edited":
        helper.write_text("HIGH = 0.5")
    elif change == "deleted":
        helper.unlink()
    else:
        helper.rename(helper.with_name("helper_two.py"))

    assert high(file) == 0.01


CASES = {
    "a helper that imports a helper": (
        {"first_one.py": "from second_one import HIGH", "second_one.py": "HIGH = 0.02"},
        {"imports": "from first_one import HIGH"},
        {"first_one.py", "second_one.py"},
    ),
    "a package with relative imports": (
        {
            "pack_one/__init__.py": "from .inner import HIGH",
            "pack_one/inner.py": "from . import deepest\nHIGH = deepest.HIGH",
            "pack_one/deepest.py": "from .sub.leaf import HIGH",
            "pack_one/sub/__init__.py": "",
            "pack_one/sub/leaf.py": "from ..base import HIGH",
            "pack_one/base.py": "HIGH = 0.02",
            "pack_one/unused.py": "",
        },
        {"imports": "from pack_one import HIGH"},
        {
            "pack_one/__init__.py",
            "pack_one/inner.py",
            "pack_one/deepest.py",
            "pack_one/sub/__init__.py",
            "pack_one/sub/leaf.py",
            "pack_one/base.py",
        },
    ),
    "a folder without __init__": (
        {"plain_one/ranges.py": "HIGH = 0.02"},
        {"imports": "import plain_one.ranges", "high": "plain_one.ranges.HIGH"},
        {"plain_one/ranges.py"},
    ),
    "an import inside the function": (
        {"late_one.py": "HIGH = 0.02"},
        {"lazily": "from late_one import HIGH"},
        {"late_one.py"},
    ),
    "a name that is computed": (
        {"computed_one.py": "HIGH = 0.02"},
        {
            "imports": "import importlib\nHIGH = importlib.import_module('computed' + '_one').HIGH",
        },
        {"computed_one.py"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_all_that_a_space_imports_of_the_users_own_is_kept(kept, tmp_path, case):
    modules, how, expected = CASES[case]

    file = kept(modules, **how)
    for helper in (tmp_path / "spaces").rglob("*.py"):
        helper.unlink()

    assert {name for name in names(file) if not name.endswith("/")} == expected
    assert high(file) == 0.02
    assert high(file) == 0.02  # a second time in the same process


def test_nothing_is_kept_of_installed_packages_the_standard_library_and_this_project(kept):
    file = kept(
        {}, "import json\nimport numpy\nimport optuna\nimport fer_core.scoring", high="1e-2"
    )

    assert not file.with_name(own_modules.KEPT).exists()


def test_a_space_whose_module_reads_a_file_beside_it_is_refused_at_the_start(kept):
    text = """
        from pathlib import Path

        HIGH = float((Path(__file__).parent / "high.txt").read_text())
        """

    with pytest.raises(ConfigError, match=r"does not work from the copy .* by its whole path"):
        kept({"reads_one.py": text, "high.txt": "0.01"}, "from reads_one import HIGH")


def test_a_space_that_draws_otherwise_from_its_copy_is_refused_at_the_start(kept):
    text = "HIGH = 0.02 if '.zip' in __file__ else 0.01"

    with pytest.raises(ConfigError, match="the copy draws other configs"):
        kept({"depends_one.py": text}, "from depends_one import HIGH")


def test_a_module_that_was_loaded_before_does_not_take_the_place_of_the_kept_one(kept, tmp_path):
    file = kept({"again_one.py": "HIGH = 0.01"}, "from again_one import HIGH")
    (tmp_path / "spaces" / "again_one.py").write_text("HIGH = 0.5  # edited")

    assert high(tmp_path / "spaces" / "mine.py") == 0.5
    assert high(file) == 0.01
    assert high(tmp_path / "spaces" / "mine.py") == 0.5


def test_the_same_modules_make_the_same_copy(kept, tmp_path):
    file = kept({"same_one.py": "HIGH = 0.01"}, "from same_one import HIGH")
    space = spaces.load(tmp_path / "spaces" / "mine.py")

    content = own_modules.archive(space.path, space.finder)

    assert content == file.with_name(own_modules.KEPT).read_bytes()
    assert zipfile.ZipFile(io.BytesIO(content)).read("same_one.py") == b"HIGH = 0.01"


def test_a_kept_copy_is_read_from_s3(kept, bucket):
    file = kept({"far_one.py": "HIGH = 0.01"}, "from far_one import HIGH")
    for name in (file.name, own_modules.KEPT):
        (bucket / "study" / name).write_bytes(file.with_name(name).read_bytes())

    assert high(bucket / "study" / "space.py") == 0.01
