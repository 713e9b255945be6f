"""Decide what each draw of a study tries, and find configs that the study has already.

Draws are numbered from 0. The first ones try what the space lists, then families with too few
trials get theirs (`families.py`), and the sampler chooses the rest. A draw that is refused for the
data, or that repeats a config, is *redrawn*: it is no trial, and the next draw takes its place. The
journal keeps a `Draws` for its study; `foreseen` plays the first draws through in advance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from fer_core.config import ClipConfig, Config, canonical
from fer_core.errors import ConfigError
from search.drawing.families import Families
from search.drawing.redraws import REFUSED, REPEATED, RedrawnError, Why
from search.drawing.space import RefusedError, Space, sampler

# After so many redraws one after another the sampler ignores the results: it may be caught among
# the configs that did best.
PATIENCE = 20
# After so many, the space has no other config, or next to none: 280 random draws of 50 configs miss
# the last one in 1 of 280 studies.
MOST_REDRAWS = 300


class Draws:
    """What the draws of one study tried, and what the next one tries."""

    def __init__(
        self,
        *,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
        first: Sequence[Mapping[str, Any]] = (),
        families: Families | None = None,
        clip: ClipConfig | None = None,
        repeats: int = 1,
    ) -> None:
        """Begin without any draw.

        `points` are the parameters to try, in order: each is a trial, whatever it is. Without
        points the sampler draws, after the parameters `first` and those that `families` asks for.
        `clip` are the frames that the data fix. A config that is drawn again is a trial with the
        next training seed until it has `repeats` trials.
        """
        self.enumerates, self.families = bool(points), families
        self._seed, self._listed, self._clip = seed, points or first, clip
        self._families: dict[int, str] = {}  # of the trials, by draw
        self._repeats = repeats
        # Of each config, by config_id: how far above the study's seed each of its draws trains.
        self._offsets: dict[str, dict[int, int]] = {}
        self.count = 0  # of draws so far, redrawn ones included
        self.redrawn: Counter[Why] = Counter()
        self._in_a_row = 0  # redraws since the last draw that became a trial

    @property
    def kept(self) -> int:
        """How many draws became trials, or are still being drawn."""
        return self.count - self.redrawn.total()

    @property
    def configs(self) -> int:
        """How many different configs the study's trials have."""
        return len(self._offsets)

    @property
    def exhausted(self) -> bool:
        """Whether the space has no other config for a trial, as far as random draws can show it."""
        return self._in_a_row >= MOST_REDRAWS

    def sampler(self, draw: int) -> optuna.samplers.BaseSampler:
        """Make the sampler of a draw."""
        return sampler(self._seed, draw, blind=self._in_a_row >= PATIENCE)

    def parameters(self) -> Mapping[str, Any] | None:
        """Return the parameters that the next draw must try; None where the sampler chooses."""
        if self.count < len(self._listed):
            return self.listed(self.count)
        if self.families is None or self.enumerates:
            return None
        return self.families.wanted(Counter(self._families.values()), self._offsets)

    def listed(self, draw: int) -> Mapping[str, Any]:
        """Return the parameters that the space lists for a draw; empty where it lists none."""
        return self._listed[draw] if draw < len(self._listed) else {}

    def begin(self) -> int:
        """Begin the next draw, and return its number."""
        self.count += 1
        return self.count - 1

    def config(self, draw: int, space: Space, trial: optuna.Trial) -> Config:
        """Let the space make the config of a draw, and note it.

        Raises: RedrawnError where it cannot be a trial; ConfigError where the space fails.
        """
        listed = draw if draw < len(self._listed) else None
        try:
            config = space.draw(trial)
        except RefusedError as error:
            if self.enumerates:
                raise
            raise RedrawnError(REFUSED, str(error), listed=listed) from error
        offset = self._next_offset(draw, config)
        if offset is None:
            raise RedrawnError(REPEATED, "an earlier trial has this config", listed=listed)
        self.note(draw, config, offset)
        return config

    def seed_offset(self, draw: int, config: Config) -> int:
        """Return how far above the study's seed a draw that became a trial trains its config."""
        return self._offsets[self._key(config)][draw]

    def note(self, draw: int, config: Config, seed_offset: int) -> None:
        """Note the config of a draw that became a trial, and its seed."""
        if draw not in self._families:  # else the trial repeats one that was interrupted
            self._in_a_row = 0
        self._families[draw] = canonical(config, self._clip).family
        self._offsets.setdefault(self._key(config), {})[draw] = seed_offset

    def _key(self, config: Config) -> str:
        """Name a config without what cannot matter, which an earlier version kept in it."""
        return canonical(config, self._clip).config_id

    def _next_offset(self, draw: int, config: Config) -> int | None:
        """Return the seed offset of a draw: its own, else the next; None if all are taken."""
        taken = self._offsets.get(self._key(config), {})
        if draw in taken or self.enumerates:
            return taken.get(draw, 0)
        return next((o for o in range(self._repeats) if o not in taken.values()), None)

    def redraw(self, why: Why) -> None:
        """Note that a draw is redrawn."""
        self.redrawn[why] += 1
        self._in_a_row += 1

    def summary(self) -> list[str]:
        """Say, for the end of a study, what was drawn again and what could not be drawn."""
        lines = []
        if again := self.redrawn.total():
            counts = ", ".join(f"{count} {why}" for why, count in sorted(self.redrawn.items()))
            lines.append(f"{again} draws were drawn again, and are not counted: {counts}")
        if self.exhausted:
            lines.append(
                f"the space has {self.configs} configs for these data, and all of them were tried: "
                f"the last {MOST_REDRAWS} draws gave no other"
            )
        if self.families is not None:
            lines += self.families.lacking(Counter(self._families.values()), self._offsets)
        return lines


def foreseen(space: Space, draws: Draws, *, count: int) -> list[Config]:
    """Return the configs of the first `count` trials of a study that has no results yet.

    A study chooses by its results from the eleventh trial on. There are fewer configs if the space
    has no more. `draws` must be new, and is used up.

    Raises: ConfigError where the space fails, or has no config that can work.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    configs: list[Config] = []
    count = min(count, len(space.points) or count)
    why = ""
    while len(configs) < count and not draws.exhausted:
        listed = draws.parameters()
        draw = draws.begin()
        # Each draw has an Optuna study of its own, so that Optuna compares no ranges between draws.
        study = optuna.create_study(sampler=draws.sampler(draw))
        if listed is not None:
            study.enqueue_trial(dict(listed))
        try:
            configs.append(draws.config(draw, space, study.ask()))
        except RedrawnError as redrawn:
            draws.redraw(redrawn.why)
            why = redrawn.reason
    if not configs:
        raise ConfigError(f"{why} No draw of the space can work with these data.")
    return configs
