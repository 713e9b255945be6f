"""Make the draws of a study from its options.

`search.session` asks for them when a study begins or goes on, and `--dry-run` to foresee it.
`check_ranges` holds the space of a study that goes on against what it drew before.
"""

from collections import defaultdict

from optuna.distributions import BaseDistribution

from fer_core.config import ClipConfig
from fer_core.errors import ConfigError
from search.drawing.draws import Draws
from search.drawing.families import Families
from search.drawing.space import Space, range_text, ranges_of
from search.study.folder import Folder
from search.study.journal_backends import past_trials
from search.study.options import Options


def families_of(space: Space, options: Options, *, trials: int) -> Families | None:
    """Return the families that get their trials first; None where the sampler chooses alone.

    `space` must suit the data.

    Raises: FerError if so many trials are too few for the families.
    """
    if not options.per_family:
        return None
    families = Families(space, seed=options.seed, least=options.per_family)
    families.check(trials)
    return families


def draws_of(
    space: Space, options: Options, clip: ClipConfig | None, families: Families | None
) -> Draws:
    """Return the draws of a study that has none yet; `clip` are the frames that the data fix."""
    return Draws(
        seed=options.seed,
        points=space.points,
        first=space.first,
        families=families,
        clip=clip,
        repeats=options.repeats,
    )


def check_ranges(space: Space, folder: Folder, *, seed: int) -> None:
    """Refuse a space whose parameters have other ranges than the study's journal notes.

    TPE models a parameter by one range, and Optuna fails each trial that has other choices.

    Raises: ConfigError that names the first such parameter, and both ranges.
    """
    past: dict[str, list[BaseDistribution]] = defaultdict(list)
    for trial in past_trials(folder):
        for name, distribution in trial.distributions.items():
            if distribution not in past[name]:
                past[name].append(distribution)
    for name, now in ranges_of(space, seed=seed).items():
        if past[name] and now not in past[name]:
            before = " and ".join(map(range_text, past[name]))
            raise ConfigError(
                f"{space.path}: parameter '{name}' has the range {range_text(now)}, and the trials "
                f"of study {folder.name} were drawn from {before}; give it that range again, or "
                "start a new study."
            )
