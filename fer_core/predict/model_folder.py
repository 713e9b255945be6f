"""Write a trained model to a folder, and read it again without the study that made it.

`search.replay --export` writes model folders and `python -m fer_core.predict` reads them. The
names of files, tensors and JSON keys must not change, because users keep such folders:

weights.safetensors   all tensors: the frozen blocks, the fitted reductions, and the network
config.json           the config, as in a row of the leaderboard
labels.json           the task, and its classes in the order of the scores
preprocessing.json    what is done to a video before the network reads it
README.md             the model card
surface.npz or .obj   the user's surface of frontal views, if there is one
surface.landmarks.txt the vertices that are the landmarks, if the surface is an .obj
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fer_core import config as configs
from fer_core.config import ClipConfig, Config, GeometryConfig
from fer_core.errors import DataError
from fer_core.faces.frontal.surface import files as surface_files
from fer_core.faces.frontal.surface import load as load_surface
from fer_core.faces.point_encodings import Procrustes
from fer_core.features import extraction
from fer_core.features.encoders import Encoder, ImageEncoder, PointEncoder
from fer_core.features.reduction import Reduction
from fer_core.models import backbones
from fer_core.models.network import Network, StreamInput
from fer_core.models.profile import profile
from fer_core.trial.fitted_model import Model

WEIGHTS, CONFIG, LABELS, PREPROCESSING, CARD = (
    "weights.safetensors",
    "config.json",
    "labels.json",
    "preprocessing.json",
    "README.md",
)


def save(model: Model, folder: Path, *, card: str, surface: Path | None = None) -> None:
    """Write a model to a new folder, with the text of its card and the surface file that it used.

    The folder appears under its name only when it is complete.

    Raises: DataError if the folder already holds something.
    """
    check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    for i, encoder in enumerate(model.encoders):
        tensors |= {f"streams.{i}.{name}": value for name, value in _tensors(encoder).items()}
    save_file({name: t.cpu().contiguous().clone() for name, t in tensors.items()}, aside / WEIGHTS)
    surface_name = f"surface{surface.suffix}" if surface else None
    if surface and surface_name:
        kept = surface_files(aside / surface_name)
        for path, copy in zip(surface_files(surface), kept, strict=True):
            shutil.copyfile(path, copy)
    texts = {
        CONFIG: json.dumps(json.loads(model.config.to_json()), indent=1),
        LABELS: json.dumps({"task": model.task, "classes": model.classes}, indent=1),
        PREPROCESSING: json.dumps(_preprocessing(model) | {"surface": surface_name}, indent=1),
        CARD: card,
    }
    for name, text in texts.items():
        (aside / name).write_text(text)
    aside.chmod(0o755)  # only its owner can read a temporary folder
    aside.replace(folder)


def check_new(folder: Path) -> None:
    """Check that a model may be written to `folder` without overwriting anything.

    Raises: DataError if the folder is not empty, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problem = "is not empty" if folder.is_dir() else "is a file"
        raise DataError(f"{folder} {problem}; choose a new folder to export to.")


def load(folder: Path) -> Model:
    """Read a model that `save` wrote, onto the CPU.

    Raises: DataError if a file is missing or damaged, or does not fit the others.
    """
    try:
        return _read(folder)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is no folder of an exported model: {error.filename} is missing."
        ) from error
    except (
        AttributeError,
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"the exported model {folder} is damaged: {reason}") from error


def _read(folder: Path) -> Model:
    config = configs.from_json((folder / CONFIG).read_text())
    labels = json.loads((folder / LABELS).read_text())
    steps = json.loads((folder / PREPROCESSING).read_text())
    tensors = load_file(folder / WEIGHTS)
    encoders = tuple(
        _encoder(config, i, _with_prefix(tensors, f"streams.{i}."), described)
        for i, described in enumerate(steps["streams"])
    )
    clip = ClipConfig(**steps["clip"])
    inputs = [_stream_input(encoder, clip) for encoder in encoders]
    network = Network(config, inputs, labels["classes"])
    network.load_state_dict(_with_prefix(tensors, "network."))
    return Model(
        config=config,
        task=labels["task"],
        classes=tuple(labels["classes"]),
        encoders=encoders,
        network=network,
        clip=clip,
        frame_seconds=steps["frame_seconds"],
        landmarks=steps["landmarks"],
        missing=steps.get("missing", "leave-out"),
        surface=load_surface(folder / steps["surface"]) if steps["surface"] else None,
    )


def _preprocessing(model: Model) -> dict[str, Any]:
    return {
        "landmarks": model.landmarks,
        "missing": model.missing,
        "clip": model.clip.active(),
        "frame_seconds": model.frame_seconds,
        "colours": "RGB, 0 to 255",
        "streams": [_described(encoder) for encoder in model.encoders],
    }


def _described(encoder: Encoder) -> dict[str, Any]:
    """Describe what an encoder does to its stream before the network, for preprocessing.json."""
    if isinstance(encoder, PointEncoder):
        return asdict(encoder.geometry)
    buffers = encoder.backbone.preprocess.named_buffers()
    return {
        "view": encoder.stream.view,
        "precision": encoder.precision,
        "crop_pixels": extraction.crop_pixels(encoder.stream, encoder.backbone),
        **{name: value.flatten().tolist() for name, value in buffers},
    }


def _tensors(encoder: Encoder) -> dict[str, Tensor]:
    """Give the tensors of an encoder by name: frozen blocks, mean shape and fitted reduction."""
    tensors: dict[str, Tensor] = {}
    if isinstance(encoder, ImageEncoder):
        for part, module in _parts(encoder).items():
            state = dict(module.named_parameters()) | dict(module.named_buffers())
            tensors |= {f"{part}.{name}": value.detach() for name, value in state.items()}
    elif encoder.mean_shape is not None:
        shape = encoder.mean_shape.mean
        tensors["mean_shape"] = torch.from_numpy(np.stack([shape.real, shape.imag], axis=-1))
    if (reduction := encoder.reduction) is not None:
        tensors["mean"] = torch.from_numpy(reduction.mean)
        tensors["scale"] = torch.from_numpy(reduction.scale)
        tensors["spread"] = torch.tensor([reduction.spread], dtype=torch.float64)
        if reduction.basis is not None:
            tensors["basis"] = torch.from_numpy(np.ascontiguousarray(reduction.basis))
    return tensors


def _parts(encoder: ImageEncoder) -> dict[str, nn.Module]:
    """Give an encoder's modules: the blocks before the network, and the scaling of pixels."""
    depth = 0 if encoder.live else encoder.stream.freeze_depth
    return {"blocks": encoder.backbone.blocks[:depth], "preprocess": encoder.backbone.preprocess}


def _encoder(
    config: Config, index: int, tensors: Mapping[str, Tensor], described: Mapping[str, Any]
) -> Encoder:
    """Build the encoder of one stream and fill it with its tensors."""
    stream = config.streams[index]
    reduction = None
    if "mean" in tensors:
        basis = tensors.get("basis")
        reduction = Reduction(
            tensors["mean"].numpy(),
            tensors["scale"].numpy(),
            None if basis is None else basis.numpy(),
            float(tensors["spread"]),
        )
    if isinstance(stream, GeometryConfig):
        shape = tensors.get("mean_shape")
        mean_shape = None if shape is None else Procrustes(shape.numpy() @ np.array([1, 1j]))
        assert reduction is not None
        return PointEncoder(geometry=stream, mean_shape=mean_shape, reduction=reduction)
    backbone = backbones.build(stream.architecture, weights_file=None, seed=0)
    backbone = extraction.laid_out(backbone, stream)
    encoder = ImageEncoder(
        stream=stream,
        backbone=backbone,
        live=config.is_live(stream),
        pooling=config.stored_pooling(stream),
        reduction=reduction,
        precision=described["precision"],
    )
    for part, module in _parts(encoder).items():
        _fill(module, _with_prefix(tensors, f"{part}."))
    return encoder


def _fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module's parameters and buffers; the names must be the same."""
    wanted = dict(module.named_parameters()) | dict(module.named_buffers())
    if wanted.keys() != tensors.keys():
        raise KeyError(f"tensors {sorted(wanted.keys() ^ tensors.keys())}")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(tensors[name])


def _stream_input(encoder: Encoder, clip: ClipConfig) -> StreamInput:
    """Describe what the network reads of a clip in one stream, with zeros in its shape.

    Raises: ValueError where the reduction was fitted on another number of features.
    """
    if isinstance(encoder, PointEncoder):
        return StreamInput(
            torch.zeros(1, clip.frames, len(encoder.reduction.mean)), nn.ModuleList()
        )
    stream, reduction, maps = encoder.stream, encoder.reduction, None
    depth, frozen = (0, stream.freeze_depth) if encoder.live else (stream.freeze_depth, 0)
    backbone = profile(stream, clip.frames)
    shape = backbone.shape(depth)
    if reduction is not None:
        _check_features(reduction, backbone.features(encoder.pooling))
        if not stream.is_volume:
            maps = (shape[0], shape[1], shape[2])
        shape = (len(reduction.mean if reduction.basis is None else reduction.basis),)
    time = () if stream.is_volume else (clip.frames,)
    sample = torch.zeros(1, *time, *shape)
    return StreamInput(sample, encoder.backbone.blocks[depth:], frozen, maps)


def _check_features(reduction: Reduction, features: int) -> None:
    sizes = {len(reduction.mean), len(reduction.scale)}
    if reduction.basis is not None:
        sizes.add(reduction.basis.shape[1])
    if sizes != {features}:
        raise ValueError(
            f"its scaling or PCA is for {', '.join(map(str, sorted(sizes)))} features, but its "
            f"backbone gives {features}."
        )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with a prefix, and remove it from the names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
