"""Draws that cannot be a trial, and the lines that tell the user of them.

`draws.py` raises `RedrawnError` for such a draw, and the searcher prints each reason once.
"""

import re
from collections.abc import Callable
from typing import Literal

Why = Literal["refused", "repeated"]
MARK = "redrawn"  # the attribute of such a draw in Optuna's journal; its value is the `Why`
REFUSED: Why = "refused"
REPEATED: Why = "repeated"
_NUMBER = re.compile(r"\d+(\.\d+)?")


class RedrawnError(Exception):
    """A draw is no trial, because its config cannot work or is known; the next takes its place."""

    def __init__(self, why: Why, reason: str, *, listed: int | None = None) -> None:
        """Say why, in a word and in a line. `listed` is its place in FIRST; None: it was drawn."""
        super().__init__(reason)
        self.why, self.reason, self.listed = why, reason, listed


class Reasons:
    """The reasons for which draws were redrawn so far."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, redrawn: RedrawnError, print_line: Callable[[str], None]) -> None:
        """Print why a draw is no trial, unless a draw like it was told of.

        Two reasons that differ in numbers only are one. What the space lists is always told.
        """
        reason, alike = redrawn.reason.rstrip("."), _NUMBER.sub("N", redrawn.reason)
        if redrawn.listed is None and alike in self._told:
            return
        self._told.add(alike)
        what = "a draw" if redrawn.listed is None else f"FIRST[{redrawn.listed}]"
        print_line(f"{what} is {redrawn.why}, and another takes its place: {reason}")
