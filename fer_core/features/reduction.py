"""What is fitted on the training frames of a fold: standardising, and PCA cut to k."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import Config, StreamConfig
from fer_core.errors import ConfigError
from fer_core.storage.shared_store import AnyStore
from fer_core.storage.stages import Shard, Tally, read_or_make

_CODE = 1  # raise it when the same input gives another result
_LARGEST_DIM = 512  # directions that are kept; every smaller PCA is a cut of it
_NEGLIGIBLE = 1e-6  # of the largest singular value: what is below comes from rounding


@dataclass(frozen=True)
class Reduction:
    """An affine map of features (..., D) to (..., k), or to (..., D) where there is no PCA."""

    mean: Array  # (D,)
    scale: Array  # (D,) before the projection
    basis: Array | None  # (k, D), orthonormal rows
    spread: float  # of all projected training values; 1 without PCA

    def __call__(self, features: Array) -> Array:
        standard = (features - self.mean) / self.scale
        if self.basis is None:
            return standard
        # torch's product, so that the thread count is the worker's and not the BLAS's
        flat = torch.from_numpy(standard.reshape(-1, standard.shape[-1]))
        projected = (flat @ torch.from_numpy(self.basis).T).numpy() / self.spread
        result: Array = projected.reshape(*features.shape[:-1], -1)
        return result


@dataclass(frozen=True)
class Fold:
    """Where what is fitted on a fold's training frames is stored, and which frames these are."""

    store: AnyStore
    lineage: Mapping[str, Any]
    tally: Tally

    def axes(self, stage: str, parts: Mapping[str, Any], make: Callable[[], Array]) -> Array:
        """Read axes, or make them where they are missing."""
        shard = Shard(stage, {"code": _CODE, **parts, **self.lineage}, lambda: (make(), {}))
        return np.array(read_or_make(self.store, [shard], self.tally)[0].array)


def standard(train: Array, _fold: Fold | None = None) -> Reduction:
    """Standardise as the training frames (N, D) have it."""
    mean = train.mean(axis=0)
    scale = np.maximum(train.std(axis=0), 1e-3 * (train.std() + 1e-12)).astype(np.float32)
    return Reduction(mean, scale, None, 1.0)


def largest(frames: int, dim: int, pca_dim: int) -> int:
    """Say how many directions are kept of which `pca_dim` are used.

    Raises: ConfigError where it exceeds what so many frames of so many features allow.
    """
    most = min(frames - 1, dim)
    if pca_dim > most:
        raise ConfigError(
            f"pca_dim is {pca_dim}; {frames} training frames of {dim} features "
            f"allow at most {most}."
        )
    return min(_LARGEST_DIM, most) if pca_dim <= _LARGEST_DIM else pca_dim


def principal(train: Array, fold: Fold, *, count: int) -> Reduction:
    """Project onto the first principal axes of the training frames (N, D); `cut` scales them."""
    plain = standard(train)
    basis = fold.axes("pca", {"largest": count}, lambda: _axes(plain(train), count))
    return replace(plain, basis=basis)


def cut(full: Reduction, projected: Tensor, pca_dim: int) -> Reduction:
    """Cut `principal`'s reduction to its first axes, given the training frames (..., k) on all."""
    assert full.basis is not None
    spread = float(projected[..., :pca_dim].std())
    return replace(full, basis=full.basis[:pca_dim], spread=spread)


def exact(train: Array, fold: Fold) -> Reduction:
    """Turn features onto an orthonormal basis of what the training frames (N, D) span, N < D.

    A linear layer that SGD trains on them moves in that span alone, so that on what is projected
    it learns the same, to rounding: its gradients, momentum and decay are those of the whole layer
    times the basis. See performance.md, 2.5.
    """
    plain = standard(train)
    return replace(plain, basis=fold.axes("span", {}, lambda: _span(plain(train))))


def is_exact(config: Config, stream: StreamConfig) -> bool:
    """Whether all that reads a stream's features first is a linear layer that SGD trains."""
    joined = config.fusion is None or config.fusion.how == "concat"
    plain = config.optimizer.name == "sgd" and not config.optimizer.mixed_precision
    whole = stream.frozen and stream.pca_dim is None and stream.pooling == "none"
    maps = config.recurrent is not None and config.recurrent.cell == "convlstm"
    changed = config.augment is not None or config.head.dropout > 0
    return whole and plain and joined and not maps and not changed and config.voting != "attention"


def _axes(standard: Array, count: int) -> Array:
    """Give the first principal axes (count, D) of standardised rows, by the smaller Gram matrix."""
    x = torch.from_numpy(standard).double()
    if len(x) < x.shape[1]:
        _, vectors = torch.linalg.eigh(x @ x.T)
        axes = torch.linalg.qr(x.T @ vectors.flip(1)[:, :count])[0].T
    else:
        _, vectors = torch.linalg.eigh(x.T @ x)
        axes = vectors.flip(1)[:, :count].T
    result: Array = axes.float().contiguous().numpy()
    return result


def _span(standard: Array) -> Array:
    """Give an orthonormal basis (r, D) of what N < D standardised rows span."""
    x = torch.from_numpy(standard).double()
    squares, vectors = torch.linalg.eigh(x @ x.T)
    kept = squares > (_NEGLIGIBLE**2) * squares.max()
    basis = torch.linalg.qr(x.T @ vectors[:, kept].flip(1))[0].T
    result: Array = basis.float().contiguous().numpy()
    return result
