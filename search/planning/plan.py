"""Plan a study: what it will train, compute and take, known before it starts.

`search.run --dry-run` calls `make` and prints the plan with `text`, or as JSON with `--json`. No
dataset is rendered, Ray is not started, and no result is kept.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from fer_core.config import ClipConfig, Config, PretrainConfig
from fer_core.data.labels import AUTHENTICITIES, EMOTIONS, class_names, label
from fer_core.data.protocol import FOLDS
from fer_core.data.study_data import StudyData
from fer_core.errors import ProtocolError
from fer_core.trial.baselines import BASELINES
from search.drawing import space as spaces
from search.drawing.draws import foreseen
from search.drawing.space import Space
from search.drawing.suited import suited
from search.planning.duration import Duration
from search.request import data, presets
from search.request.draws import draws_of, families_of
from search.request.settings import Settings, check_weights_named, trials_of
from search.screen import unused_files
from search.study.options import SYNTHETIC

if TYPE_CHECKING:  # importing torch takes seconds
    from fer_core.features.storing_rule import Choice

_FOUND = "every frame is decoded and searched once, for all trials and studies"
_GIVEN = "they are given: a picture is shown as it is, and searched only if landmarks are read"
_CLIPS_PER_SUBJECT = 12  # in the synthetic dataset: 6 emotions, each genuine and acted


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What some trials share: a view of certain frames, or the output of a frozen backbone on it.

    The fields are keys that `--json` prints.
    """

    view: str
    clip: ClipConfig  # which frames of a clip
    backbone: str | None = None  # None: the views themselves; the fields below say nothing then
    weights: str | None = None
    freeze_depth: int = 0
    width: float = 1.0
    crop_pixels: int | None = None
    blocks: int = 0  # blocks of the whole backbone, of which `freeze_depth` are frozen
    pretrain: PretrainConfig | None = None
    trials: int = 0  # trials that share it
    backbone_images: int = 0  # images to run through the backbone once, if the store is empty
    stored: bool = True  # False: computed for each batch
    why: str = ""  # why it is stored or not


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study computes at most: whatever the store has already is not computed again.

    The fields are keys that `--json` prints.
    """

    trials: int
    baselines: tuple[str, ...]  # they run once per task, and are not counted below
    families: dict[str, int]  # family: trials
    outer_folds: int  # of a nested study: in each runs a search like the one that is counted here
    clips: int
    given_faces: bool  # whether each picture is a face that was cut out already
    about_data: tuple[str, ...]  # how the dataset was understood, and what is left out
    rendered: bool  # False: the synthetic dataset does not exist yet
    view_images: int
    backbone_images: int
    views: tuple[Prefix, ...]
    features: tuple[Prefix, ...]
    outlook: Duration


def make(space: Space, settings: Settings, *, cpus: float = 1.0) -> Plan:
    """Draw and validate as many configs as the study will have, and count what they share.

    The counts are a forecast, because a study chooses its configs by earlier results from the
    eleventh trial on. They are exact for a space that lists its points. `cpus` is what each trial
    takes of this machine.
    """
    options = settings.options
    space, data_ = presets.runnable(space, options), _data(settings)
    check_weights_named(spaces.check(space, seed=options.seed), settings)
    points = len(space.points)
    trials = trials_of(settings, points)
    if data_.study_data is not None:
        space = suited(space, data_.study_data)
    families = families_of(space, options, trials=trials)
    draws = draws_of(space, options, data_.clip, families)
    configs = foreseen(space, draws, count=trials)
    views = _view_prefixes(configs)
    raced = options.pruning and not points
    features, duration = _features_and_duration(configs, data_, settings, raced=raced, cpus=cpus)
    return Plan(
        trials=len(configs),
        baselines=tuple(BASELINES),
        families=dict(sorted(Counter(config.family for config in configs).items())),
        outer_folds=data_.folds if options.nested else 0,
        clips=data_.clips,
        given_faces=data_.study_data is not None and data_.study_data.given_faces,
        about_data=data_.about,
        rendered=data_.study_data is not None,
        view_images=sum(data_.clips * prefix.clip.frames for prefix in views),
        backbone_images=sum(prefix.backbone_images for prefix in features),
        views=views,
        features=features,
        outlook=_with_outer(duration, data_.folds) if options.nested else duration,
    )


def _with_outer(duration: Duration, folds: int) -> Duration:
    """Add the searches inside the outer folds, each on fewer folds; they make no stage anew."""
    times = folds * min(FOLDS, folds - 1) / folds
    return replace(
        duration,
        seconds=duration.seconds + times * (duration.seconds - duration.stage_seconds),
        seconds_p90=duration.seconds_p90 + times * (duration.seconds_p90 - duration.stage_seconds),
    )


def text(plan: Plan) -> str:
    """Write a plan for people, one statement a line."""
    families = ", ".join(f"{count} {family}" for family, count in plan.families.items())
    advice = plan.outlook.gpu_share_advice
    lines = [
        f"trials     {plan.trials}: {families}",
        *([_nested_line(plan)] if plan.outer_folds else []),
        f"baselines  {', '.join(plan.baselines)}: run once per task, and not counted below",
        f"clips      {plan.clips}{'' if plan.rendered else ' (still to be rendered)'}",
        *(f"           {line}" for line in plan.about_data),
        f"faces      {_GIVEN if plan.given_faces else _FOUND}",
        f"views      at most {plan.view_images:,} images of faces are cut out, namely",
        *(f"  {prefix.view}, {_frames(prefix.clip)}" for prefix in plan.views),
        f"backbones  at most {plan.backbone_images:,} images pass frozen backbones for the store",
        *(f"  {_text(prefix)}" for prefix in plan.features),
        *([f"memory     {advice}"] if advice else []),
        f"time       {plan.outlook}",
        "Images that the store has already are not computed again. The time leaves out rendering,",
        "views, baselines and the sealed test of the winners. Nothing was started.",
    ]
    return "\n".join(lines)


def _nested_line(plan: Plan) -> str:
    return (
        f"nested     {plan.outer_folds} more searches of {plan.trials} trials, one inside each "
        "outer fold; the time counts them"
    )


def _view_prefixes(configs: Sequence[Config]) -> tuple[Prefix, ...]:
    counts = Counter(Prefix(view=view, clip=clip) for view, clip in _shown(configs))
    return _ordered([replace(prefix, trials=trials) for prefix, trials in counts.items()])


def _shown(configs: Sequence[Config]) -> Iterator[tuple[str, ClipConfig]]:
    """Yield each view that a trial reads, once per trial."""
    for config in configs:
        yield from {(stream.view, config.clip) for stream in config.images}


def _features_and_duration(
    configs: Sequence[Config], data_: "_Data", settings: Settings, *, raced: bool, cpus: float
) -> tuple[tuple[Prefix, ...], Duration]:
    """Decide which frozen parts are stored, and predict how long the study takes."""
    from search.planning import costs  # imports torch

    groups = costs.by_frozen_part(configs)
    machine = costs.machine_speed(settings.store)
    choices = costs.storing_choices(
        groups, machine, clips=data_.clips, folds=data_.folds, store=settings.store
    )
    seconds = costs.feature_seconds(choices, machine, clips=data_.clips)
    known = data_.study_data
    if known and not (known.given_faces and not any(c.reads_landmarks for c in configs)):
        seconds += costs.missing_face_seconds(known.manifest, known.landmarks, settings.store)
    duration = costs.study_duration(
        configs,
        machine,
        classes=data_.classes,
        clips=data_.clips,
        folds=data_.folds,
        raced=raced,
        stage_seconds=seconds,
        cpus=cpus,
    )
    prefixes = [
        _prefix(choice, clip, data_, len(groups[stream, clip]))
        for (stream, clip), choice in choices.items()
    ]
    return _ordered(prefixes), duration


def _prefix(choice: "Choice", clip: ClipConfig, data_: "_Data", trials: int) -> Prefix:
    stream = choice.stream
    times = data_.folds if stream.weights == "fitted" else 1  # each fold fits its own backbone
    return Prefix(
        view=stream.view,
        clip=clip,
        backbone=stream.backbone,
        weights=stream.weights,
        freeze_depth=stream.freeze_depth,
        width=stream.width,
        crop_pixels=stream.crop_pixels,
        blocks=stream.blocks,
        pretrain=stream.pretrain,
        trials=trials,
        backbone_images=data_.clips * clip.frames * times if choice.store else 0,
        stored=choice.store,
        why=choice.why,
    )


def _ordered(found: Sequence[Prefix]) -> tuple[Prefix, ...]:
    return tuple(
        sorted(found, key=lambda p: (str(p.backbone), p.freeze_depth, p.view, astuple(p.clip)))
    )


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What is known of the data before anything is rendered."""

    study_data: StudyData | None  # None: the synthetic dataset, not rendered yet
    clips: int
    folds: int
    classes: tuple[str, ...]

    @property
    def about(self) -> tuple[str, ...]:
        """How the data were understood, and what is left out; nothing if they are still to come."""
        return tuple(unused_files.lines(self.study_data.manifest)) if self.study_data else ()

    @property
    def clip(self) -> ClipConfig | None:
        """The frames that the data fix for every trial; None: a space chooses them."""
        return self.study_data.clip if self.study_data else None


def _data(settings: Settings) -> _Data:
    options = settings.options
    if options.dataset == SYNTHETIC and not settings.data_root.is_dir():
        pairs = [(emotion, kind) for emotion in EMOTIONS for kind in AUTHENTICITIES]
        return _Data(
            study_data=None,
            clips=settings.subjects * _CLIPS_PER_SUBJECT,
            folds=FOLDS,
            classes=class_names([label(options.task or "hidden", *pair) for pair in pairs]),
        )
    manifest = data.load(settings)
    try:
        split = data.checked_split(manifest, options)
    except ProtocolError as error:
        raise ProtocolError(" ".join([str(error), *manifest.remarks])) from error
    study_data = data.of_split(manifest, split, settings)
    return _Data(
        study_data=study_data,
        clips=len(manifest.clips),
        folds=len(study_data.protocol.folds),
        classes=study_data.classes,
    )


def _text(prefix: Prefix) -> str:
    trials = "1 trial" if prefix.trials == 1 else f"{prefix.trials} trials"
    images = f"{prefix.backbone_images:,} images" if prefix.stored else "no images stored"
    read = f"{prefix.view}, {_frames(prefix.clip)}; weights {prefix.weights!r}"
    return f"{prefix.why} ({read}; {images}, for {trials})"


def _frames(clip: ClipConfig) -> str:
    """Say which frames of a clip are read."""
    frames = "1 frame" if clip.frames == 1 else f"{clip.frames} frames"
    apart = "" if clip.stride == 1 or clip.frames == 1 else f", {clip.stride} frames apart"
    match clip.sampling:
        case "window":
            return f"{frames} from {clip.start:.0%} to {clip.end:.0%} of a clip"
        case "stride":
            return f"{frames} from {clip.start:.0%} of a clip on{apart}"
        case "last":
            return f"the last {frames} of a clip{apart}"
        case "middle":
            return f"{frames} around the middle of a clip{apart}"
        case "uniform":
            return f"{frames} spread over a clip"
        case _:  # onset_apex
            return f"{frames} from the onset to the apex of an expression"
