"""Make the copy of a space's own modules that a study keeps, and check that it draws the same.

`search.session` calls `archive` when a study begins, and when one goes on that has no copy yet.
"""

import tempfile
from pathlib import Path

from fer_core.errors import ConfigError
from search.drawing import own_modules
from search.drawing import space as spaces
from search.drawing.space import Space


def archive(space: Space, *, seed: int) -> bytes | None:
    """Give the zip file of the user's own modules that a space imports; None if it imports none.

    Raises: ConfigError where the space would not draw the same from the copy, for instance because
        a module reads a file that lies beside it.
    """
    if space.finder is None:
        return None
    made = own_modules.archive(space.path, space.finder, space.loaded)
    if made is None or space.finder.kept:
        return made
    expected = spaces.check(space, seed=seed)
    with tempfile.TemporaryDirectory(prefix="space-") as folder:
        copy = Path(folder) / "space.py"
        copy.write_bytes(space.path.read_bytes())
        copy.with_name(own_modules.KEPT).write_bytes(made)
        try:
            with own_modules.put_back(copy):
                same = spaces.check(spaces.load(copy), seed=seed) == expected
            reason = "the copy draws other configs"
        except ConfigError as error:
            same, reason = False, str(error).replace(str(copy), "the copy").rstrip(".")
    if not same:
        raise ConfigError(
            f"{space.path} does not work from the copy of its modules that the study would keep: "
            f"{reason}; a file that a module reads must be named by its whole path."
        )
    return made
