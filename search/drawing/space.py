"""Load a user's space file, draw configs from it, and refuse one that cannot be searched.

A space file defines a function `space(trial)` that makes a config from what it suggests. The plan,
the presets and the searcher use this module. A space is either drawn from, or it lists its points.
A file that also defines

    POINTS = ({"lr": 1e-3, "depth": 2}, {"lr": 1e-4, "depth": 5})

is tried at exactly these parameters, in this order. Each point names all parameters that
`space(trial)` suggests for it. The study has as many trials as there are points (`--trials N`: the
first N). None of them is pruned, because the user asked for each one. A file that defines

    FIRST = ({"lr": 1e-3, "depth": 2},)

is drawn from, and its first trials have these parameters: configs that are known to be good. What
they do not name is drawn.
"""

import atexit
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from fer_core import config as configs
from fer_core.config import Config
from fer_core.errors import ConfigError, unknown
from fer_core.storage.paths import AnyPath, S3Path
from search.drawing import own_modules
from search.drawing.own_modules import Finder
from search.drawing.sampling import BoundedTPE

CHECK_DRAWS = 50  # configs that are drawn to check a space


class RefusedError(ConfigError):
    """A config that cannot work; the space itself is sound, and another config can be drawn."""


@dataclass(frozen=True)
class Space:
    """A loaded space file: its function `space(trial) -> Config`, and its points if it has any."""

    path: Path
    function: Callable[[BaseTrial], object]
    points: tuple[Mapping[str, Any], ...] = ()  # empty: configs are drawn
    first: tuple[Mapping[str, Any], ...] = ()  # parameters of the first draws
    finder: Finder | None = None  # finds the user's own modules that it imports
    loaded: tuple[str, ...] = ()  # such modules that were loaded along with it

    def draw(self, trial: BaseTrial) -> Config:
        """Let the space make a config from a trial.

        Raises: RefusedError of one line where the config cannot work; ConfigError of one line
            for whatever else the user's function raised.
        """
        try:
            importing = self.finder.working() if self.finder else nullcontext()
            with redirect_stdout(sys.stderr), warnings.catch_warnings(), importing:
                # Optuna only warns if one draw gives a name two ranges, or a point is out of range.
                warnings.filterwarnings("error", "Inconsistent parameter values", RuntimeWarning)
                warnings.filterwarnings("error", "Fixed parameter")
                config = self.function(trial)
        except ConfigError as error:
            raise RefusedError(f"{self.path}: {error}") from error
        except RuntimeWarning as warning:
            raise ConfigError(
                f"{self.path}: space() gives one parameter two ranges in the same trial; give it "
                f"one range, or use two names: {warning}"
            ) from warning
        except UserWarning as warning:
            raise ConfigError(
                f"{self.path}: POINTS or FIRST gives a parameter a value that space(trial) does "
                f"not suggest: {warning}"
            ) from warning
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise ConfigError(f"{self.path}: {describe(error)}") from error
        if not isinstance(config, Config):
            raise ConfigError(
                f"{self.path}: space(trial) returned a {type(config).__name__}; it must return a "
                "Config."
            )
        return config


def load(place: AnyPath) -> Space:
    """Load a space file.

    Raises: ConfigError where it is missing, does not load, or has no function `space`.
    """
    path = _fetched(place) if isinstance(place, S3Path) else place
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; a space must be a Python file in it.")
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("spaces")
        available = [str(p) for p in folder.glob("*.py") if not p.name.startswith("_")]
        raise ConfigError(unknown("space", path, available))
    spec = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file; a space must be one, see spaces/smoke.py.")
    own_modules.forget()
    module, finder, before = importlib.util.module_from_spec(spec), Finder(path), set(sys.modules)
    importlib.invalidate_caches()
    try:
        with redirect_stdout(sys.stderr), finder.working():  # stdout is for data
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ConfigError(f"{path}: {describe(error)}") from error
    function = getattr(module, "space", None)
    if not callable(function):
        raise ConfigError(f"{path} has no function space(trial); see spaces/smoke.py.")
    points = getattr(module, "POINTS", ())
    if points is configs.POINTS:  # from fer_core.config import *
        points = ()
    first = getattr(module, "FIRST", ())
    for name, listed in {"POINTS": points, "FIRST": first}.items():
        if not isinstance(listed, tuple) or not all(isinstance(each, dict) for each in listed):
            raise ConfigError(f"{path}: {name} must be a tuple of dicts of parameters.")
    if points and first:
        raise ConfigError(f"{path}: POINTS lists every trial; leave FIRST out.")
    loaded = tuple(own_modules.own_names(set(sys.modules) - before))
    return Space(path, function, points, first, finder, loaded)


def _fetched(place: S3Path) -> Path:
    """Copy a space file from S3 to a local folder that is deleted when this process ends.

    The modules that a study keeps beside its space come along.
    """
    folder = tempfile.mkdtemp(prefix="space-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / place.name
    path.write_bytes(place.read_bytes())
    modules = place.parent / own_modules.KEPT
    if modules.is_file():
        path.with_name(own_modules.KEPT).write_bytes(modules.read_bytes())
    return path


def sampler(seed: int, index: int, *, blind: bool = False) -> optuna.samplers.BaseSampler:
    """Make the sampler for draw `index` (0, 1, ...) of a study.

    Each draw has a sampler of its own, seeded with its index. So a resumed study draws what the
    uninterrupted study would have drawn, though no state of a random generator was saved. A `blind`
    sampler draws at random, whatever the results so far.
    """
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    own = int.from_bytes(digest[:4])
    return optuna.samplers.RandomSampler(seed=own) if blind else BoundedTPE(seed=own)


def draws(space: Space, *, seed: int, count: int) -> Iterator[tuple[optuna.Trial, Config]]:
    """Draw trials and their configs without any results, after those that the space lists.

    The first ten are those with which a study of this seed starts. Each draw has a throwaway
    Optuna study of its own, so that Optuna does not compare ranges between draws.

    Raises: ConfigError where the space suggests other parameters than a point names, or lacks one
        that an item of FIRST names.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for index in range(min(count, len(space.points) or count)):
        study = optuna.create_study(sampler=sampler(seed, index))
        for listed in (space.points or space.first)[index : index + 1]:
            study.enqueue_trial(dict(listed))
        trial = study.ask()
        config = space.draw(trial)
        if space.points and trial.params != space.points[index]:
            raise ConfigError(
                f"{space.path}: POINTS[{index}] is {space.points[index]}, but space(trial) "
                f"suggests {trial.params}; a point must name exactly the suggested parameters."
            )
        unknown_names = [name for name in _first_at(space, index) if name not in trial.params]
        if unknown_names:
            raise ConfigError(
                f"{space.path}: FIRST[{index}] names {', '.join(unknown_names)}, which "
                "space(trial) does not suggest with its other parameters."
            )
        yield trial, config


def _first_at(space: Space, index: int) -> Mapping[str, Any]:
    return space.first[index] if index < len(space.first) else {}


def check(space: Space, *, draws_count: int = CHECK_DRAWS, seed: int = 0) -> tuple[Config, ...]:
    """Draw a few dozen configs, or take all points, check that each is valid, and return them.

    Raises: ConfigError where a draw is invalid or a parameter has two ranges.
    """
    ranges: dict[str, BaseDistribution] = {}
    configs = []
    for trial, config in draws(space, seed=seed, count=len(space.points) or draws_count):
        for name, distribution in trial.distributions.items():
            first = ranges.setdefault(name, distribution)
            if first != distribution:
                raise ConfigError(
                    f"{space.path}: parameter '{name}' has two ranges, {range_text(first)} and "
                    f"{range_text(distribution)}; give each range a name of its own."
                )
        configs.append(config)
    return tuple(configs)


def ranges_of(space: Space, *, seed: int = 0) -> dict[str, BaseDistribution]:
    """Give the range of each parameter that the draws of `check` suggest, of a checked space."""
    count = len(space.points) or CHECK_DRAWS
    found: dict[str, BaseDistribution] = {}
    for trial, _ in draws(space, seed=seed, count=count):
        found |= trial.distributions
    return found


def describe(error: BaseException) -> str:
    """Describe an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def range_text(distribution: BaseDistribution) -> str:
    """Say in words which values a parameter may have."""
    values: Any = distribution
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return str(list(distribution.choices))
    step = f" in steps of {values.step}" if values.step not in (None, 1) else ""
    return f"{values.low} to {values.high}{step}" + (" (log)" if values.log else "")
