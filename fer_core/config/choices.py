"""The parts of a config, and the names that they may choose among. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fer_core.errors import ConfigError, unknown

Task = Literal["emotion", "authenticity", "hidden"]
TASKS: tuple[Task, ...] = ("emotion", "authenticity", "hidden")
VIEWS = ("crop", "aligned", "frontal", "frontal_soft", "frontal_conditional")
SAMPLINGS = ("window", "uniform", "stride", "last", "middle", "onset_apex")
VOLUMES = ("c3d", "c3d_study", "r3d_18", "mc3_18", "r2plus1d_18")  # read a clip's frames as one
FITTED = ("scae", "cdbn")  # fitted on the training subjects' frames, without their labels
BACKBONES: Mapping[str, int] = {  # name: blocks to cut at
    "dlib_resnet": 6,
    "vgg16": 5,
    "scae": 4,
    "cdbn": 2,
    **dict.fromkeys(VOLUMES, 5),
}
LIBRARIES = ("torchvision", "timm")  # whose networks are named as in "torchvision:resnet18"
WEIGHTS: Mapping[str, tuple[str, ...]] = {  # backbone: where its weights may come from
    "dlib_resnet": ("package", "random"),
    "vgg16": ("file", "imagenet", "random"),
    "c3d_study": ("random",),
    **dict.fromkeys(FITTED, ("fitted", "random")),
}
ANY_WEIGHTS = ("file", "random")  # of every other backbone
ENCODINGS = ("centred", "procrustes", "distances", "difference", "motion")
CHANGES = ("difference", "motion")  # of them: what has no meaning for a single photograph
POOLINGS = ("none", "avg", "max", "gem")
POINTS = ("conv", "fc1", "fc2", "logits")
JOININGS = ("concat", "sum", "product")
CELLS = ("rnn", "lstm", "gru", "convlstm")
VOTINGS = ("majority", "mean_probability", "mean_logit", "attention")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "plateau")
ORDERS = ("rgb", "bgr")


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which `frames` of a clip are read; where it has too few, frames repeat."""

    start: float = 0.5  # fraction of the clip; 50-80 % is Garcia Zapata 2018's window
    end: float = 0.8
    frames: int = 5
    # window: evenly from start to end; uniform: the middles of equal parts of the clip;
    # stride: every `stride`-th from start on; last, middle: the last ones, or those in the middle,
    # `stride` apart; onset_apex: evenly from the onset of movement to its peak, by the landmarks.
    sampling: str = "window"
    stride: int = 1  # frames from one to the next

    def active(self) -> dict[str, str | int | float]:
        """Give the fields that its sampling heeds."""
        heeded = {"window": ("start", "end"), "stride": ("start", "stride")}
        spaced = ("stride",) if self.sampling in ("last", "middle") else ()
        names = ("sampling", "frames", *heeded.get(self.sampling, spaced))
        return {name: getattr(self, name) for name in names}


ONE_FRAME = ClipConfig(start=0.0, end=1.0, frames=1)  # what is read of single photographs


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How scae and cdbn are fitted, layer by layer, before any label is seen."""

    epochs: int = 10  # of each layer
    lr: float = 1e-3
    sparsity: float = 0.05  # cdbn: the mean activation that its hidden units are pushed to


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """A view of the face, and the backbone that reads it."""

    backbone: str
    weights: str  # "package", "file", "imagenet", "fitted", "random"; never chosen silently
    blocks: int  # how many blocks of the backbone are used
    freeze_depth: int  # how many of them keep their weights, from the input on
    pooling: str = "none"  # over the positions of the last block's map
    pca_dim: int | None = None  # of stored features; None: no PCA
    view: str = "aligned"
    width: float = 1.0  # factor on every channel count; 1.0 is the published network
    crop_pixels: int | None = None  # side of the square that the backbone reads; None: its own
    mean_order: str | None = None  # vgg16 from a file: which channel 129.19 is of; None: rgb
    pretrain: PretrainConfig | None = None  # of scae and cdbn with weights "fitted"

    @property
    def is_volume(self) -> bool:
        """Whether the backbone reads a clip's frames as one."""
        return self.backbone in VOLUMES

    @property
    def frozen(self) -> bool:
        """Whether the whole backbone keeps its weights, so that its features are stored."""
        return self.freeze_depth == self.blocks

    @property
    def architecture(self) -> "StreamConfig":
        """The same backbone with nothing in it: what the shapes of its weights depend on."""
        return StreamConfig(
            backbone=self.backbone,
            weights="random",
            blocks=self.blocks,
            freeze_depth=0,
            width=self.width,
            crop_pixels=self.crop_pixels,
        )


@dataclass(frozen=True, kw_only=True)
class GeometryConfig:
    """The 68 points of each frame, encoded and standardised on the training frames."""

    # centred (the study's), procrustes, distances; since the first frame: difference; since the
    # frame before: motion
    encoding: str = "procrustes"
    hidden: int = 64  # of the layer that reads them; 0: they go on as they are
    dropout: float = 0.0
    is_volume = False


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Where streams meet, and how. Up to there each has its own cell and FC layers."""

    point: str = "conv"  # conv: before cell and head; fc1, fc2: after that FC layer; logits
    how: str = "concat"  # at logits: a linear layer on them all, or the sum or product rule


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """A recurrent cell over the frames of a clip."""

    cell: str
    hidden: int  # of each direction; for convlstm, channels
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0  # between layers


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Fully connected layers between the features and the logits."""

    fc_layers: int = 0
    fc_width: int = 128
    dropout: float = 0.0
    two_heads: bool = False  # task hidden: emotion and authenticity apart, trained together


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of the training images, the same for all frames of a clip."""

    flip: bool = True  # left for right, every other time
    shift: float = 0.0  # up to this share of the side
    zoom: float = 0.0  # up to this share, in or out
    rotate_degrees: float = 0.0
    shear_degrees: float = 0.0
    brightness: float = 0.0  # up to this share, lighter or darker


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How the trainable part is fitted."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    epochs: int = 20
    batch_clips: int = 32
    schedule: str = "cosine"
    backbone_lr: float = 1.0  # factor on lr for unfrozen blocks
    label_smoothing: float = 0.0
    class_weights: bool = False  # each class counts the same, however rare
    patience: int | None = None  # epochs without a better score of held-out training subjects
    mixed_precision: bool = False  # bfloat16 where the device has it


Stream = StreamConfig | GeometryConfig


def blocks_of(backbone: str) -> int | None:
    """Count a backbone's blocks; None for those of libraries, which only building them tells.

    Raises: ConfigError for a name that there is not.
    """
    library, colon, name = backbone.partition(":")
    if colon and name and library in LIBRARIES:
        return None
    if backbone not in BACKBONES:
        known = [*BACKBONES, *(f"{library}:NAME" for library in LIBRARIES)]
        raise ConfigError(unknown("stream.backbone", backbone, known))
    return BACKBONES[backbone]
