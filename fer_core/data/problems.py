"""Group what is odd or cannot be used by the kind of its reason: a thousand alike are one line.

A problem is a path below the dataset's folder with a reason. Of a hundred thousand files there can
be thousands whose reasons differ by a name or a number only. A group has their count and the first
three; `search` writes all of them to a file.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXAMPLES = 3  # of each kind
_NAMED = re.compile(r"(?<=that of ).*(?=, but)|(?<=^frame )[^:]*(?=:)")  # files without quotes
_VARIES = re.compile(r"'[^']*'|\S*[\d/]\S*")  # what is quoted; numbers, and words with one; paths


@dataclass(frozen=True, kw_only=True)
class Group:
    """Problems of one kind: their number, and the first few as pairs of a path and a reason."""

    count: int
    examples: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> str:
        """The reason of the first."""
        return self.examples[0][1]

    @property
    def alike(self) -> bool:
        """Tell whether the examples have the same reason, to the letter."""
        return len({reason for _, reason in self.examples}) == 1

    def paths(self, places: Mapping[str, str] | None = None) -> list[str]:
        """Give the paths of the examples, each with its place in a table if `places` has one."""
        return [_shown(path, places or {}) for path, _ in self.examples]

    def line(self, places: Mapping[str, str] | None = None) -> str:
        """Say it in a line: the reason, the first few paths, and how many there are more."""
        left = self.count - len(self.examples)
        more = f" and {left} more" if left else ""
        return f"{self.reason}: {', '.join(self.paths(places))}{more}"


def grouped(problems: Iterable[tuple[str, str]]) -> list[Group]:
    """Group pairs of a path and a reason by the kind of the reason, the largest group first."""
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in problems:
        kinds[reason_pattern(reason.replace(path, "#") if path else reason)].append((path, reason))
    made = [Group(count=len(pairs), examples=tuple(pairs[:EXAMPLES])) for pairs in kinds.values()]
    return sorted(made, key=lambda group: -group.count)


def reason_pattern(reason: str) -> str:
    """Write a reason without the names and numbers that differ from file to file."""
    return _VARIES.sub("#", _NAMED.sub("#", reason))


def _shown(path: str, places: Mapping[str, str]) -> str:
    place = places.get(path)
    return path if place is None or path == place else f"{path} ({place})"
