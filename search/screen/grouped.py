"""Say once what holds for many files or clips: what it is, for how many, and three of them.

The checkup and the start of a study have a reason for each file that is odd or unusable. Of a
hundred thousand files that can be thousands of lines which differ by a name or a number only.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

EXAMPLES = 3
_VARIES = re.compile(r"'[^']*'|\S*[\d/]\S*")  # what is quoted; numbers, and words with one; paths


@dataclass
class Group:
    """Files whose reasons differ by names and numbers only; it keeps the first few."""

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)  # path and reason


def groups(reasons: Iterable[tuple[str, str]]) -> list[Group]:
    """Group pairs of a path and a reason, the largest group first."""
    found: dict[str, Group] = {}
    for path, reason in reasons:
        group = found.setdefault(_VARIES.sub("#", reason.replace(path, "#")), Group())
        group.count += 1
        if len(group.examples) < EXAMPLES:
            group.examples.append((path, reason))
    return sorted(found.values(), key=lambda group: -group.count)


def lines(reasons: Iterable[tuple[str, str]], clips: str = "clips") -> Iterator[str]:
    """Write a line for each group; `clips` is what the paths name."""
    for group in groups(reasons):
        path, reason = group.examples[0]
        if group.count == 1:
            yield f"{path}: {reason}"
            continue
        alike = len({reason for _, reason in group.examples}) == 1
        names = ", ".join(path for path, _ in group.examples)
        first = "they are" if group.count <= EXAMPLES else "the first are"
        yield (
            f"{group.count} {clips}: {'' if alike else 'such as '}{reason.rstrip('.')}; "
            f"{first} {names}"
        )
