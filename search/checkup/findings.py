"""List what a user should know of single files and clips, the gravest first.

`checkup` puts the list into its report.
"""

from collections.abc import Mapping
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.manifest import Manifest
from search.checkup.report import (
    COPY,
    IGNORED,
    KINDS,
    NEAR_COPY,
    NOTE,
    SAME_PERSON,
    SUBJECT,
    Finding,
    Found,
    Report,
    SamePersonReport,
)
from search.request.data import faceless_are_missing
from search.screen import findings_file, sides
from search.screen.findings_file import LEFT_OUT, SKIPPED

_WITHOUT_FACE = {  # what becomes of a clip that can be used all the same, by --missing
    "fallback": "no face found: the whole picture is shown, and for landmarks it counts as wrong",
    "wrong": "no face found: it counts as wrong for all that needs the face",
}


def findings(manifest: Manifest, found: Found) -> tuple[Finding, ...]:
    """List all findings, the gravest first; of clips that may show one person, the likeliest first.

    A clip whose file is damaged and which shows no face is listed for its file. If the file looks
    damaged and the clip shows faces all the same, it gets a note.
    """
    damaged, prepared = found.damaged, found.prepared
    skipped = prepared.skipped if prepared else damaged
    notes = [(clip, note) for clip, each in found.headers.items() for note in each.notes]
    if not faceless_are_missing(found.missing, given=found.given_faces):
        reason, unreadable = _WITHOUT_FACE[found.missing], found.unreadable
        notes += [(clip, reason) for clip in skipped if clip not in unreadable]
        skipped = unreadable
    contradicted = [(clip, fault) for clip, fault in damaged.items() if clip not in skipped]
    lists = {
        LEFT_OUT: [
            *manifest.left_out,
            *((clip, damaged[clip]) for clip in skipped if clip in damaged),
        ],
        SKIPPED: [(clip, why) for clip, why in skipped.items() if clip not in damaged],
        NEAR_COPY: found.near.reasons.items() if found.near else (),
        SUBJECT: _similar_subjects(manifest),
        SAME_PERSON: _same_people(manifest, found.same_person) if found.same_person else (),
        COPY: manifest.copies,
        IGNORED: manifest.ignored,
        NOTE: [*notes, *contradicted, *(prepared.notes.items() if prepared else ())],
    }
    return tuple(
        Finding(path=path, kind=kind, reason=reason)
        for kind in KINDS
        for path, reason in (lists[kind] if kind == SAME_PERSON else sorted(lists[kind]))
    )


def _similar_subjects(manifest: Manifest) -> list[tuple[str, str]]:
    """Name subjects with nearly the same name, at the first clip of the second of them."""
    first = {clip.subject: clip.clip for clip in reversed(manifest.clips)}
    groups = subjects.similar_names(manifest.subjects)
    return [(first[names[1]], f"subjects {sides.same_person(names)}") for names in groups]


def _same_people(manifest: Manifest, found: SamePersonReport) -> list[tuple[str, str]]:
    """Name the clips that may show one person."""
    subject = {clip.clip: clip.subject for clip in manifest.clips}
    return [
        (
            pair.second,
            f"subject '{subject[pair.second]}' may be '{subject[pair.first]}' of {pair.first}: "
            f"distance {pair.distance:.3f}",
        )
        for pair in found.likeliest
    ]


def listed(report: Report, places: Mapping[str, str], chosen: Path | None) -> Path | None:
    """Write all findings of a report into a file, and name it; None if there are none.

    `places` says where a table lists a path. The user may have `chosen` the file.
    """
    if not report.findings and chosen is None:
        return None
    rows = [
        findings_file.Row(
            kind=each.kind, path=each.path, place=places.get(each.path, ""), reason=each.reason
        )
        for each in report.findings
    ]
    return findings_file.write(report.dataset, rows, chosen)
