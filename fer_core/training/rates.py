"""Optimisers of stacked members, each with its own rate and decay; everything else is one call.

What `torch.optim.SGD`, `Adam` and `AdamW` do to each member. Adam's step does not depend on how
large a parameter is, so members of different rates take it together: they are kept divided by
their rates, and multiplied after it. Large members take it one by one: their bytes are the cost.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from fer_core.choices import OptimizerConfig
from fer_core.training.optimizer import MOMENTUM, PLATEAU_EPOCHS, PLATEAU_FACTOR

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults; Kingma and Ba 2015, algorithm 1
LARGE = 1_000_000  # parameters of a member: 16 MB with gradient and moments, over most caches
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
    """Steps of stacked values, in place, a slice of the members at a time."""

    def __init__(self, name: str, values: Mapping[str, Tensor], rates: Rates) -> None:
        self._name, self.values, self._rates = name, dict(values), rates
        moments = range(1 if name == "sgd" else 2)
        self._moments = [{n: torch.zeros_like(v) for n, v in values.items()} for _ in moments]
        self._done = 0
        self.large = sum(value[0].numel() for value in values.values()) > LARGE
        self._counts: dict[int, list[Tensor]] = {}  # of steps: Adam's, by a slice's first member
        self._scaled: dict[str, Tensor] = {}  # Adam's: the values over their members' rates
        self._changes = -1  # of the rates, when they were divided by

    def take(self, members: slice, grads: Mapping[str, Tensor], *, first: bool) -> None:
        """Step the members of a slice; `first` is the first slice of a step."""
        self._done += first
        together = self._name != "sgd" and not self.large
        if together and self._changes != self._rates.changes:
            self._scaled = {n: v / _column(self._rates.base, v) for n, v in self.values.items()}
            self._changes = self._rates.changes
        self._decay(members, grads, self._scaled if together else self.values)
        if self._name == "sgd":
            self._sgd(members, grads)
        elif together:
            scaled = [self._scaled[name][members] for name in grads]
            self._adam(members, grads, scaled, 1.0)
            rates = self._rates.base[members]
            for name, value in zip(grads, scaled, strict=True):
                torch.mul(value, _column(rates, value), out=self.values[name][members])
        else:
            for place in range(members.start, members.stop):
                at, rate = slice(place, place + 1), float(self._rates.base[place])
                one = {n: grad[place - members.start][None] for n, grad in grads.items()}
                self._adam(at, one, [self.values[name][at] for name in one], rate)

    def keep(self, places: Sequence[int]) -> None:
        """Forget all members but those at `places`."""
        kept = list(places)
        self._counts = {}
        self.values = {name: value[kept] for name, value in self.values.items()}
        self._scaled = {name: value[kept] for name, value in self._scaled.items()}
        self._moments = [{n: v[kept] for n, v in moment.items()} for moment in self._moments]

    def _counted(self, start: int, values: Sequence[Tensor]) -> list[Tensor]:
        """Give the steps taken, of which Adam's kernel adds one to each."""
        if start not in self._counts:
            done = float(self._done - 1)
            self._counts[start] = [torch.tensor(done, device=v.device) for v in values]
        return self._counts[start]

    def _decay(
        self, members: slice, grads: Mapping[str, Tensor], values: Mapping[str, Tensor]
    ) -> None:
        decays = self._rates.decay[members]
        if not self._rates.decaying:
            return
        for name, grad in grads.items():
            if self._name == "adamw":  # apart from the gradient
                kept = 1 - self._rates.factor * self._rates.base[members] * decays
                values[name][members].mul_(_column(kept, grad))
            else:
                grad.addcmul_(self.values[name][members], _column(decays, grad))

    def _sgd(self, members: slice, grads: Mapping[str, Tensor]) -> None:
        rates = self._rates.base[members] * self._rates.factor
        for name, grad in grads.items():
            moment = self._moments[0][name][members].mul_(MOMENTUM).add_(grad)
            self.values[name][members].addcmul_(moment, _column(rates, grad), value=-1)

    def _adam(
        self, members: slice, grads: Mapping[str, Tensor], values: list[Tensor], rate: float
    ) -> None:
        first, second = ([m[name][members] for name in grads] for m in self._moments)
        adam(
            values,
            list(grads.values()),
            first,
            second,
            [],
            self._counted(members.start, values),
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate * self._rates.factor,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )


def _column(of_members: Tensor, like: Tensor) -> Tensor:
    """Shape one number a member (M,) so that it multiplies values (M, ...)."""
    return of_members.view(-1, *[1] * (like.ndim - 1))
