"""What is fitted on the training frames of a fold: standardising, and PCA cut to k."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fer_core.errors import ConfigError
from fer_core.stages import Shard, Tally, gather
from fer_core.store import Array, Store

_CODE = 1  # raise it when the same input gives another result
_LARGEST_DIM = 512  # directions that are kept; every smaller PCA is a cut of it


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


def fit(
    train: Array, pca_dim: int | None, *, store: Store, lineage: dict[str, Any], tally: Tally
) -> Reduction:
    """Fit on the training frames (N, D) only; `lineage` says which frames these are.

    Raises: ConfigError where `pca_dim` exceeds what N frames of D features allow.
    """
    mean = train.mean(axis=0)
    scale = np.maximum(train.std(axis=0), 1e-3 * (train.std() + 1e-12)).astype(np.float32)
    if pca_dim is None:
        return Reduction(mean, scale, None, 1.0)
    most = min(len(train) - 1, train.shape[1])
    if pca_dim > most:
        raise ConfigError(
            f"pca_dim is {pca_dim}; {len(train)} training frames of {train.shape[1]} features "
            f"allow at most {most}."
        )
    standard = (train - mean) / scale
    largest = min(_LARGEST_DIM, most) if pca_dim <= _LARGEST_DIM else pca_dim
    parts = {"code": _CODE, "largest": largest, **lineage}
    entry = gather(store, [Shard("pca", parts, lambda: (_axes(standard, largest), {}))], tally)[0]
    basis = np.array(entry.array[:pca_dim])
    spread = float((torch.from_numpy(standard) @ torch.from_numpy(basis).T).std())
    return Reduction(mean, scale, basis, spread)


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
