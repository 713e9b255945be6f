"""Compute the targets of the cross-entropy of stacked members.

Members of a stack may differ in class weights and label smoothing. Both are folded into a table of
targets for each member, so that one expression in `stack` computes the losses of all of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fer_core.training import optimizer as optimizers
from fer_core.training.fits import Fit


class Targets:
    """Compute the targets of cross-entropy, with each member's class weights and label smoothing.

    The loss of a clip of class y is the sum over classes c of table[y, c] times -log p(c), divided
    by the sum of the class weights over the batch, as in `torch.nn.functional.cross_entropy`.
    """

    def __init__(self, fits: Sequence[Fit], classes: int, device: torch.device) -> None:
        weights = torch.stack([_class_weights(fit, classes) for fit in fits]).to(device)
        smooth = torch.tensor([fit.config.label_smoothing for fit in fits], device=device)
        smooth = smooth[:, None, None]
        one_hot = torch.eye(classes, device=device)
        self._weights = weights  # (M, K)
        self._tables = weights[:, None] * ((1 - smooth) * one_hot + smooth / classes)  # (M, K, K)

    def of(self, labels: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the targets (M, B, K) of a batch of B clips for each of M members; K classes.

        `labels` (M, B) are the numbers of the clips' classes. Member m has `sizes[m]` clips. The
        rest of its batch is padding, whose targets are 0.
        """
        weights = self._weights.gather(1, labels)
        targets = self._tables.gather(1, labels[..., None].expand(-1, -1, self._weights.shape[1]))
        if min(sizes) < labels.shape[1]:
            inside = torch.arange(labels.shape[1])[None] < torch.tensor(sizes)[:, None]
            inside = inside.to(labels.device)
            weights, targets = weights * inside, targets * inside[..., None]
        return targets / weights.sum(dim=1)[:, None, None]

    def keep(self, positions: Sequence[int]) -> None:
        """Remove all members but those at these positions."""
        self._weights, self._tables = self._weights[positions], self._tables[positions]


def _class_weights(fit: Fit, classes: int) -> Tensor:
    """Return the weight of each class (K,) in the loss of a fit; 1 where it asks for none."""
    if not fit.config.class_weights:
        return torch.ones(classes)
    return optimizers.class_weights(torch.from_numpy(fit.labels[fit.rows]), classes)
