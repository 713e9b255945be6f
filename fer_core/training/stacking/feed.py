"""The batches of stacked members: members that read the same rows in one order share a feed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.training.fits import Fit


class Feed:
    """Read the batches for all members that have the same rows in the same order."""

    def __init__(self, fit: Fit, count: int) -> None:
        self._fit, self._count = fit, count
        self._order = np.random.default_rng(fit.order)

    def epoch(self) -> list[Array]:
        """Return the rows of each batch of the next epoch."""
        return np.array_split(self._order.permutation(self._fit.rows), self._count)

    def example(self) -> Array:
        """Return the rows of a batch for timing; the order of the training does not advance."""
        return self._fit.rows[: -(-len(self._fit.rows) // self._count)]

    @property
    def held_out_clips(self) -> int:
        return 0 if self._fit.held_out is None else len(self._fit.held_out)

    def held_out(self, batch_clips: int) -> list[Array]:
        """Return the rows of each batch of the held-out clips, as `loop.Training` reads them."""
        if self._fit.held_out is None:
            return []
        return np.array_split(self._fit.held_out, -(-self.held_out_clips // batch_clips))

    def inputs(self, rows: Array) -> list[Tensor]:
        return list(self._fit.batches(rows, None))

    def labels(self, batches: Sequence[Array], device: torch.device) -> Sequence[Tensor]:
        """Give the labels of some batches, copied to the device at once."""
        labels = torch.from_numpy(self._fit.labels[np.concatenate(batches)]).to(device)
        return torch.split(labels, [len(rows) for rows in batches])


def feed_key(fit: Fit) -> tuple[str, int, bytes, bytes]:
    """Return what is equal for fits that can share a feed."""
    held_out = b"" if fit.held_out is None else fit.held_out.tobytes()
    return fit.data, fit.order, fit.rows.tobytes(), held_out
