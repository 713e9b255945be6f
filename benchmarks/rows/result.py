"""What a row gives: ratios, what they came from, and what they should be."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One ratio of a row."""

    name: str
    value: float
    target: float
    came_from: str  # the two absolute figures, with their units
    at_most: bool = False  # else the target is the least
    notes: tuple[str, ...] = ()  # what was extrapolated, left out or asserted

    @property
    def share(self) -> float:
        """How much of the target is reached: 1 or more where it is met."""
        return self.target / self.value if self.at_most else self.value / self.target

    @property
    def met(self) -> bool:
        return self.share >= 1


def worst_first(ratios: Sequence[Ratio]) -> list[Ratio]:
    """Order ratios by how much of their targets they reach."""
    return sorted(ratios, key=lambda ratio: ratio.share)


def said(row: int, title: str, ratios: Sequence[Ratio]) -> str:
    """Say a row in lines."""
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
    """Give a row's ratio, or its ratios by name, the one that is farthest from its target first."""
    if len(ratios) == 1:
        return ratios[0].value
    return {ratio.name: ratio.value for ratio in worst_first(ratios)}
