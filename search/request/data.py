"""From a dataset's name to what all trials share: the clips, their labels, and the split."""

from typing import TYPE_CHECKING

from fer_core.config import ONE_FRAME, ClipConfig
from fer_core.data import datasets, protocol
from fer_core.data.labels import label
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.errors import DataError
from fer_core.faces.landmarks import best_engine
from search.request.settings import SEALED, SYNTHETIC, Settings

if TYPE_CHECKING:
    from search.screen.progress import Progress
    from search.study.folder import Record


def prepare(settings: Settings, progress: "Progress", past: "Record | None") -> StudyData:
    """Load the data and split them, or check that they still are what the study began with.

    Raises: DataError where they cannot be used, have changed, or the split leaks.
    """
    manifest = _manifest(settings, progress)
    for path, reason in manifest.left_out:
        progress.print(f"left out {path}: {reason}")
    if manifest.left_out:
        progress.print(f"{len(manifest.left_out)} left out, {len(manifest.clips)} clips are in")
    if past is not None and manifest.sha256 != past.data_sha256:
        raise DataError(
            f"the clips below {settings.data_root} have changed since study {past.study} began; "
            "start a new study."
        )
    task = settings.task or default_task(manifest)
    split = protocol.from_json(past.protocol) if past else _split(manifest, task, settings)
    protocol.check(split, manifest)
    return StudyData(
        manifest=manifest,
        protocol=split,
        task=task,
        seed=settings.seed,
        store=settings.store,
        weights=settings.weights,
        landmarks=landmarks_of(manifest, settings.landmarks),
        surface=str(settings.surface) if settings.surface else None,
        clip=fixed_clip(manifest, settings),
        max_missing=settings.max_missing,
    )


def checked_split(manifest: Manifest, settings: Settings) -> Protocol:
    """Split the data as a new study would.

    Raises: DataError, of which ProtocolError is one, where they cannot be split.
    """
    made = _split(manifest, settings.task or default_task(manifest), settings)
    protocol.check(made, manifest)
    return made


def default_task(manifest: Manifest) -> str:
    """Choose the hidden task where every clip says whether it is genuine, else emotion."""
    known = all(clip.authenticity is not None for clip in manifest.clips)
    return "hidden" if known else "emotion"


def fixed_clip(manifest: Manifest, settings: Settings) -> ClipConfig | None:
    """Give the frames that are read whatever a space draws; None where it is free to draw."""
    if manifest.stills:
        return ONE_FRAME
    published = datasets.DATASETS[settings.dataset].protocols.get(settings.protocol)
    return published.clip if published else None


def landmarks_of(manifest: Manifest, chosen: str) -> str:
    """Choose where the 68 points come from.

    Raises: DataError where the data's are asked for and a clip has none.
    """
    without = next((clip.clip for clip in manifest.clips if clip.landmarks is None), None)
    if chosen == "data" and without is not None:
        raise DataError(f"clip '{without}' comes without landmarks; use --landmarks dlib.")
    if chosen == "auto":
        return "data" if without is None else best_engine()
    return chosen


def _manifest(settings: Settings, progress: "Progress") -> Manifest:
    if settings.dataset == SYNTHETIC and settings.renders:
        from fer_core.synthetic import dataset  # the renderer, which no other dataset needs

        dataset.ensure(settings.data_root, subjects=settings.subjects, progress=progress.rendered)
    return datasets.load(settings.dataset, settings.data_root)


def split(manifest: Manifest, task: str, seed: int) -> Protocol:
    """Seal a share of the subjects, and make folds of the others.

    Raises: ProtocolError where there are too few.
    """
    labels = [label(task, clip.emotion, clip.authenticity) for clip in manifest.clips]
    subjects = [clip.subject for clip in manifest.clips]
    return protocol.sealed_and_folds(subjects, labels, seed=seed)


def _split(manifest: Manifest, task: str, settings: Settings) -> Protocol:
    if settings.protocol == SEALED:
        return split(manifest, task, settings.seed)
    return datasets.DATASETS[settings.dataset].protocols[settings.protocol].split(manifest)
