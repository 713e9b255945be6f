"""Refuse data that a newer version of fer-search has written, by name and in one line.

A study, a board and a store each carry a format number. Whoever reads one of them calls
`check_format` with the number that it found and the newest number that it can read, before it
reads anything else.
"""

from fer_core.errors import FerError


def check_format(what: str, found: object, newest: int) -> None:
    """Refuse a format number that this version cannot read.

    `what` names the data that carries the number (a file, a board, a store); it begins the message.

    Raises:
        FerError: `found` is above `newest`, or it is no positive integer.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise FerError(f"{what} has a damaged format number: {found!r} is not a positive integer.")
    if found > newest:
        raise FerError(
            f"{what} has format {found}; this version of fer-search reads formats up to {newest}."
            " Update fer-search to read it."
        )
