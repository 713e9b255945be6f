"""Step 5 of the way from a config to its first batch: standardise features, and reduce them.

A `Reduction` is fitted on the training frames of a fold alone. It only standardises (`standard`),
projects onto the first principal axes (`principal`, then `cut`), or projects onto all that the
training frames span, which loses nothing (`exact`). `activations` chooses between them, and the
axes are stages of the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import Config, StreamConfig
from fer_core.errors import ConfigError
from fer_core.models.stream_readers import hardly_varies
from fer_core.storage.shared_store import AnyStore
from fer_core.storage.stages import Shard, Tally, read_or_make

_CODE = 1  # raise it when the same input gives another result
_LARGEST_DIM = 512  # principal axes that are stored; every smaller PCA is a cut of them
_NEGLIGIBLE = 1e-6  # share of the largest singular value; smaller ones come from rounding


@dataclass(frozen=True)
class Reduction:
    """An affine map of features (..., D) to (..., k), or to (..., D) without a projection."""

    mean: Array  # (D,), subtracted first
    scale: Array  # (D,), divided by before the projection; infinite: the feature is left out
    basis: Array | None  # (k, D), orthonormal rows to project onto; None: no projection
    spread: float  # standard deviation of all projected training values; 1 without PCA

    def __call__(self, features: Array) -> Array:
        """Standardise features (..., D), project them where there is a basis, and scale them."""
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
    """The training frames of a fold, and the store that keeps what is fitted on them."""

    store: AnyStore
    lineage: Mapping[str, Any]  # names the features and the training clips: part of stage keys
    tally: Tally

    def axes(self, stage: str, parts: Mapping[str, Any], make: Callable[[], Array]) -> Array:
        """Read axes from the store, or make them where the store lacks them."""
        shard = Shard(stage, {"code": _CODE, **parts, **self.lineage}, lambda: (make(), {}))
        return np.array(read_or_make(self.store, [shard], self.tally)[0].array)


def standard(train: Array, _fold: Fold | None = None) -> Reduction:
    """Fit a reduction that gives the training frames (N, D) mean 0 and deviation 1.

    A feature that hardly varies there (`hardly_varies`) gets an infinite scale: it is always 0.
    """
    mean, scale = train.mean(axis=0), train.std(axis=0).astype(np.float32)
    scale[hardly_varies(scale, mean)] = np.inf
    return Reduction(mean, scale, None, 1.0)


def largest(frames: int, dim: int, pca_dim: int) -> int:
    """Count the principal axes to store; a trial uses the first `pca_dim` of them.

    Raises: ConfigError where `pca_dim` exceeds what the training frames and features allow.
    """
    most = min(frames - 1, dim)
    if pca_dim > most:
        raise ConfigError(
            f"pca_dim is {pca_dim}; {frames} training frames of {dim} features "
            f"allow at most {most}."
        )
    return min(_LARGEST_DIM, most) if pca_dim <= _LARGEST_DIM else pca_dim


def principal(train: Array, fold: Fold, *, count: int) -> Reduction:
    """Fit a projection onto `count` principal axes of the training frames (N, D).

    `cut` then cuts it to the axes that a config wants, and scales them.
    """
    plain = standard(train)
    parts = {"largest": count} | _left_out(plain)
    basis = fold.axes("pca", parts, lambda: _axes(plain(train), count))
    return replace(plain, basis=basis)


def cut(full: Reduction, projected: Tensor, pca_dim: int) -> Reduction:
    """Cut a reduction that `principal` fitted to its first `pca_dim` axes.

    `projected` (..., k) are the training frames as the whole reduction gives them; their spread
    on the axes that are left scales the result.
    """
    assert full.basis is not None
    spread = float(projected[..., :pca_dim].std())
    return replace(full, basis=full.basis[:pca_dim], spread=spread)


def exact(train: Array, fold: Fold) -> Reduction:
    """Fit a projection onto an orthonormal basis of what the training frames (N, D) span, N < D.

    A linear layer that SGD trains on the features never leaves that span. On projected features it
    therefore learns the same, to rounding: its gradients, momentum and weight decay are those of
    the whole layer times the basis. See performance.md, 2.5.
    """
    plain = standard(train)
    return replace(plain, basis=fold.axes("span", _left_out(plain), lambda: _span(plain(train))))


def is_exact(config: Config, stream: StreamConfig) -> bool:
    """Whether only linear layers that SGD trains read a stream's features, as `exact` needs."""
    joined = config.fusion is None or config.fusion.how == "concat"
    plain = config.optimizer.name == "sgd" and not config.optimizer.mixed_precision
    whole = stream.frozen and stream.pca_dim is None and stream.pooling == "none"
    maps = config.recurrent is not None and config.recurrent.cell == "convlstm"
    changed = config.augment is not None or config.head.dropout > 0
    return whole and plain and joined and not maps and not changed and config.voting != "attention"


def _left_out(plain: Reduction) -> dict[str, int]:
    """Name how many features are left out, as a part of a key; earlier versions kept them all."""
    count = int(np.isinf(plain.scale).sum())
    return {"left_out": count} if count else {}


def _axes(standard: Array, count: int) -> Array:
    """Compute the first principal axes (count, D) of rows, from the smaller Gram matrix."""
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
    """Compute an orthonormal basis (r, D) of what N < D standardised rows span."""
    x = torch.from_numpy(standard).double()
    squares, vectors = torch.linalg.eigh(x @ x.T)
    kept = squares > (_NEGLIGIBLE**2) * squares.max()
    basis = torch.linalg.qr(x.T @ vectors[:, kept].flip(1))[0].T
    result: Array = basis.float().contiguous().numpy()
    return result
