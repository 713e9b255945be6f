"""What a run will do and compute, before it starts: no Ray, no torch, nothing rendered."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace

from fer_core.baselines import BASELINES
from fer_core.config import ClipConfig, Config, StreamConfig
from fer_core.protocol import FOLDS
from search import data, presets
from search import space as spaces
from search.settings import SYNTHETIC, Settings, trials_of, weights_named
from search.space import Space

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
    trials: int = 0  # that share it
    backbone_images: int = 0  # to compute once, if the store has none


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


def make(space: Space, settings: Settings) -> Plan:
    """Draw and validate as many configs as the study will have, and count what they share.

    From the eleventh trial on a study draws by its results, so that these counts are a forecast;
    unless its space enumerates its points, which are all there is.
    """
    space = presets.runnable(space, dataset=settings.dataset, weights=settings.weights)
    weights_named(spaces.check(space, seed=settings.seed), settings)
    trials = trials_of(settings, len(space.points))
    configs = [config for _, config in spaces.draws(space, seed=settings.seed, count=trials)]
    clips, rendered, fixed = _clips(settings)
    if fixed:
        configs = [replace(config, clip=fixed) for config in configs]
    views = _views(configs)
    features = _features(configs, clips)
    return Plan(
        trials=len(configs),
        baselines=tuple(BASELINES),
        families=dict(sorted(Counter(config.family for config in configs).items())),
        clips=clips,
        rendered=rendered,
        view_images=sum(clips * prefix.clip.frames for prefix in views),
        backbone_images=sum(prefix.backbone_images for prefix in features),
        views=views,
        features=features,
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
        *(f"  {_said(prefix)}" for prefix in plan.features),
        "The store's content is not counted. Nothing was started.",
    ]
    return "\n".join(lines)


def _views(configs: Sequence[Config]) -> tuple[Prefix, ...]:
    return _counted(Counter(Prefix(view=view, clip=clip) for view, clip in _shown(configs)))


def _shown(configs: Sequence[Config]) -> Iterator[tuple[str, ClipConfig]]:
    """Give each view that a trial reads, once."""
    for config in configs:
        yield from {(stream.view, config.clip) for stream in config.images}


def _features(configs: Sequence[Config], clips: int) -> tuple[Prefix, ...]:
    """Give the frozen prefixes; pooling, PCA and all that is trained come after them.

    Of augmented images nothing is stored. A backbone that is fitted is another one in each fold.
    """
    counts: Counter[Prefix] = Counter()
    for config in configs:
        stored = [s for s in config.images if s.freeze_depth and config.augment is None]
        counts.update({_prefix(stream, config.clip, clips) for stream in stored})
    return _counted(counts)


def _prefix(stream: StreamConfig, clip: ClipConfig, clips: int) -> Prefix:
    made = FOLDS if stream.weights == "fitted" else 1
    return Prefix(
        view=stream.view,
        clip=clip,
        backbone=stream.backbone,
        weights=stream.weights,
        freeze_depth=stream.freeze_depth,
        width=stream.width,
        crop_pixels=stream.crop_pixels,
        backbone_images=clips * clip.frames * made,
    )


def _counted(counts: Counter[Prefix]) -> tuple[Prefix, ...]:
    found = [replace(prefix, trials=trials) for prefix, trials in counts.items()]
    return tuple(
        sorted(found, key=lambda p: (str(p.backbone), p.freeze_depth, p.view, astuple(p.clip)))
    )


def _clips(settings: Settings) -> tuple[int, bool, ClipConfig | None]:
    """Count the clips, say whether they are there, and which frames are read whatever is drawn."""
    if settings.dataset == SYNTHETIC and not settings.data_root.is_dir():
        return settings.subjects * _CLIPS_PER_SUBJECT, False, None
    from fer_core import datasets  # only where there is something to count

    manifest = datasets.load(settings.dataset, settings.data_root)
    data.check_split(manifest, settings)
    return len(manifest.clips), True, data.fixed_clip(manifest, settings)


def _said(prefix: Prefix) -> str:
    layers = f"{prefix.backbone} ({prefix.weights}) frozen to block {prefix.freeze_depth}"
    window = f"{prefix.view} {_window(prefix.clip)}"
    return f"{layers}, {window}: {prefix.backbone_images:,} images for {prefix.trials} trials"


def _window(clip: ClipConfig) -> str:
    match clip.sampling:
        case "window":
            where = f"{clip.start:.0%}-{clip.end:.0%}"
        case "stride":
            where = f"every {clip.stride}. from {clip.start:.0%} on"
        case _:
            where = clip.sampling
    return f"{where}, {clip.frames} frames"
