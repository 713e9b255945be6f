"""Load the data of a study: the dataset's clips, their labels, and the split of their subjects.

A new study splits its subjects here; a resumed one checks that the clips are those that it began
with. `search.session` and `search.replay` call `prepare`; `--dry-run` and the checkup use the
single steps.
"""

from typing import TYPE_CHECKING

from fer_core.config import ONE_FRAME, ClipConfig
from fer_core.data import datasets, protocol
from fer_core.data.dataset import Published
from fer_core.data.labels import label
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.reading import as_before
from fer_core.data.study_data import MISSING, Missing, StudyData
from fer_core.errors import DataError, FerError
from fer_core.faces.landmarks import best_engine, closer
from search.request import record
from search.request.settings import Settings
from search.screen import findings_file, sides, unused_files
from search.study.options import SYNTHETIC, Options

if TYPE_CHECKING:
    from search.screen.progress import Progress
    from search.study.folder import Record


def prepare(settings: Settings, progress: "Progress", past: "Record | None") -> StudyData:
    """Load the data and split them; check them against `past`, the record of a resumed study.

    Raises: DataError if they cannot be used or have changed, or if the split leaks.
    """
    manifest = _manifest(settings, progress)
    progress.print_all(unused_files.lines(manifest))
    if manifest.left_out:
        file = findings_file.write(manifest.dataset, findings_file.left_out(manifest))
        progress.print(f"all that is left out is listed in {file}")
    if past is not None:
        if manifest.sha256 != past.data_sha256:
            manifest = as_before(manifest)  # an earlier version may have begun the study
        _check_unchanged(settings, manifest, past)
        split = protocol.from_json(past.protocol)
        protocol.check(split, manifest)
        return of_split(manifest, split, settings)
    study_data = of_split(manifest, checked_split(manifest, settings.options), settings)
    about_split = sides.lines(study_data.protocol, manifest, study_data.task)
    progress.print_all((*about_split, *sides.about_subjects(manifest)))
    return study_data


def _check_unchanged(settings: Settings, manifest: Manifest, past: "Record") -> None:
    """Refuse clips that are not those with which a study began."""
    if manifest.sha256 == past.data_sha256:
        return
    how = f": {record.difference(settings.folder, manifest)}" if settings.folder else ""
    raise DataError(
        f"the clips below {settings.data_root} have changed since study {past.study} began{how}; "
        "give the folder that holds those clips with --data-root, or start a new study."
    )


def of_split(manifest: Manifest, split: Protocol, settings: Settings) -> StudyData:
    """Join the clips and their split with what the options say of them.

    Raises: DataError if the landmarks that are asked for are missing.
    """
    options = settings.options
    given = given_faces(manifest, options.faces)
    return StudyData(
        manifest=manifest,
        protocol=split,
        task=options.task or default_task(manifest),
        seed=options.seed,
        store=settings.store,
        weights=options.weights,
        landmarks=landmarks_of(manifest, options.landmarks, given=given),
        surface=options.surface,
        clip=fixed_clip(manifest, options),
        given_faces=given,
        missing=missing_of(options, given=given),
        max_missing=options.max_missing,
    )


def checked_split(manifest: Manifest, options: Options) -> Protocol:
    """Split the data as a new study would.

    Raises: DataError, or its kind ProtocolError, if they cannot be split; FerError if clips are to
        be left out of a published protocol that scores all of them.
    """
    published = _published(options)
    if options.missing == "leave-out" and published is not None and published.scores_all:
        raise FerError(
            f"--missing is leave-out; protocol '{options.protocol_name}' of {options.dataset} "
            "scores every clip, so it must be fallback or wrong."
        )
    split = _split(manifest, options.task or default_task(manifest), options)
    protocol.check(split, manifest)
    return split


def default_task(manifest: Manifest) -> str:
    """Choose the task "hidden" if it is known of every clip whether it is genuine, else "emotion".

    In the task "hidden" a class is an emotion and whether it is felt or acted.
    """
    known = all(clip.authenticity is not None for clip in manifest.clips)
    return "hidden" if known else "emotion"


def fixed_clip(manifest: Manifest, options: Options) -> ClipConfig | None:
    """Return the frames that every trial reads; None if the space chooses them.

    A photograph has one frame, and a published protocol may prescribe the frames.
    """
    if manifest.stills:
        return ONE_FRAME
    published = _published(options)
    return published.clip if published else None


def given_faces(manifest: Manifest, chosen: str) -> bool:
    """Say whether each picture is a face that was cut out; `chosen` is the option --faces."""
    if chosen == "auto":
        of_copy = datasets.DATASETS[manifest.dataset].given_faces
        return of_copy is not None and of_copy(manifest)
    return chosen == "given"


def missing_of(options: Options, *, given: bool) -> Missing:
    """Choose what becomes of a clip without a face; `given` says whether faces are given."""
    published = _published(options)
    scores_all = published is not None and published.scores_all
    usual: Missing = "fallback" if given else "wrong" if scores_all else "leave-out"
    return next((name for name in MISSING if name == options.missing), usual)


def faceless_are_missing(missing: Missing, *, given: bool) -> bool:
    """Say whether clips without a face are missing clips, whose share --max-missing limits.

    They are if they are left out. They are, too, if they count as wrong and no face is given: no
    trial would see anything of them.
    """
    return missing == "leave-out" or (missing == "wrong" and not given)


def landmarks_of(manifest: Manifest, chosen: str, *, given: bool = False) -> str:
    """Choose where the 68 landmarks come from: "data", or an engine that finds them.

    An engine looks more closely at `given` faces, which may be small.

    Raises: DataError if the dataset's own are asked for and a clip has none.
    """
    without = next((clip.clip for clip in manifest.clips if clip.landmarks is None), None)
    if chosen == "data" and without is not None:
        raise DataError(f"clip '{without}' comes without landmarks; use --landmarks dlib.")
    if chosen == "auto":
        chosen = "data" if without is None else best_engine()
    return closer(chosen) if given else chosen


def split_subjects(manifest: Manifest, task: str, seed: int, *, nested: bool = False) -> Protocol:
    """Seal a share of the subjects and make folds of the others; or `nested`, folds of all.

    Raises: ProtocolError if there are too few subjects.
    """
    labels = [label(task, clip.emotion, clip.authenticity) for clip in manifest.clips]
    subjects = [clip.subject for clip in manifest.clips]
    split = protocol.all_in_folds if nested else protocol.sealed_and_folds
    return split(subjects, labels, seed=seed)


def _manifest(settings: Settings, progress: "Progress") -> Manifest:
    dataset = settings.options.dataset
    if dataset == SYNTHETIC and settings.renders:
        from fer_core.synthetic import dataset as renderer  # no other dataset needs it

        renderer.ensure(settings.data_root, subjects=settings.subjects, progress=progress.rendered)
    with findings_file.kept(dataset):
        return load(settings)


def load(settings: Settings) -> Manifest:
    """Read the dataset of a study as its options say."""
    options = settings.options
    return datasets.load(
        options.dataset,
        settings.data_root,
        subject_pattern=options.subject_pattern,
        columns=options.columns,
        subject_table=options.subject_table,
    )


def _split(manifest: Manifest, task: str, options: Options) -> Protocol:
    published = _published(options)
    if published is None:
        split = split_subjects(manifest, task, options.split_seed, nested=options.nested)
    else:
        split = published.split(manifest)
    if options.nested:
        protocol.outer_splits(split)  # refuses a protocol that cannot be nested
    if options.repeats > 1 and not split.sealed:
        name = f"protocol '{options.protocol_name}' of {options.dataset}"
        raise FerError(
            f"--repeats {options.repeats} refits the winners for their sealed test, and "
            f"{'a nested study' if options.nested else name} seals no subject for one; leave it "
            "out."
        )
    return split


def _published(options: Options) -> Published | None:
    """Return the published protocol that the user chose; None for the project's own."""
    return datasets.DATASETS[options.dataset].protocols.get(options.protocol_name)
