"""Group what could not be used by the kind of its reason, so that a thousand of one kind is a line.

A problem is a path below the dataset's folder with a reason, and for what a table lists the place
in it. A group shows how many there are and the first three; `search` writes all of them to a file.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SHOWN = 3  # of each kind


@dataclass(frozen=True, kw_only=True)
class Group:
    """Problems of one kind: their number, the first reason, and the first few paths."""

    reason: str
    count: int
    first: tuple[str, ...]  # paths, each with its place in a table if it has one

    def __str__(self) -> str:
        """Say it in a line."""
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{self.reason}: {', '.join(self.first)}{more}"


def grouped(
    problems: Iterable[tuple[str, str]], places: Mapping[str, str] | None = None
) -> tuple[Group, ...]:
    """Group pairs of a path and a reason by the kind of the reason, the largest group first.

    `places` says where a table lists a path.
    """
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in problems:
        groups[kind(reason)].append((path, reason))
    made = [
        Group(
            reason=pairs[0][1],
            count=len(pairs),
            first=tuple(_shown(path, places or {}) for path, _ in pairs[:SHOWN]),
        )
        for pairs in groups.values()
    ]
    return tuple(sorted(made, key=lambda group: -group.count))


def kind(reason: str) -> str:
    """Write a reason without the names and numbers that differ from file to file."""
    text = re.sub(r"'[^']*'", "''", reason)
    text = re.sub(r"(?<=that of ).*(?=, but)|(?<=^frame )[^:]*(?=:)", "..", text)
    return re.sub(r"\d+(\.\d+)?", "0", text)


def _shown(path: str, places: Mapping[str, str]) -> str:
    place = places.get(path)
    return path if place is None or path == place else f"{path} ({place})"
