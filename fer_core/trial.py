"""One config in, one result out: the whole path from files to scores, without Ray.

`cross_validate` scores a config on the development subjects, fold by fold, and never reads a
sealed one. `open_sealed` refits it on all of them and scores the sealed subjects.
"""

from collections.abc import Iterator
from pathlib import Path

from fer_core import race
from fer_core.bench import Begun, Bench, FoldResult, SealedResult, opened
from fer_core.config import Config
from fer_core.experiment import Experiment
from fer_core.export import Model
from fer_core.faces.surface import load

__all__ = [
    "Bench",
    "FoldResult",
    "SealedResult",
    "cross_validate",
    "open_sealed",
    "opened",
    "refit",
]


def cross_validate(
    config: Config, experiment: Experiment, *, raced: bool = False
) -> Iterator[FoldResult]:
    """Yield the result of each fold in order.

    `raced` trains the folds as a study that prunes does, which may move the last bits.

    Raises: FerError where the config cannot work on these data.
    """
    for standings in race.run([config], experiment, raced=raced):
        last = standings[0]
        if last.error is not None:
            raise last.error
    yield from last.results


def open_sealed(config: Config, experiment: Experiment) -> SealedResult:
    """Refit on all development subjects and score the sealed ones."""
    bench = opened(config, experiment)
    test = bench.rows(experiment.protocol.sealed)
    return bench.sealed(test, _refitted(bench).scores(test))


def refit(config: Config, experiment: Experiment) -> Model:
    """Fit on all development subjects, as `open_sealed` does, and give the whole model."""
    bench = opened(config, experiment)
    begun = _refitted(bench)
    setting, surface = bench.setting, experiment.surface
    return Model(
        config=config,
        task=bench.experiment.task,
        classes=bench.experiment.classes,
        encoders=begun.encoders,
        network=begun.fit.network.cpu(),
        clip=setting.window,
        frame_seconds=setting.frame_seconds(),
        landmarks=experiment.landmarks,
        surface=load(Path(surface)) if surface else None,
    )


def _refitted(bench: Bench) -> Begun:
    begun = bench.begin(bench.rows(bench.experiment.protocol.development), "sealed")
    race.train(bench, begun)
    return begun
