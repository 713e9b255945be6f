"""Make the draws of a study from its options.

`search.session` asks for them when a study begins or goes on, and `--dry-run` to foresee it.
"""

from fer_core.config import ClipConfig
from search.drawing.draws import Draws
from search.drawing.families import Families
from search.drawing.space import Space
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
