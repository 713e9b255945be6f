"""What a run will do, compute and take, before it starts: no Ray, and nothing rendered or kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from fer_core.config import ClipConfig, Config, PretrainConfig
from fer_core.data.labels import AUTHENTICITIES, EMOTIONS, class_names, label
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import FOLDS
from fer_core.trial.baselines import BASELINES
from search.planning.duration import Duration
from search.request import data, presets
from search.request.settings import Settings, check_weights_named, trials_of
from search.study import space as spaces
from search.study.options import SYNTHETIC
from search.study.space import Space

if TYPE_CHECKING:  # torch takes seconds, which who only wants a type has not
    from fer_core.features.storing_rule import Choice

_CLIPS_PER_SUBJECT = 12  # of the synthetic dataset: 6 emotions, genuine and acted


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What trials share: frames of a window, and a backbone up to where it is frozen."""

    view: str
    clip: ClipConfig
    backbone: str | None = None  # None: the views alone, for trials that train the whole backbone
    weights: str | None = None
    freeze_depth: int = 0
    width: float = 1.0
    crop_pixels: int | None = None
    blocks: int = 0  # of the backbone
    pretrain: PretrainConfig | None = None
    trials: int = 0  # that share it
    backbone_images: int = 0  # to compute once, if the store has none
    stored: bool = True  # or computed again for each batch
    why: str = ""  # it is stored or not


@dataclass(frozen=True, kw_only=True)
class Plan:
    """At most this is computed; what the store holds already is not."""

    trials: int
    baselines: tuple[str, ...]  # of each task; not counted in what follows
    families: dict[str, int]  # family: trials
    clips: int
    rendered: bool
    view_images: int
    backbone_images: int
    views: tuple[Prefix, ...]
    features: tuple[Prefix, ...]
    outlook: Duration


def make(space: Space, settings: Settings, *, cpus: float = 1.0) -> Plan:
    """Draw and validate as many configs as the study will have, and count what they share.

    From the eleventh trial on a study draws by its results, so that these counts are a forecast;
    unless its space enumerates its points, which are all there is.
    """
    options = settings.options
    space = presets.runnable(space, options)
    check_weights_named(spaces.check(space, seed=options.seed), settings)
    points = len(space.points)
    trials = trials_of(settings, points)
    configs = [config for _, config in spaces.draws(space, seed=options.seed, count=trials)]
    data_ = _data(settings)
    if data_.clip:
        configs = [replace(config, clip=data_.clip) for config in configs]
    views = _views(configs)
    raced = options.pruning and not points
    features, foreseen = _foreseen(configs, data_, settings, raced=raced, cpus=cpus)
    return Plan(
        trials=len(configs),
        baselines=tuple(BASELINES),
        families=dict(sorted(Counter(config.family for config in configs).items())),
        clips=data_.clips,
        rendered=data_.manifest is not None,
        view_images=sum(data_.clips * prefix.clip.frames for prefix in views),
        backbone_images=sum(prefix.backbone_images for prefix in features),
        views=views,
        features=features,
        outlook=foreseen,
    )


def text(plan: Plan) -> str:
    """Say a plan to people."""
    there = "" if plan.rendered else " (not rendered yet)"
    families = ", ".join(f"{count} {family}" for family, count in plan.families.items())
    lines = [
        f"trials    {plan.trials}: {families}",
        f"baselines {', '.join(plan.baselines)}: for each task, and not counted below",
        f"clips     {plan.clips}{there}",
        "faces     every frame is decoded and searched once, for all trials and studies",
        f"views     {plan.view_images:,} images at most, for {len(plan.views)} kinds",
        *(f"  {prefix.view} {_window(prefix.clip)}" for prefix in plan.views),
        f"backbones {plan.backbone_images:,} images at most, for {len(plan.features)} prefixes",
        *(f"  {_text(prefix)}" for prefix in plan.features),
        *([f"memory    {plan.outlook.gpu_share_advice}"] if plan.outlook.gpu_share_advice else []),
        f"time      {plan.outlook}",
        "Images are counted as if the store held none. The time leaves out rendering, views,",
        "baselines and the opening of winners. Nothing was started.",
    ]
    return "\n".join(lines)


def _views(configs: Sequence[Config]) -> tuple[Prefix, ...]:
    counts = Counter(Prefix(view=view, clip=clip) for view, clip in _shown(configs))
    return _ordered([replace(prefix, trials=trials) for prefix, trials in counts.items()])


def _shown(configs: Sequence[Config]) -> Iterator[tuple[str, ClipConfig]]:
    """Give each view that a trial reads, once."""
    for config in configs:
        yield from {(stream.view, config.clip) for stream in config.images}


def _foreseen(
    configs: Sequence[Config], data_: "_Data", settings: Settings, *, raced: bool, cpus: float
) -> tuple[tuple[Prefix, ...], Duration]:
    """Choose what is stored of the frozen prefixes, and predict the study."""
    from search.planning import costs  # imports torch

    sharing = costs.sharing(configs)
    machine = costs.measured(settings.store)
    chosen = costs.choices(
        sharing, machine, clips=data_.clips, folds=data_.folds, store=settings.store
    )
    seconds = costs.feature_seconds(chosen, machine, clips=data_.clips)
    if data_.manifest is not None:
        engine = data.landmarks_of(data_.manifest, settings.options.landmarks)
        seconds += costs.face_seconds(data_.manifest, engine, settings.store)
    foreseen = costs.study(
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
        _prefix(choice, clip, data_, len(sharing[stream, clip]))
        for (stream, clip), choice in chosen.items()
    ]
    return _ordered(prefixes), foreseen


def _prefix(choice: "Choice", clip: ClipConfig, data_: "_Data", trials: int) -> Prefix:
    stream = choice.stream
    made = data_.folds if stream.weights == "fitted" else 1  # another one in each fold
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
        backbone_images=data_.clips * clip.frames * made if choice.store else 0,
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

    manifest: Manifest | None  # None: not rendered yet
    clips: int
    folds: int
    classes: tuple[str, ...]
    clip: ClipConfig | None  # where the frames are fixed, whatever is drawn


def _data(settings: Settings) -> _Data:
    options = settings.options
    if options.dataset == SYNTHETIC and not settings.data_root.is_dir():
        pairs = [(emotion, kind) for emotion in EMOTIONS for kind in AUTHENTICITIES]
        return _Data(
            manifest=None,
            clips=settings.subjects * _CLIPS_PER_SUBJECT,
            folds=FOLDS,
            classes=class_names([label(options.task or "hidden", *pair) for pair in pairs]),
            clip=None,
        )
    from fer_core.data import datasets  # only where there is something to count

    manifest = datasets.load(options.dataset, settings.data_root)
    split = data.checked_split(manifest, options)
    task = options.task or data.default_task(manifest)
    return _Data(
        manifest=manifest,
        clips=len(manifest.clips),
        folds=len(split.folds),
        classes=class_names([label(task, c.emotion, c.authenticity) for c in manifest.clips]),
        clip=data.fixed_clip(manifest, options),
    )


def _text(prefix: Prefix) -> str:
    where = f"{prefix.view} {_window(prefix.clip)}, {prefix.weights}"
    images = f"{prefix.backbone_images:,} images" if prefix.stored else "nothing stored"
    trials = "1 trial" if prefix.trials == 1 else f"{prefix.trials} trials"
    return f"{prefix.why}; {where}: {images} for {trials}"


def _window(clip: ClipConfig) -> str:
    match clip.sampling:
        case "window":
            where = f"{clip.start:.0%}-{clip.end:.0%}"
        case "stride":
            where = f"every {clip.stride}. from {clip.start:.0%} on"
        case "last" | "middle":
            where = f"{clip.sampling}, {clip.stride} apart"
        case _:
            where = clip.sampling
    return f"{where}, {clip.frames} frames"
