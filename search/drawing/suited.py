"""Suit a space to a study's data: leave out what cannot matter, refuse what cannot work.

`search.session` passes the space of each study through `suited` once the data are loaded. A config
that is refused never becomes a trial: another is drawn in its place (`draws.py`).
"""

from dataclasses import replace
from functools import cache

from optuna.trial import BaseTrial

from fer_core.config import Config, canonical
from fer_core.data.study_data import StudyData
from search.drawing.given_faces import shown_as_given
from search.drawing.space import Space


def suited(space: Space, study_data: StudyData) -> Space:
    """Return the space with configs that suit the data.

    Its `draw` raises RefusedError for a config that cannot work on them. The points of a space that
    lists its points are not refused: the user asked for each of them, and one that cannot work is a
    trial that fails.
    """
    from fer_core.trial import feasibility  # imports torch, which takes seconds

    @cache  # it remembers the classes of its task
    def of_task(task: str) -> StudyData:
        return replace(study_data, task=task)

    shown = shown_as_given(space) if study_data.given_faces else space

    def function(trial: BaseTrial) -> object:
        config = shown.function(trial)
        if not isinstance(config, Config):
            return config
        config = canonical(config, study_data.clip)
        if not space.points:
            feasibility.check_on_data(config, of_task(config.task or study_data.task))
        return config

    return replace(space, function=function)
