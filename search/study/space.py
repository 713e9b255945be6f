"""Load a space file, draw configs from it, and refuse one that cannot be searched.

A space is drawn from, or enumerated: a file that also defines

    POINTS = ({"lr": 1e-3, "depth": 2}, {"lr": 1e-4, "depth": 5})

is tried at exactly these parameters, in their order. Each point names all parameters that
`space(trial)` suggests along its branch. Its study has as many trials as there are points
(`--trials N`: the first N), and none is pruned, since each of them is asked for.
"""

import atexit
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from fer_core.config import Config
from fer_core.errors import ConfigError, unknown
from fer_core.storage.paths import AnyPath, S3Path
from search.study.sampling import BoundedTPE

CHECK_DRAWS = 50


@dataclass(frozen=True)
class Space:
    """The function `space(trial) -> Config` of a file, and its points if it enumerates them."""

    path: Path
    function: Callable[[BaseTrial], object]
    points: tuple[Mapping[str, Any], ...] = ()  # none: it is drawn from

    def draw(self, trial: BaseTrial) -> Config:
        """Let the space choose a config.

        Raises: ConfigError of one line, whatever the space raised.
        """
        try:
            with redirect_stdout(sys.stderr), warnings.catch_warnings():
                # Of a name that one draw gives two ranges Optuna only warns.
                warnings.filterwarnings("error", "Inconsistent parameter values", RuntimeWarning)
                warnings.filterwarnings("error", "Fixed parameter")  # of a point, out of range
                config = self.function(trial)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from error
        except RuntimeWarning as warning:
            raise ConfigError(
                f"{self.path}: a name has two ranges in one draw, and a name has one: {warning}"
            ) from warning
        except (Exception, SystemExit) as error:  # the user's code: anything may come
            raise ConfigError(f"{self.path}: {describe(error)}") from error
        if not isinstance(config, Config):
            raise ConfigError(
                f"{self.path}: space(trial) gave a {type(config).__name__}; it must give a Config."
            )
        return config


def load(place: AnyPath) -> Space:
    """Load a space file.

    Raises: ConfigError where it is missing, does not load, or has no function `space`.
    """
    path = _fetched(place) if isinstance(place, S3Path) else place
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("spaces")
        there = [str(p) for p in folder.glob("*.py") if not p.name.startswith("_")]
        raise ConfigError(unknown("space", path, there))
    spec = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file; a space is one, see spaces/smoke.py.")
    module = importlib.util.module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):  # stdout is for data
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code: anything may come
        raise ConfigError(f"{path}: {describe(error)}") from error
    function = getattr(module, "space", None)
    if not callable(function):
        raise ConfigError(f"{path} has no function space(trial); see spaces/smoke.py.")
    points = getattr(module, "POINTS", ())
    if not isinstance(points, tuple) or not all(isinstance(point, dict) for point in points):
        raise ConfigError(f"{path}: POINTS is no tuple of dicts of parameters; it must be one.")
    return Space(path, function, points)


def _fetched(place: S3Path) -> Path:
    """Copy a study's space to where Python can load it from, until this process ends."""
    folder = tempfile.mkdtemp(prefix="space-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / place.name
    path.write_bytes(place.read_bytes())
    return path


def sampler(seed: int, index: int) -> optuna.samplers.BaseSampler:
    """Give the sampler of the draw `index` (0, 1, ...) of a study.

    Each draw has a sampler seeded by its own index, so that a resumed study, which has lost the
    state of a generator that ran along, draws as the uninterrupted one would have.
    """
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return BoundedTPE(seed=int.from_bytes(digest[:4]))


def draws(space: Space, *, seed: int, count: int) -> Iterator[tuple[optuna.Trial, Config]]:
    """Draw without results: the first ten are the configs that a study of this seed starts with.

    Of a space that enumerates its points these are all. Each draw has a throwaway study of its
    own, so that Optuna compares no ranges between them.

    Raises: ConfigError where a point is none of the space's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for index in range(min(count, len(space.points) or count)):
        study = optuna.create_study(sampler=sampler(seed, index))
        for point in space.points[index : index + 1]:
            study.enqueue_trial(dict(point))
        trial = study.ask()
        config = space.draw(trial)
        if space.points and trial.params != space.points[index]:
            raise ConfigError(
                f"{space.path}: POINTS[{index}] is {space.points[index]}, and space(trial) makes "
                f"{trial.params} of it; a point names the parameters that are suggested."
            )
        yield trial, config


def check(space: Space, *, draws_count: int = CHECK_DRAWS, seed: int = 0) -> tuple[Config, ...]:
    """Draw a few dozen configs, or all points, each of which must be valid, and give them.

    Raises: ConfigError where a draw is invalid or a parameter has two ranges.
    """
    ranges: dict[str, BaseDistribution] = {}
    configs = []
    for trial, config in draws(space, seed=seed, count=len(space.points) or draws_count):
        for name, distribution in trial.distributions.items():
            first = ranges.setdefault(name, distribution)
            if first != distribution:
                raise ConfigError(
                    f"{space.path}: parameter '{name}' has two ranges, {_text(first)} and "
                    f"{_text(distribution)}; a name has one: call them by two names."
                )
        configs.append(config)
    return tuple(configs)


def describe(error: BaseException) -> str:
    """Say an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _text(distribution: BaseDistribution) -> str:
    values: Any = distribution
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return str(list(distribution.choices))
    return f"{values.low} to {values.high}" + (" (log)" if values.log else "")
