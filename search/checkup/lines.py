"""Write a report of a checkup in lines, for the screen.

`search.doctor` prints them as two tables: the facts about the dataset, and the findings.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from fer_core.data.datasets import DATASETS
from fer_core.data.problems import grouped
from search.checkup.report import NearCopyCounts, Report, SamePersonReport
from search.screen.unused_files import by_suffix


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """Give the name and the text of each line of the report's upper table."""
    kinds = Counter(finding.kind for finding in report.findings)
    yield "dataset", f"{report.dataset}, {report.root}"
    yield "clips", f"{report.clips} of {report.subjects} subjects, {report.frames} frames"
    independent = "a subject is on one side only"
    if report.other_files:
        yield "other files", f"not read as clips: {by_suffix(report.other_files.items())}"
    yield "split", f"{report.split}: {report.split_because or independent}"
    yield "classes", ", ".join(f"{name} {count}" for name, count in report.classes.items())
    as_known = "as published" if DATASETS[report.dataset].totals else "none are known"
    for total in report.totals or [as_known]:
        yield "totals", total
    for split in report.protocols:
        about = f"cannot be followed: {split.unfit}" if split.unfit else split.about
        yield "protocol", f"{split.name}: {about}"
        yield from (("", side) for side in split.sides)
    yield "findings", ", ".join(f"{kind} {count}" for kind, count in kinds.items()) or "none"
    if report.near_copies:
        yield "near copies", _near_copies(report.near_copies)
    if report.same_person:
        first, *others = _same_person(report.same_person)
        yield "same person", first
        yield from (("", line) for line in others)
    if report.faces:
        counts = asdict(report.faces).items()
        yield "faces", ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts)
    if report.forecast:
        yield "preparing", str(report.forecast)


def _near_copies(counts: NearCopyCounts) -> str:
    unreadable = f", {counts.unreadable} could not be read" if counts.unreadable else ""
    return (
        f"{counts.pairs} pairs with different subjects or labels, among {counts.images} images"
        f"{unreadable} ({counts.seconds:.0f} s)"
    )


def _same_person(found: SamePersonReport) -> Iterator[str]:
    compared = f"{found.pairs} pairs of clips on different sides were compared"
    if found.threshold is None:
        yield f"{compared}; these are too few to set a threshold"
        return
    yield (
        f"{found.matches} of {found.pairs} pairs of clips on different sides are nearer than "
        f"{found.threshold:.3f} ({found.seconds:.0f} s)"
    )
    yield f"at that threshold {found.false_matches:g} of them are expected to be false"
    yield found.method
    if found.genuine_share is not None:
        yield (
            f"{found.genuine_share:.0%} of {found.genuine_pairs} pairs of clips of one subject are "
            "nearer than that"
        )


@dataclass(frozen=True)
class FindingLine:
    """A line of the lower table, and how many findings it tells of."""

    columns: tuple[str, str, str]  # kind, path, reason
    findings: int = 1


def finding_lines(report: Report) -> Iterator[FindingLine]:
    """Give the findings, the gravest kind first; of alike ones, the first three and a count."""
    reasons = defaultdict(list)
    for finding in report.findings:
        reasons[finding.kind].append((finding.path, finding.reason))
    for kind, found in reasons.items():
        for group in grouped(found):
            said = ""
            for path, reason in group.examples:
                yield FindingLine((kind, path, "" if reason == said else reason))
                said = reason
            if more := group.count - len(group.examples):
                yield FindingLine((kind, f"and {more} more", ""), findings=more)
