"""What did Garcia Zapata 2018 publish, and what remains of it under a protocol that leaks nothing?

The space has 29 points, the rows of tables 4 to 9 and 12 of that study, each tried once; their
published figures are in search/results/published.py. On sase_fe its 20 rows run, on oulu_casia its
9, and on other datasets all 29. Tables 7 and 8 tell emotion and authenticity together, the other
tables emotion. With `--weights vgg16=FILE` (VGG-Face) the published networks run, which needs a
GPU. Without it, narrow networks run instead, and their rows say so.

Fixed:    everything: 5 frames from 50 to 80 % of a clip; VGG-16 at 224 pixels; Adam at 1e-4 for 20
          epochs.
Searched: nothing; a trial is one published row.
Cost:     narrow networks on one busy CPU core, 5 folds of 144 clips: 1-10 s for a row whose
          backbone is frozen, 45-75 s for one that is trained. All of sase_fe's 20 rows take 6
          minutes on two such cores, oulu_casia's 9 (72 clips) 3 minutes. On a GPU: not measured.

It deviates where the study does not say what it did, or did what cannot work:
- Frames vote. The score is that of clips of subjects that were not trained on, after the last
  epoch.
- "First frozen" freezes two blocks. The faces of table 4 are upright crops, those of later tables
  are aligned.
- All FC layers of a network have one width: 4096 (the study: 4096, 4096, 2622) or 1024 (the study:
  1024, 1024, 512).
- Frozen networks are the face network as it was published, without fine-tuning, and see no
  augmented images; networks that are trained do. Pixels are normalised as the weights of the
  network expect.
- Features are those of the last map, standardised; the study took those of fc7. PCA is applied.
- Recurrent cells use tanh. They read stored features or, on images, those of a backbone that is
  trained with them; the study's cells read class scores and had no softmax before the loss.
- Geometry is standardised, so that 136 values do not drown among 25,088.
"""

from optuna import Trial

from fer_core.config import (
    AugmentConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)

STILLS = {  # rows of table 4: frozen blocks, FC layers, pooling
    "t4-none-frozen": (0, 3, "none"),
    "t4-first-frozen-3fc": (2, 3, "none"),
    "t4-all-frozen-3fc": (5, 3, "none"),
    "t4-all-frozen-3fc-avg": (5, 3, "avg"),
    "t4-all-frozen-3fc-max": (5, 3, "max"),
    "t4-all-frozen-0fc": (5, 0, "none"),
    "t4-all-frozen-0fc-avg": (5, 0, "avg"),
    "t4-all-frozen-0fc-max": (5, 0, "max"),
}
VIEWS = {  # rows of tables 5 to 7 and 9: the view of each stream
    "t5-frontal-soft": ("frontal_soft",),
    "t5-frontal": ("frontal",),
    "t6-two-stream": ("aligned", "frontal"),
    "t7-face": ("aligned",),
    "t7-frontal": ("frontal",),
    "t7-two-stream": ("aligned", "frontal"),
    "t7-geometry": ("frontal",),
    "t9-face": ("aligned",),
    "t9-frontal": ("frontal",),
    "t9-two-stream": ("aligned", "frontal"),
    "t9-geometry": ("frontal",),
}
TEMPORAL = {  # rows of tables 8 and 12: the model that reads the frames
    f"{table}-{model}": model
    for table in ("t8", "t12")
    for model in ("c3d", "lstm-features", "lstm-images", "gru-features", "gru-images")
}
POINTS = tuple({"row": row} for row in [*STILLS, *VIEWS, *TEMPORAL])
TRAINED = AugmentConfig(flip=True, zoom=0.2, shear_degrees=11.5)  # 11.5 degrees are 0.2 radians


def space(trial: Trial) -> Config:
    row = trial.suggest_categorical("row", [point["row"] for point in POINTS])
    task = "hidden" if row.startswith(("t7", "t8")) else "emotion"
    if row in TEMPORAL:
        return _temporal(row, task, TEMPORAL[row])
    if row in STILLS:
        frozen, fc_layers, pooling = STILLS[row]
        return Config(
            streams=(_vgg("crop", frozen, pooling=pooling),),
            head=HeadConfig(fc_layers=fc_layers, fc_width=4096),
            optimizer=_adam(8),
            augment=TRAINED if frozen < 5 else None,
            task=task,
            stands_for=row,
        )
    views = tuple(_vgg(view) for view in VIEWS[row])
    geometry = (GeometryConfig(encoding="centred", hidden=0),) if "geometry" in row else ()
    streams = (*views, *geometry)
    return Config(
        streams=streams,
        fusion=FusionConfig(point="conv") if len(streams) > 1 else None,
        head=HeadConfig(fc_layers=3, fc_width=1024 if len(views) > 1 else 4096),
        optimizer=_adam(4 if len(views) > 1 else 8),
        task=task,
        stands_for=row,
    )


def _temporal(row: str, task: str, model: str) -> Config:
    if model == "c3d":
        c3d = StreamConfig(
            backbone="c3d_study", weights="random", blocks=5, freeze_depth=0, view="frontal"
        )
        return Config(
            streams=(c3d,),
            head=HeadConfig(fc_layers=2, fc_width=4096, dropout=0.5),
            optimizer=_adam(20),
            augment=TRAINED,
            task=task,
            stands_for=row,
        )
    cell, _, given = model.partition("-")
    stored = given == "features"
    sizes = {"lstm-features": 2622, "gru-features": 512, "lstm-images": 512, "gru-images": 1024}
    return Config(
        streams=(_vgg("frontal", pca_dim=100) if stored else _vgg("frontal", 0),),
        recurrent=RecurrentConfig(
            cell=cell,
            hidden=sizes[model],
            layers=3 if stored else 1,
            dropout=0.5 if stored else 0.0,
        ),
        optimizer=_adam({"lstm-images": 30, "gru-images": 20}.get(model, 60)),
        augment=None if stored else TRAINED,
        task=task,
        stands_for=row,
    )


def _vgg(
    view: str, freeze_depth: int = 5, *, pooling: str = "none", pca_dim: int | None = None
) -> StreamConfig:
    return StreamConfig(
        backbone="vgg16",
        weights="file",
        blocks=5,
        freeze_depth=freeze_depth,
        pooling=pooling,
        pca_dim=pca_dim,
        view=view,
    )


def _adam(batch_clips: int) -> OptimizerConfig:
    return OptimizerConfig(
        name="adam", lr=1e-4, weight_decay=0.0, schedule="constant", batch_clips=batch_clips
    )
