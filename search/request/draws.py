"""Make the draws of a study from its options.

`search.session` asks for them when a study begins or goes on, and `--dry-run` to foresee it.
"""

from fer_core.config import ClipConfig
from search.drawing.draws import Draws
from search.drawing.families import Families
from search.drawing.space import Space
from search.study.options import Options


def draws_of(space: Space, options: Options, clip: ClipConfig | None, *, trials: int) -> Draws:
    """Return the draws of a study that has none yet.

    `space` must suit the data, and `clip` are the frames that the data fix.

    Raises: FerError if the families do not have their share of so many trials.
    """
    families = None
    if options.per_family:
        families = Families(space, seed=options.seed, least=options.per_family)
        families.check(trials)
    return Draws(
        seed=options.seed, points=space.points, first=space.first, families=families, clip=clip
    )
