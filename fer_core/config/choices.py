"""The parts of a config as dataclasses, and the names that each part may choose from.

A space fills these parts, and every later room reads them. The module imports the standard library
only, so that a space loads without torch. The tuples in capitals list every legal name; `checks`
holds a part to them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fer_core.errors import ConfigError, suggestion

Task = Literal["emotion", "authenticity", "hidden"]
TASKS: tuple[Task, ...] = ("emotion", "authenticity", "hidden")
VIEWS = ("crop", "aligned", "frontal", "frontal_soft", "frontal_conditional", "given")
GIVEN = "given"  # the view that shows the whole picture, for data whose pictures are cut-out faces
SAMPLINGS = ("window", "uniform", "stride", "last", "middle", "onset_apex")
# Backbones that read all frames of a clip together, as one volume.
VOLUMES = ("c3d", "c3d_study", "r3d_18", "mc3_18", "r2plus1d_18")
# Backbones that are first fitted, without labels, on the frames of the training subjects.
FITTED = ("scae", "cdbn")
# Each backbone, and into how many blocks it is divided; it can be cut or frozen after any block.
BACKBONES: Mapping[str, int] = {
    "dlib_resnet": 6,
    "vgg16": 5,
    "scae": 4,
    "cdbn": 2,
    **dict.fromkeys(VOLUMES, 5),
}
LIBRARIES = ("torchvision", "timm")  # their networks are backbones too: "torchvision:resnet18"
# Where the weights of a backbone may come from; `StreamConfig.weights` explains the words.
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "dlib_resnet": ("package", "random"),
    "vgg16": ("file", "imagenet", "random"),
    "c3d_study": ("random",),
    **dict.fromkeys(FITTED, ("fitted", "random")),
}
ANY_WEIGHTS = ("file", "random")  # for backbones that WEIGHTS does not list
ENCODINGS = ("centred", "procrustes", "distances", "difference", "motion")
CHANGES = ("difference", "motion")  # encodings that compare frames, so a photograph has none
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
    """Which frames of a clip a trial reads. If the clip has too few, frames repeat."""

    start: float = 0.5  # as a fraction of the clip; 50-80 % is the window of Garcia Zapata 2018
    end: float = 0.8
    frames: int = 5  # how many frames are read
    # How they are chosen:
    #   window      evenly spaced from start to end
    #   uniform     the middle frames of equal parts of the whole clip
    #   stride      every `stride`-th frame, from start on
    #   last        the last frames, `stride` apart
    #   middle      the frames around the middle, `stride` apart
    #   onset_apex  evenly spaced from the onset of movement to its peak, found by the landmarks
    sampling: str = "window"
    stride: int = 1  # distance between two frames that are read

    def active(self) -> dict[str, str | int | float]:
        """Return the fields that have an effect with this sampling, as a dict."""
        used = {"window": ("start", "end"), "stride": ("start", "stride")}
        spaced = ("stride",) if self.sampling in ("last", "middle") else ()
        names = ("sampling", "frames", *used.get(self.sampling, spaced))
        return {name: getattr(self, name) for name in names}


ONE_FRAME = ClipConfig(start=0.0, end=1.0, frames=1)  # for datasets of single photographs


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How the backbones scae and cdbn are fitted, layer by layer, without any label."""

    epochs: int = 10  # for each layer
    lr: float = 1e-3
    sparsity: float = 0.05  # cdbn only: target for the mean activation of its hidden units


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """One view of the face, and the backbone that turns its images into features."""

    backbone: str  # a name of BACKBONES, or "torchvision:NAME" or "timm:NAME"
    # Where the weights come from; there is no default, so that a trial never uses others unnoticed.
    #   package   a Python package that ships them
    #   file      the file that the user gives as --weights BACKBONE=FILE
    #   imagenet  torchvision's ImageNet weights, from torch's own folder
    #   fitted    fitted on this dataset without labels, as `pretrain` says
    #   random    a seeded random start
    weights: str
    blocks: int  # how many blocks of the backbone are used, from the input on
    freeze_depth: int  # how many of these keep their weights; the others are trained
    pooling: str = "none"  # how the last block's map is reduced over its positions
    pca_dim: int | None = None  # components of a PCA on the stored features; None: no PCA
    view: str = "aligned"  # how the face is cut from the frame: one of VIEWS
    width: float = 1.0  # factor on all channel counts; 1.0 is the published network
    crop_pixels: int | None = None  # side of the square input; None: the backbone's usual one
    # vgg16 from a file only: which channel the mean 129.19 belongs to, since copies of the weights
    # differ ("rgb": red). None: rgb.
    mean_order: str | None = None
    pretrain: PretrainConfig | None = None  # for weights "fitted" only

    @property
    def is_volume(self) -> bool:
        """Whether the backbone reads all frames of a clip together, as one volume."""
        return self.backbone in VOLUMES

    @property
    def frozen(self) -> bool:
        """Whether the whole backbone keeps its weights, so that its features can be stored."""
        return self.freeze_depth == self.blocks

    @property
    def architecture(self) -> "StreamConfig":
        """This stream reduced to what the shapes of its weights depend on, with random weights."""
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
    """Describe a stream that reads the 68 landmarks of each frame, in the place of pixels.

    The landmarks become numbers. Their mean and scale are measured on the training frames, and the
    numbers are standardised with them.
    """

    # How the points become numbers:
    #   centred      relative to a fixed pixel, stretched to [0, 1], as in Garcia Zapata 2018
    #   procrustes   aligned to the mean shape of the training frames
    #   distances    distances between points
    #   difference   change since the first frame of the clip
    #   motion       change since the frame before
    encoding: str = "procrustes"
    hidden: int = 64  # width of a layer that reads the numbers; 0: no such layer
    dropout: float = 0.0  # on the input of that layer
    is_volume = False


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Where streams are joined, and how. Before that point each has its own cell and FC layers."""

    # conv: before the recurrent cell and head; fc1, fc2: after that FC layer; logits: at the end
    point: str = "conv"
    # concat, sum or product of the features. At logits, concat is a linear layer on all logits, and
    # sum and product combine the streams' scores.
    how: str = "concat"


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """A recurrent cell that reads the frames of a clip one after another."""

    cell: str
    hidden: int  # units in each direction; for convlstm, channels
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0  # between layers, so it needs at least two


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Fully connected (FC) layers between the features and the logits."""

    fc_layers: int = 0
    fc_width: int = 128
    dropout: float = 0.0
    # For task hidden: one head for emotion and one for authenticity, trained together.
    two_heads: bool = False


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of the training images; all frames of a clip get the same change."""

    flip: bool = True  # mirrors half of the clips
    shift: float = 0.0  # at most this share of the image's side
    zoom: float = 0.0  # at most this share, in or out
    rotate_degrees: float = 0.0  # at most, either way
    shear_degrees: float = 0.0  # at most, either way
    brightness: float = 0.0  # at most this share, lighter or darker


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How the trainable part of the network is trained."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    epochs: int = 20
    # The least number of updates of the weights: a fit with few clips has more epochs, so that it
    # has as many. None: `epochs` alone decides.
    updates: int | None = None
    batch_clips: int = 32
    # How the rate changes: constant, cosine (falls to zero), or plateau (falls when the loss on
    # some training subjects, which are held out for this, has stopped falling).
    schedule: str = "cosine"
    backbone_lr: float = 1.0  # factor on lr for the blocks of a backbone that are trained
    label_smoothing: float = 0.0
    class_weights: bool = False  # weights the loss so that rare classes count as much as others
    # Stops training after so many epochs without a lower loss on the training subjects that are
    # held out; None: trains for all epochs.
    patience: int | None = None
    mixed_precision: bool = False  # computes in bfloat16 if the device can

    @property
    def holds_out(self) -> str | None:
        """Name the field by which some training subjects are held out of the fit, if one does."""
        if self.patience is not None:
            return "patience"
        return "schedule" if self.schedule == "plateau" else None

    def batches(self, clips: int) -> int:
        """Count the batches of an epoch; their sizes differ by one at most, and none is one clip.

        Features of a single clip cannot be standardised by their batch.
        """
        return max(1, min(math.ceil(clips / self.batch_clips), clips // 2))

    def epochs_for(self, clips: int) -> int:
        """Count the epochs of a fit with so many training clips."""
        return max(self.epochs, math.ceil((self.updates or 0) / self.batches(clips)))


Stream = StreamConfig | GeometryConfig


def blocks_of(backbone: str) -> int | None:
    """Return how many blocks a backbone has; None for networks of libraries.

    The blocks of a library's network are known only once it is built.

    Raises: ConfigError if there is no backbone of that name.
    """
    library, colon, name = backbone.partition(":")
    if colon and name and library in LIBRARIES:
        return None
    if backbone not in BACKBONES:
        known = [*BACKBONES, *(f"{library}:NAME" for library in LIBRARIES)]
        raise ConfigError(f"stream.backbone is '{backbone}'{suggestion(backbone, known)}")
    return BACKBONES[backbone]
