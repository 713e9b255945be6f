"""Optimisers of stacked members, each with its own rate and decay; everything else is one call.

What `torch.optim.SGD`, `Adam` and `AdamW` do to each member. Adam's step does not depend on how
large a parameter is, so members of different rates take it together: they are kept divided by
their rates, and multiplied after it.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from fer_core.config import OptimizerConfig
from fer_core.training.optimizer import MOMENTUM, PLATEAU_EPOCHS, PLATEAU_FACTOR

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults; Kingma and Ba 2015, algorithm 1
_PLATEAU_LEAST = 1e-4  # share of the best loss that counts as an improvement; torch's default


class Rates:
    """The learning rate of each member over the steps of its training."""

    def __init__(
        self, configs: Sequence[OptimizerConfig], steps: int, device: torch.device
    ) -> None:
        self._cosine = configs[0].schedule == "cosine"
        self._plateau = configs[0].schedule == "plateau"
        self._steps, self._done = steps, 0
        self._best, self._waited = [math.inf] * len(configs), [0] * len(configs)
        self.changes = 0  # of the base, so far
        self.base = torch.tensor([config.lr for config in configs], device=device)  # (M,)
        self.decay = torch.tensor([config.weight_decay for config in configs], device=device)
        self.decaying = bool(self.decay.any())

    @property
    def factor(self) -> float:
        """What all rates are multiplied by in this step."""
        if not self._cosine:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1, self._done / self._steps)))

    def step(self) -> None:
        self._done += 1

    def epoch(self, losses: Sequence[float]) -> None:
        """Lower the rates of members whose loss no longer falls."""
        if not self._plateau:
            return
        for i, loss in enumerate(losses):
            better = loss < self._best[i] * (1 - _PLATEAU_LEAST)
            self._best[i] = min(loss, self._best[i]) if better else self._best[i]
            self._waited[i] = 0 if better else self._waited[i] + 1
            if self._waited[i] > PLATEAU_EPOCHS:
                self.base[i] *= PLATEAU_FACTOR
                self.changes += 1
                self._waited[i] = 0

    def keep(self, places: Sequence[int]) -> None:
        """Forget all members but those at `places`."""
        self.base, self.decay = self.base[list(places)], self.decay[list(places)]
        self._best = [self._best[i] for i in places]
        self._waited = [self._waited[i] for i in places]


class Steps:
    """Stacked values, and the steps that they take in place, a slice of the members at a time."""

    def __init__(self, name: str, values: Mapping[str, Tensor], rates: Rates) -> None:
        self._name, self.values, self._rates = name, dict(values), rates
        moments = range(1 if name == "sgd" else 2)
        self._moments = [{n: torch.zeros_like(v) for n, v in values.items()} for _ in moments]
        self._done = 0
        self._slices: dict[tuple[int, int], Slice] = {}
        self._scaled: dict[str, Tensor] = {}  # Adam's: the values over their members' rates
        if name != "sgd":
            self._scaled = {name: torch.empty_like(value) for name, value in values.items()}
        self._changes = -1  # of the rates, when they were divided by

    def begin(self) -> None:
        """Begin a step, which each slice will take."""
        self._done += 1
        if self._changes != self._rates.changes:
            self._changes = self._rates.changes
            for name, scaled in self._scaled.items():
                value = self.values[name]
                torch.div(value, _column(self._rates.base, value), out=scaled)

    def of(self, start: int, stop: int) -> "Slice":
        """Give a slice of the members."""
        if (start, stop) not in self._slices:
            at = slice(start, stop)
            self._slices[start, stop] = Slice(
                self._name,
                {name: value[at].detach().requires_grad_() for name, value in self.values.items()},
                scaled=[value[at] for value in self._scaled.values()],
                moments=[[value[at] for value in moment.values()] for moment in self._moments],
                done=self._done - 1,
                rates=self._rates,
                members=at,
            )
        return self._slices[start, stop]

    def keep(self, places: Sequence[int]) -> None:
        """Forget all members but those at `places`."""
        kept = list(places)
        self._slices = {}
        self.values = {name: value[kept] for name, value in self.values.items()}
        self._scaled = {name: value[kept] for name, value in self._scaled.items()}
        self._moments = [{n: v[kept] for n, v in moment.items()} for moment in self._moments]


class Slice:
    """The values of some members, and all that steps them."""

    def __init__(
        self,
        name: str,
        leaves: Mapping[str, Tensor],
        *,
        scaled: list[Tensor],
        moments: list[list[Tensor]],
        done: int,
        rates: Rates,
        members: slice,
    ) -> None:
        self.leaves = leaves  # of autograd
        self._name, self._scaled, self._moments, self._rates = name, scaled, moments, rates
        self._values = [leaf.detach() for leaf in leaves.values()]
        device = self._values[0].device
        self._counts = [torch.tensor(float(done), device=device) for _ in self._values]
        self._base, self._decay = rates.base[members], rates.decay[members]  # views
        self._columns = [_column(self._base, value) for value in self._values]

    def take(self, grads: Sequence[Tensor]) -> None:
        """Step by the gradients of the leaves, in their order."""
        factor = self._rates.factor
        if self._rates.decaying:
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
        """Decay the values, or give gradients that do; two of them may be one tensor."""
        if self._name == "adamw":
            for value, own in zip(self._values, self._scaled, strict=True):
                own.mul_(_column(1 - factor * self._base * self._decay, value))
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


def _column(of_members: Tensor, like: Tensor) -> Tensor:
    """Shape one number a member (M,) so that it multiplies values (M, ...)."""
    return of_members.view(-1, *[1] * (like.ndim - 1))
