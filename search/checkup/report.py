"""What a checkup reports: the findings about single files, and the facts about the whole dataset.

`checkup` fills in a `Report`, and `search.doctor` prints it. `--json` prints its fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fer_core.data.study_data import Missing
from fer_core.faces.file_checks import Header
from search.planning.face_seconds import Forecast
from search.request.find_faces import Prepared, divided
from search.screen.findings_file import LEFT_OUT, SKIPPED

# The kinds of findings, the gravest first. "left out": the file cannot be the clip that it should
# be. "skipped": it shows no usable face. "near copy": it is nearly the image of another subject or
# label. "subject": its subject may be another one, spelled differently. "same person": it may show
# the person of a subject on another side. "copy": it equals another file. "ignored": by the
# dataset's own rules it is no clip. "note": it is used, and something about it is odd.
NEAR_COPY, SUBJECT, SAME_PERSON, COPY = "near copy", "subject", "same person", "copy"
IGNORED, NOTE = "ignored", "note"
KINDS = (LEFT_OUT, SKIPPED, NEAR_COPY, SUBJECT, SAME_PERSON, COPY, IGNORED, NOTE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the user should know about one file or clip."""

    path: str  # relative to the root of the dataset
    kind: str  # one of KINDS
    reason: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """A protocol, and whether this copy of the dataset can follow it."""

    name: str
    about: str
    unfit: str | None  # why it cannot be followed; None: it can
    sides: tuple[str, ...] = ()  # who is on which side, a line each


@dataclass(frozen=True, kw_only=True)
class FaceCounts:
    """How many frames of the usable clips show a face."""

    frames: int
    found: int
    interpolated: int  # no face was found, but the frames around show one
    left_out: int  # no face


@dataclass(frozen=True, kw_only=True)
class NearCopyCounts:
    """What the search for near copies found."""

    images: int  # that were compared: photographs, and the middle frame of each video
    unreadable: int  # that could not be read
    pairs: int  # nearly equal, with different subjects or labels
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two clips with different subjects that may show one person."""

    first: str  # clip
    second: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class SamePersonReport:
    """What the comparison of faces found."""

    clips: int  # that show a face
    pairs: int  # of clips with different subjects on different sides
    false_matches: float  # as many were accepted
    threshold: float | None  # None: too few pairs to set one
    method: str  # how the threshold follows from the number of false matches
    matches: int  # pairs of clips below the threshold
    genuine_pairs: int  # of clips of one subject
    genuine_share: float | None  # of these, how many are below the threshold
    likeliest: tuple[Pair, ...]  # the nearest pair of clips of two subjects each, below it
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check."""

    dataset: str
    root: str
    clips: int  # labelled clips, including the skipped ones
    subjects: int
    split: str  # "subject-independent" or "by-clip"
    split_because: str | None  # why it is by-clip
    classes: dict[str, int]  # emotion: clips
    frames: int  # as many as the files say that they have
    other_files: dict[str, int]  # suffix: files below the root that are no part of any clip
    totals: tuple[str, ...]  # how this copy differs from the published releases
    protocols: tuple[Split, ...]  # the default is the first
    missing_share: float  # share of the files that should be clips and cannot be used
    max_missing: float  # the largest share with which a study may start
    findings: tuple[Finding, ...]
    near_copies: NearCopyCounts | None  # None: none were looked for
    same_person: SamePersonReport | None  # None: the faces were not compared
    faces: FaceCounts | None  # None: no faces were looked for
    forecast: Forecast | None  # time and space to find the faces; None: no clip to measure
    may_start: bool  # whether a study may start
    because: str  # why it may, or may not


@dataclass(frozen=True)
class NearCopyFindings:
    """The counts, and of each image that repeats one before it: its name and what it is."""

    counts: NearCopyCounts
    reasons: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in a dataset, part by part."""

    headers: Mapping[str, Header]  # by clip
    expected: Forecast | None
    prepared: Prepared | None  # None: no faces were looked for
    near: NearCopyFindings | None
    same_person: SamePersonReport | None
    given_faces: bool = False  # whether each picture is a face that was cut out already
    missing: Missing = "leave-out"  # what becomes of a clip without a face

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with each clip whose file is damaged, as its first bytes tell."""
        return {clip: found.fault for clip, found in self.headers.items() if found.fault}

    @property
    def unreadable(self) -> dict[str, str]:
        """Why each clip cannot be read that is damaged, or that could not be decoded."""
        _, undecodable = divided(self.prepared.skipped if self.prepared else {})
        return undecodable | self.damaged
