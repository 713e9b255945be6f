"""Update the values of stacked members, each with its own learning rate and weight decay.

`stack` uses it in the place of torch's optimisers. Each member gets the update that
`torch.optim.SGD`, `Adam` or `AdamW` would make, and one call updates all members. Torch's fused
Adam takes one rate only; but its update does not depend on the size of a parameter, so values are
kept divided by their member's rate, updated together, and multiplied by it again.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from fer_core.config import OptimizerConfig
from fer_core.training.optimizer import MOMENTUM, PLATEAU_EPOCHS, PLATEAU_FACTOR

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults; Kingma and Ba 2015, algorithm 1
_PLATEAU_LEAST = 1e-4  # a loss improves if it falls by this share of the best; torch's default


class LearningRates:
    """Change the learning rate of each member of a stack while the stack is trained.

    The schedules are those that `optimizer.Schedule` gives to a single network. The rate of a
    member is its own `base` times `factor`, which all members share. A plateau schedule lowers a
    member's base when the loss that it watches stops falling. A cosine schedule lowers the factor
    at every step.
    """

    def __init__(
        self, configs: Sequence[OptimizerConfig], steps: int, device: torch.device
    ) -> None:
        self._cosine = configs[0].schedule == "cosine"
        self._steps, self._steps_done = steps, 0
        self._best, self._waited = [math.inf] * len(configs), [0] * len(configs)
        self.base_changes = 0  # how often the base of any member was lowered
        self.base = torch.tensor([config.lr for config in configs], device=device)  # (M,)
        self.decay = torch.tensor([config.weight_decay for config in configs], device=device)
        self.any_decay = bool(self.decay.any())

    @property
    def factor(self) -> float:
        """The number by which all bases are multiplied in this step."""
        if not self._cosine:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1, self._steps_done / self._steps)))

    def restart(self, steps: int) -> None:
        """Begin another `steps` steps; a cosine begins at the full rate again."""
        self._steps, self._steps_done = steps, 0

    def step(self) -> None:
        """Count a step of all members."""
        self._steps_done += 1

    def epoch(self, losses: Sequence[float]) -> None:
        """Lower the bases of members whose loss has stopped falling; `losses` are what they watch.

        Only a plateau schedule calls it.
        """
        for i, loss in enumerate(losses):
            better = loss < self._best[i] * (1 - _PLATEAU_LEAST)
            self._best[i] = min(loss, self._best[i]) if better else self._best[i]
            self._waited[i] = 0 if better else self._waited[i] + 1
            if self._waited[i] > PLATEAU_EPOCHS:
                self.base[i] *= PLATEAU_FACTOR
                self.base_changes += 1
                self._waited[i] = 0

    def keep(self, positions: Sequence[int]) -> None:
        """Remove all members but those at these positions."""
        self.base, self.decay = self.base[list(positions)], self.decay[list(positions)]
        self._best = [self._best[i] for i in positions]
        self._waited = [self._waited[i] for i in positions]


class StackedOptimizer:
    """Hold the stacked values and their moments, and update them in place, slice by slice.

    A step starts with `begin_step`. Then each slice of the members, from `slice_of`, is updated by
    the gradients of its own call.
    """

    def __init__(self, name: str, values: Mapping[str, Tensor], rates: LearningRates) -> None:
        self._name, self.values, self._rates = name, dict(values), rates
        moments = range(1 if name == "sgd" else 2)
        self._moments = [{n: torch.zeros_like(v) for n, v in values.items()} for _ in moments]
        self._steps_begun = 0
        self._slices: dict[tuple[int, int], MemberSlice] = {}
        self._scaled: dict[str, Tensor] = {}  # for Adam: the values divided by the members' bases
        if name != "sgd":
            self._scaled = {name: torch.empty_like(value) for name, value in values.items()}
        self._scaled_at = -1  # the rates' `base_changes` when the values were divided

    def begin_step(self) -> None:
        """Begin a step, in which each slice is to be updated once."""
        self._steps_begun += 1
        if self._scaled_at != self._rates.base_changes:
            self._scaled_at = self._rates.base_changes
            for name, scaled in self._scaled.items():
                value = self.values[name]
                torch.div(value, _column(self._rates.base, value), out=scaled)

    def slice_of(self, members: slice) -> "MemberSlice":
        """Return the values of a slice of the members, as views of the values of all."""
        key = (members.start, members.stop)
        if key not in self._slices:
            leaves = {n: v[members].detach().requires_grad_() for n, v in self.values.items()}
            self._slices[key] = MemberSlice(
                self._name,
                leaves,
                scaled=[value[members] for value in self._scaled.values()],
                moments=[[value[members] for value in moment.values()] for moment in self._moments],
                steps_done=self._steps_begun - 1,
                rates=self._rates,
                members=members,
            )
        return self._slices[key]

    def keep(self, positions: Sequence[int]) -> None:
        """Remove all members but those at these positions."""
        kept = list(positions)
        self._slices = {}
        self.values = {name: value[kept] for name, value in self.values.items()}
        self._scaled = {name: value[kept] for name, value in self._scaled.items()}
        self._moments = [{n: v[kept] for n, v in moment.items()} for moment in self._moments]


class MemberSlice:
    """Hold views of the values of some members, and update them by their gradients."""

    def __init__(
        self,
        name: str,
        leaves: Mapping[str, Tensor],
        *,
        scaled: list[Tensor],
        moments: list[list[Tensor]],
        steps_done: int,
        rates: LearningRates,
        members: slice,
    ) -> None:
        self.leaves = leaves  # the tensors whose gradients autograd computes
        self._name, self._scaled, self._moments, self._rates = name, scaled, moments, rates
        self._values = [leaf.detach() for leaf in leaves.values()]
        device = self._values[0].device
        self._counts = [torch.tensor(float(steps_done), device=device) for _ in self._values]
        self._base, self._decay = rates.base[members], rates.decay[members]  # views: they follow
        self._columns = [_column(self._base, value) for value in self._values]

    def step(self, grads: Sequence[Tensor]) -> None:
        """Update the values by the gradients of the leaves, in the order of the leaves."""
        factor = self._rates.factor
        if self._rates.any_decay:
            grads = self._decayed(grads, factor)
        if self._name == "sgd":
            for value, rate, moment, grad in zip(
                self._values, self._columns, self._moments[0], grads, strict=True
            ):
                value.addcmul_(moment.mul_(MOMENTUM).add_(grad), rate, value=-factor)
        else:
            self._adam(grads, factor)
            for value, scaled, rate in zip(self._values, self._scaled, self._columns, strict=True):
                torch.mul(scaled, rate, out=value)

    def _decayed(self, grads: Sequence[Tensor], factor: float) -> Sequence[Tensor]:
        """Apply weight decay: AdamW shrinks the values; others get gradients with the decay added.

        The gradients are not changed in place, since two of them may be the same tensor.
        """
        if self._name == "adamw":
            for value, scaled in zip(self._values, self._scaled, strict=True):
                scaled.mul_(_column(1 - factor * self._base * self._decay, value))
            return grads
        return [
            torch.addcmul(grad, value, _column(self._decay, value))
            for value, grad in zip(self._values, grads, strict=True)
        ]

    def _adam(self, grads: Sequence[Tensor], rate: float) -> None:
        adam(
            self._scaled,
            list(grads),
            self._moments[0],
            self._moments[1],
            [],
            self._counts,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )


def _column(per_member: Tensor, like: Tensor) -> Tensor:
    """Reshape numbers of members (M,), so that they multiply values (M, ...)."""
    return per_member.view(-1, *[1] * (like.ndim - 1))
