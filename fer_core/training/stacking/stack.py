"""Fits of one shape, trained as one stacked network: their steps share every call.

What a member becomes depends on who trains beside it in last bits only: it has its own weights,
batches, dropout, rate and decay.
"""

import copy
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.config import OptimizerConfig
from fer_core.models.network import Network, count
from fer_core.training import optimizer as optimizers
from fer_core.training.fits import Fit, Group, InTurn, OneFit
from fer_core.training.loop import batch_count
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.forward import Drop, Masks, logits, rates, stacked
from fer_core.training.stacking.optimizers import Rates, Steps

# Parameters above which nothing is stacked: on a CPU 2.5 MB with gradient and moments, where calls
# no longer count; on a GPU a quarter of a GB, since a stack must fit beside what it reads.
LARGE = {"cpu": 150_000, "cuda": 16_000_000}
_COPIED = 4  # members whose copies are timed one after the other


class _Feed:
    """The batches of fits that read the same rows in the same order."""

    def __init__(self, fit: Fit, count: int) -> None:
        self._fit, self._count = fit, count
        self._order = np.random.default_rng(fit.order)

    def epoch(self) -> list[Array]:
        return np.array_split(self._order.permutation(self._fit.rows), self._count)

    def first(self) -> Array:
        """Give rows as many as a batch has."""
        return self._fit.rows[: -(-len(self._fit.rows) // self._count)]

    def given(self, rows: Array) -> list[Tensor]:
        return list(self._fit.batches(rows, None))

    def labels(self, rows: Array) -> Tensor:
        return torch.from_numpy(self._fit.labels[rows])


def is_large(network: Network) -> bool:
    """Whether a network is bound by its own bytes, so that it trains alone."""
    return count([network]) > LARGE[next(network.parameters()).device.type]


def grouped(fits: Sequence[Fit], widths: Widths) -> Group:
    """Group fits of one shape as they train fastest: stacked, or one after the other."""
    if len(fits) == 1:
        return OneFit(fits[0])
    if is_large(fits[0].network):
        return InTurn(fits)
    stack = Stack(fits, widths)
    return stack if stack.settled_width() else InTurn(fits)


class Stack:
    """A group of fits whose networks have one shape, and whose epochs have as many batches."""

    def __init__(self, fits: Sequence[Fit], widths: Widths) -> None:
        networks, configs = [fit.network for fit in fits], [fit.config for fit in fits]
        self._networks, self._config = networks, configs[0]
        self._device = next(networks[0].parameters()).device
        self._count = batch_count(len(fits[0].rows), configs[0].batch_clips)
        feeds = {_feed_key(fit): fit for fit in reversed(fits)}
        self._feeds = [_Feed(fit, self._count) for fit in feeds.values()]
        names = list(feeds)
        self._feed_of = [names.index(_feed_key(fit)) for fit in fits]
        self._masks = Masks(rates(networks), [fit.seed for fit in fits])
        self._members = list(range(len(fits)))  # as they were at first: masks know them so
        weights = torch.stack([_class_weights(fit, networks[0].classes) for fit in fits])
        self._targets = _Targets(weights.to(self._device), configs)
        self._rates = Rates(configs, configs[0].epochs * self._count, self._device)
        self._steps = Steps(configs[0].name, stacked(networks), self._rates)
        self._widths = widths
        self._width: int | None = None  # members in a call; None: to be timed
        self._fits = fits[:_COPIED]

    def epoch(self) -> list[float]:
        """Train an epoch, and give the mean loss of each member."""
        orders = [feed.epoch() for feed in self._feeds]
        totals = torch.zeros(len(self._members), dtype=torch.double, device=self._device)
        for step in range(self._count):
            totals += self._step([order[step] for order in orders])
        sizes = [sum(map(len, orders[feed])) for feed in self._feed_of]
        losses = (totals.cpu() / torch.tensor(sizes)).tolist()
        self._rates.epoch(losses)
        return losses

    def drop(self, places: Collection[int]) -> None:
        """Let members leave; the rest are packed together and go on."""
        kept = [place for place in range(len(self._members)) if place not in places]
        if len(kept) == len(self._members) or not kept:
            return
        self._members = [self._members[place] for place in kept]
        self._networks = [self._networks[place] for place in kept]
        feeds = [self._feed_of[place] for place in kept]
        used = sorted(set(feeds))
        self._feeds = [self._feeds[feed] for feed in used]
        self._feed_of = [used.index(feed) for feed in feeds]
        self._targets.keep(kept)
        self._rates.keep(kept)
        self._steps.keep(kept)
        self._width = min(self._width or 1, len(kept))

    def settle(self) -> None:
        """Copy the members' values back to their networks."""
        for place, network in enumerate(self._networks):
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    parameter.copy_(self._steps.values[name][place])

    def settled_width(self) -> int:
        """Settle how many members a call has, by timing; 0: one after the other is faster."""
        if self._width is None:
            shape, members = self._shape(), len(self._members)
            self._width = self._widths.of(shape, members, self._timed())
        return self._width

    def _timed(self) -> Callable[[int], None]:
        """Give a step to time, of copies: what is trained must not depend on what was tried."""
        steps = copy.deepcopy(self._steps)
        rows = [feed.first() for feed in self._feeds]
        batch = self._batch(rows)
        plain = [_single(fit, len(rows[0])) for fit in self._fits]

        def step(width: int) -> None:
            if width:
                self._pass(batch, steps, None, width)
            else:
                for member in range(len(self._members)):
                    plain[member % len(plain)].epoch()  # it has one batch

        return step

    def _step(self, rows: Sequence[Array]) -> Tensor:
        """Step each member by its batch, and give the sum of its losses over its clips."""
        batch = self._batch(rows)
        losses = self._pass(batch, self._steps, self._masks, self.settled_width() or 1)
        self._rates.step()
        return losses * torch.tensor(batch.sizes, device=self._device)

    def _batch(self, rows: Sequence[Array]) -> "_Batch":
        """Read the batch of each feed, and give it to its members."""
        feeds = list(zip(self._feeds, rows, strict=True))
        sizes = [len(rows[feed]) for feed in self._feed_of]
        labels = self._gathered([[feed.labels(at)] for feed, at in feeds])[0]
        return _Batch(
            given=self._gathered([feed.given(at) for feed, at in feeds]),
            targets=self._targets.of(labels, sizes),
            sizes=sizes,
        )

    def _pass(self, batch: "_Batch", steps: Steps, masks: Masks | None, width: int) -> Tensor:
        """Step all members, so many at a time, and give their mean losses."""
        members = len(batch.sizes)
        losses = []
        steps.begin()
        for start in range(0, members, width):
            at = slice(start, min(start + width, members))
            part, own = batch.of(at), steps.of(at.start, at.stop)
            drop = masks.of(self._members[at], part.sizes) if masks else _undropped
            here = self._losses(part, own.leaves, drop)
            grads = torch.autograd.grad(here.sum(), list(own.leaves.values()))
            with torch.no_grad():
                own.take(grads)
            losses.append(here.detach())
        return torch.cat(losses).double()

    def _losses(self, batch: "_Batch", values: Mapping[str, Tensor], drop: Drop) -> Tensor:
        scores = logits(self._networks[0], values, batch.given, drop)
        targets = batch.targets
        if scores.ndim == 4:  # each frame carries its clip's label
            targets = (targets / scores.shape[2])[:, :, None]
        return -(targets * torch.log_softmax(scores, dim=-1)).flatten(1).sum(dim=1)

    def _gathered(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Put what feeds give, a tensor (B, ...) a stream, before their members: (M, B, ...)."""
        if len(batches) == 1:  # nothing is copied
            members = len(self._members)
            return [x.to(self._device).expand(members, *x.shape) for x in batches[0]]
        most = max(len(batch[0]) for batch in batches)
        own = self._feed_of == list(range(len(batches)))
        gathered = []
        for stream in zip(*batches, strict=True):
            padded = torch.stack([_padded(x, most) for x in stream])
            gathered.append((padded if own else padded[self._feed_of]).to(self._device))
        return gathered

    def _shape(self) -> Hashable:
        shapes = tuple((name, value.shape[1:]) for name, value in self._steps.values.items())
        given = tuple(each.shape[1:] for each in self._feeds[0].given(self._feeds[0].first()[:1]))
        return (*shapes, given, self._config.name, self._config.batch_clips)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """A batch of each member, padded to one size."""

    given: Sequence[Tensor]  # of each stream, (M, B, ...)
    targets: Tensor  # (M, B, K)
    sizes: Sequence[int]  # clips that are no padding

    def of(self, members: slice) -> "_Batch":
        """Give the batches of a slice of the members."""
        given = [each[members] for each in self.given]
        return _Batch(given=given, targets=self.targets[members], sizes=self.sizes[members])


class _Targets:
    """What each member's cross-entropy wants of its classes: weighted and smoothed as it has it.

    The loss of a clip of class y is the sum over classes c of table[y, c] times -log p(c), over
    the batch's sum of the weights of y; so has it `torch.nn.functional.cross_entropy`.
    """

    def __init__(self, weights: Tensor, configs: Sequence[OptimizerConfig]) -> None:
        self._weights, classes = weights, weights.shape[1]  # (M, K)
        smooth = torch.tensor([c.label_smoothing for c in configs], device=weights.device)
        smooth = smooth[:, None, None]
        one_hot = torch.eye(classes, device=weights.device)
        self._tables = weights[:, None] * ((1 - smooth) * one_hot + smooth / classes)  # (M, K, K)

    def of(self, labels: Tensor, sizes: Sequence[int]) -> Tensor:
        """Weigh the classes of labels (M, B): (M, B, K), 0 where a row is padding."""
        own = self._weights.gather(1, labels)
        wanted = self._tables.gather(1, labels[..., None].expand(-1, -1, self._weights.shape[1]))
        if min(sizes) < labels.shape[1]:
            inside = torch.arange(labels.shape[1])[None] < torch.tensor(sizes)[:, None]
            inside = inside.to(labels.device)
            own, wanted = own * inside, wanted * inside[..., None]
        return wanted / own.sum(dim=1)[:, None, None]

    def keep(self, places: Sequence[int]) -> None:
        """Forget all members but those at `places`."""
        self._weights, self._tables = self._weights[places], self._tables[places]


def _undropped(name: str, x: Tensor) -> Tensor:
    return x


def _single(fit: Fit, rows: int) -> OneFit:
    """Train a copy by one batch, again and again."""
    endless = replace(fit.config, epochs=1_000_000)
    network = copy.deepcopy(fit.network)
    return OneFit(replace(fit, network=network, rows=fit.rows[:rows], config=endless))


def _feed_key(fit: Fit) -> tuple[str, int, bytes]:
    return fit.data, fit.order, fit.rows.tobytes()


def _class_weights(fit: Fit, classes: int) -> Tensor:
    if not fit.config.class_weights:
        return torch.ones(classes)
    return optimizers.class_weights(torch.from_numpy(fit.labels[fit.rows]), classes)


def _padded(x: Tensor, rows: int) -> Tensor:
    """Add rows of zeros up to so many."""
    return x if len(x) == rows else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])
