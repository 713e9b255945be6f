"""Say once what holds for many clips: what it is, for how many, and three of them."""

from collections.abc import Iterable, Iterator

from fer_core.data.problems import EXAMPLES, grouped


def lines(reasons: Iterable[tuple[str, str]], clips: str = "clips") -> Iterator[str]:
    """Write a line for each kind of reason; `clips` is what the paths name."""
    for group in grouped(reasons):
        if group.count == 1:
            (path,) = group.paths()
            yield f"{path}: {group.reason}"
            continue
        first = "they are" if group.count <= EXAMPLES else "the first are"
        yield (
            f"{group.count} {clips}: {'' if group.alike else 'such as '}"
            f"{group.reason.rstrip('.')}; {first} {', '.join(group.paths())}"
        )
