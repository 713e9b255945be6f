"""The choices of a trial: every part that a space may draw, checked, written to JSON and hashed.

A space builds a `Config` from the parts here, and all other rooms read it. What is impossible with
any data is refused by a one-line error. The room imports the standard library only, so that spaces
and `--help` load without torch. Every space and every other room imports from here, never from the
modules of this folder.
"""

from fer_core.config.checks import one_of, require
from fer_core.config.choices import (
    ANY_WEIGHTS,
    BACKBONES,
    CELLS,
    CHANGES,
    ENCODINGS,
    FITTED,
    JOININGS,
    LIBRARIES,
    ONE_FRAME,
    OPTIMIZERS,
    ORDERS,
    POINTS,
    POOLINGS,
    SAMPLINGS,
    SCHEDULES,
    TASKS,
    VIEWS,
    VOLUMES,
    VOTINGS,
    WEIGHTS,
    AugmentConfig,
    ClipConfig,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    PretrainConfig,
    RecurrentConfig,
    Stream,
    StreamConfig,
    Task,
    blocks_of,
)
from fer_core.config.config import Config, flat, from_json, validate
from fer_core.config.inert import canonical
from fer_core.errors import ConfigError

__all__ = [
    "ANY_WEIGHTS",
    "BACKBONES",
    "CELLS",
    "CHANGES",
    "ENCODINGS",
    "FITTED",
    "JOININGS",
    "LIBRARIES",
    "ONE_FRAME",
    "OPTIMIZERS",
    "ORDERS",
    "POINTS",
    "POOLINGS",
    "SAMPLINGS",
    "SCHEDULES",
    "TASKS",
    "VIEWS",
    "VOLUMES",
    "VOTINGS",
    "WEIGHTS",
    "AugmentConfig",
    "ClipConfig",
    "Config",
    "ConfigError",
    "FusionConfig",
    "GeometryConfig",
    "HeadConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "RecurrentConfig",
    "Stream",
    "StreamConfig",
    "Task",
    "blocks_of",
    "canonical",
    "flat",
    "from_json",
    "one_of",
    "require",
    "validate",
]
