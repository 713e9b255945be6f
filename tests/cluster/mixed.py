"""The space of the cluster's test: first heads on stored features, then networks that train whole.

Fixed:    five frames of a clip; two kinds of config.
Searched: the learning rate.
Cost:     a minute for the heads, then half a minute for each network on a core of the test's.
"""

from optuna import Trial

from fer_core.config import ClipConfig, Config, GeometryConfig, OptimizerConfig, StreamConfig

RATES = [0.001 * 1.2**i for i in range(20)]
POINTS = (
    *({"kind": "features", "lr": rate} for rate in RATES[:10]),
    *({"kind": "points", "lr": rate} for rate in RATES[10:]),
    *({"kind": "whole", "lr": rate} for rate in RATES[:6]),
)


def space(trial: Trial) -> Config:
    kind = trial.suggest_categorical("kind", ["features", "points", "whole"])
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    stream: StreamConfig | GeometryConfig
    match kind:
        case "features":
            stream = StreamConfig(
                backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
            )
        case "points":
            stream = GeometryConfig(hidden=16)
        case "whole":
            stream = StreamConfig(
                backbone="vgg16",
                weights="random",
                width=0.125,
                blocks=5,
                freeze_depth=0,
                crop_pixels=48,
                pooling="avg",
            )
    return Config(
        streams=(stream,),
        clip=ClipConfig(frames=5),
        optimizer=OptimizerConfig(lr=lr, epochs=16 if kind == "whole" else 6),
    )
