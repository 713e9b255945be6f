"""The result of a row: ratios, the figures that they came from, and their targets.

Each row of `benchmarks/search.py` returns a list of `Ratio`; the benchmarks print them as text or
write them as JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One ratio of a row."""

    name: str
    value: float
    target: float
    came_from: str  # the two figures that were divided, with their units
    at_most: bool = False  # whether the target is an upper bound; else it is a lower one
    notes: tuple[str, ...] = ()  # what was extrapolated, left out or checked

    @property
    def share(self) -> float:
        """Share of the target that is reached: 1 or more where it is met."""
        return self.target / self.value if self.at_most else self.value / self.target

    @property
    def met(self) -> bool:
        return self.share >= 1


def worst_first(ratios: Sequence[Ratio]) -> list[Ratio]:
    """Sort ratios by the share of their targets that they reach."""
    return sorted(ratios, key=lambda ratio: ratio.share)


def row_text(row: int, title: str, ratios: Sequence[Ratio]) -> str:
    """Describe a row in a few lines of text."""
    lines = [f"{row:2d}  {title}"]
    for ratio in ratios:
        bound = "at most" if ratio.at_most else "at least"
        verdict = "met" if ratio.met else "NOT met"
        lines.append(
            f"    {ratio.name}: {ratio.value:,.4g}x, {bound} {ratio.target:g}x, {verdict}; "
            f"{ratio.came_from}"
        )
        lines += [f"        {note}" for note in ratio.notes]
    return "\n".join(lines)


def as_json(ratios: Sequence[Ratio]) -> float | dict[str, float]:
    """Return a row's only ratio, or its ratios by name, the farthest from its target first."""
    if len(ratios) == 1:
        return ratios[0].value
    return {ratio.name: ratio.value for ratio in worst_first(ratios)}
