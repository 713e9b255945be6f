"""Give each family of models its trials: `--per-family N` draws N of each before all others.

A sampler that follows the results may try a family once and leave it. So that families compare,
the first draws of a study go round them. The configs come from a sample of blind draws of the
space, which depends on the seed alone: a resumed study goes on as the uninterrupted one would have.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna

from fer_core.config import canonical
from fer_core.errors import ConfigError, FerError
from search.drawing.space import Space, sampler

# Blind draws that show which families a space has: one that is a fiftieth of all draws is missed
# in 1 of 24,000 studies.
LEARNED = 500
MOST_DRAWS = 2_000  # the longest that the sample becomes while a config of a family is looked for


@dataclass(frozen=True)
class _Drawn:
    params: Mapping[str, Any]
    family: str
    config_id: str


class Families:
    """The families of a space, and configs for those with too few trials.

    All draws of a study may share one object: it keeps the sample, and nothing of the study.
    """

    def __init__(self, space: Space, *, seed: int, least: int) -> None:
        """Give each family of `space` at least `least` trials."""
        self._space, self._seed, self._least = space, seed, least
        self._sample: list[_Drawn | None] = []  # None: refused

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The families that the space can draw with these data."""
        drawn = filter(None, (self._draw(index) for index in range(LEARNED)))
        return tuple(sorted({each.family for each in drawn}))

    def check(self, trials: int) -> None:
        """Refuse a number of trials in which the families do not all have their share.

        Raises: FerError that names the option.
        """
        if self._space.points:
            raise FerError(
                f"--per-family {self._least} cannot be given: {self._space.path} lists its points."
            )
        needed = self._least * len(self.names)
        if needed > trials:
            raise FerError(
                f"--per-family {self._least} needs {needed} trials, and --trials is {trials}: "
                f"{self._space.path} has {len(self.names)} families, {', '.join(self.names)}."
            )

    def wanted(
        self, given: Mapping[str, int], config_ids: Container[str]
    ) -> Mapping[str, Any] | None:
        """Return parameters of a config for the family with the fewest trials.

        `given` counts the trials by family, and `config_ids` are those that the study has. None if
        no family lacks trials, or the configs of those that do are used up.
        """
        for family in sorted(self.names, key=lambda family: given.get(family, 0)):
            if given.get(family, 0) >= self._least:
                return None
            if (unused := self._unused(family, config_ids)) is not None:
                return unused.params
        return None

    def lacking(self, given: Mapping[str, int], config_ids: Container[str]) -> list[str]:
        """Say which families have too few trials because the space has no other config of them."""
        if len(self._sample) < MOST_DRAWS:  # no search for a config has used up the sample
            return []
        return [
            f"family {family} has {given.get(family, 0)} trials, and not {self._least}: "
            f"{MOST_DRAWS} draws gave no other config of it"
            for family in self.names
            if given.get(family, 0) < self._least and self._unused(family, config_ids) is None
        ]

    def _unused(self, family: str, config_ids: Container[str]) -> _Drawn | None:
        """Find the first draw of the sample with a config of the family that is not known yet."""
        for drawn in filter(None, map(self._draw, range(MOST_DRAWS))):
            if drawn.family == family and drawn.config_id not in config_ids:
                return drawn
        return None

    def _draw(self, index: int) -> _Drawn | None:
        """Return draw `index` of the sample, and make it if it is the next one.

        None stands for a draw that the space or the data refuse.
        """
        if index == len(self._sample):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            # The study's own draws are numbered from 0; these are others.
            own = sampler(self._seed, -1 - index, blind=True)
            trial = optuna.create_study(sampler=own).ask()
            try:
                config = canonical(self._space.draw(trial), None)
                self._sample.append(_Drawn(trial.params, config.family, config.config_id))
            except ConfigError:
                self._sample.append(None)
        return self._sample[index]
