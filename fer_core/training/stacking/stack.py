"""The stack: a group of fits whose networks have one shape and are trained in shared calls.

`grouped` decides for the trial room whether fits are stacked or trained one after the other. In a
stack, a fit is a member: it has its own weights, batches, dropout, learning rate and weight decay.
The other members change what it becomes in the last bits only.
"""

import copy
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fer_core.arrays import Array
from fer_core.models.network import Network, count
from fer_core.training.fits import Fit, Group, InTurn, OneFit
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.feed import Feed, feed_key
from fer_core.training.stacking.forward import (
    Drop,
    DropoutMasks,
    dropout_rates,
    logits,
    stacked_parameters,
)
from fer_core.training.stacking.optimizers import LearningRates, StackedOptimizer
from fer_core.training.stacking.targets import Targets

# Networks with more parameters are not stacked. On a CPU they take 2.5 MB with gradients and
# moments, where the overhead of calls no longer matters; on a GPU a quarter of a GB, since a stack
# must fit into its memory together with the data.
LARGE = {"cpu": 150_000, "cuda": 16_000_000}
_MOST_COPIES = 4  # copies of members that are trained one after the other for the timing


def is_large(network: Network) -> bool:
    """Return whether a network is too large for a stack: arithmetic, not calls, takes its time."""
    return count([network]) > LARGE[next(network.parameters()).device.type]


def grouped(fits: Sequence[Fit], widths: Widths) -> Group:
    """Group fits of one shape in the way that trains them fastest: stacked, or in turn."""
    if len(fits) == 1:
        return OneFit(fits[0])
    if is_large(fits[0].network):
        return InTurn(fits)
    stack = Stack(fits, widths)
    return stack if stack.measured_width() else InTurn(fits)


class Stack:
    """Train fits whose networks have one shape, and whose epochs have equally many batches."""

    def __init__(self, fits: Sequence[Fit], widths: Widths) -> None:
        networks, configs = [fit.network for fit in fits], [fit.config for fit in fits]
        self._networks, self._config = networks, configs[0]
        self._device = next(networks[0].parameters()).device
        self._count = configs[0].batches(len(fits[0].rows))
        feeds = {feed_key(fit): fit for fit in reversed(fits)}
        self._feeds = [Feed(fit, self._count) for fit in feeds.values()]
        keys = list(feeds)
        self._feed_of = [keys.index(feed_key(fit)) for fit in fits]  # one index for each member
        self._masks = DropoutMasks(dropout_rates(networks), [fit.seed for fit in fits])
        self._members = list(range(len(fits)))  # first positions of those left; masks use them
        self._targets = Targets(fits, networks[0].classes, self._device)
        self._rates = LearningRates(configs, configs[0].epochs * self._count, self._device)
        self._optimizer = StackedOptimizer(
            configs[0].name, stacked_parameters(networks), self._rates
        )
        self._widths = widths
        self._width: int | None = None  # members that share a call; None: not measured yet
        self._numbers: dict[tuple[int, ...], Tensor] = {}
        self._fits = fits[:_MOST_COPIES]

    def epoch(self) -> list[float]:
        """Train for one epoch, and return the mean loss of each member."""
        orders = [feed.epoch() for feed in self._feeds]
        labels = self._labels(orders)
        totals = torch.zeros(len(self._members), dtype=torch.double, device=self._device)
        for step in range(self._count):
            totals += self._step([order[step] for order in orders], labels[step])
        sizes = [sum(map(len, orders[feed])) for feed in self._feed_of]
        losses: list[float] = (totals.cpu() / torch.tensor(sizes)).tolist()
        if self._config.schedule == "plateau":
            self._rates.epoch(self._held_out_losses() or losses)
        return losses

    def extend(self, epochs: int) -> None:
        """Add epochs to all members; a cosine begins at the full rate."""
        self._rates.restart(epochs * self._count)

    def drop(self, positions: Collection[int]) -> None:
        """Remove members; the others move together and go on."""
        kept = [position for position in range(len(self._members)) if position not in positions]
        if len(kept) == len(self._members) or not kept:
            return
        self._members = [self._members[position] for position in kept]
        self._networks = [self._networks[position] for position in kept]
        feeds = [self._feed_of[position] for position in kept]
        used = sorted(set(feeds))
        self._feeds = [self._feeds[feed] for feed in used]
        self._feed_of = [used.index(feed) for feed in feeds]
        self._targets.keep(kept)
        self._rates.keep(kept)
        self._optimizer.keep(kept)
        self._width = min(self._width or 1, len(kept))

    def make_ready(self) -> None:
        """Copy the members' values into their networks; heads have no statistics to settle."""
        for position, network in enumerate(self._networks):
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    parameter.copy_(self._optimizer.values[name][position])

    def measured_width(self) -> int:
        """Return how many members share a call, or 0 where training in turn is faster.

        The width is looked up, or timed, when it is first asked for.
        """
        if self._width is None:
            shape, members = self._shape(), len(self._members)
            self._width = self._widths.fastest(shape, members, self._step_to_time())
        return self._width

    def _step_to_time(self) -> Callable[[int], None]:
        """Return a step of a width for timing. It trains copies, so that timing changes nothing."""
        optimizer = copy.deepcopy(self._optimizer)
        rows = [feed.example() for feed in self._feeds]
        batch = self._batch(rows, self._labels([[own] for own in rows])[0])
        single = [_one_batch_fit(fit, len(rows[0])) for fit in self._fits]

        def step(width: int) -> None:
            if width:
                self._step_all(batch, optimizer, None, width)
            else:
                for member in range(len(self._members)):
                    single[member % len(single)].epoch()  # an epoch of one step

        return step

    def _labels(self, orders: Sequence[Sequence[Array]]) -> list[list[Tensor]]:
        """Give, for each step, the labels of the batch of each feed, whose batches `orders` has."""
        feeds = zip(self._feeds, orders, strict=True)
        of_feeds = [feed.labels(order, self._device) for feed, order in feeds]
        return [list(of_step) for of_step in zip(*of_feeds, strict=True)]

    def _step(self, rows: Sequence[Array], labels: Sequence[Tensor]) -> Tensor:
        """Train each member on its batch, and return the sum of its losses over its clips."""
        batch = self._batch(rows, labels)
        width = self.measured_width() or 1
        losses = self._step_all(batch, self._optimizer, self._masks, width)
        self._rates.step()
        return losses * self._on_device(tuple(batch.sizes))

    def _batch(self, rows: Sequence[Array], labels: Sequence[Tensor]) -> "_Batch":
        """Read the batch of each feed, which has these rows, and copy it to the feed's members."""
        feeds = zip(self._feeds, rows, strict=True)
        sizes = [len(rows[feed]) for feed in self._feed_of]
        return _Batch(
            inputs=self._to_members([feed.inputs(own) for feed, own in feeds]),
            targets=self._targets.of(self._to_members([[each] for each in labels])[0], sizes),
            sizes=sizes,
        )

    def _on_device(self, numbers: tuple[int, ...]) -> Tensor:
        """Give numbers as a tensor on the device; the same few are asked for in every step."""
        if numbers not in self._numbers:
            self._numbers[numbers] = torch.tensor(numbers, device=self._device)
        return self._numbers[numbers]

    def _step_all(
        self,
        batch: "_Batch",
        optimizer: StackedOptimizer,
        masks: DropoutMasks | None,
        width: int,
    ) -> Tensor:
        """Train all members on a batch, `width` of them in a call, and return their mean losses."""
        members = len(batch.sizes)
        all_losses = []
        optimizer.begin_step()
        for start in range(0, members, width):
            positions = slice(start, min(start + width, members))
            part, values = batch.slice_of(positions), optimizer.slice_of(positions)
            drop: Drop = _no_dropout
            if masks is not None:
                drop = masks.for_batch(self._members[positions], part.sizes)
            losses = self._losses(part, values.leaves, drop)
            grads = torch.autograd.grad(losses.sum(), list(values.leaves.values()))
            with torch.no_grad():
                values.step(grads)
            all_losses.append(losses.detach())
        return torch.cat(all_losses).double()

    def _losses(self, batch: "_Batch", values: Mapping[str, Tensor], drop: Drop) -> Tensor:
        """Compute the mean loss of each member over its batch, (M,)."""
        scores = logits(self._networks[0], values, batch.inputs, drop)
        targets = batch.targets
        if scores.ndim == 4:  # (M, B, T, K): each frame has its clip's label
            targets = (targets / scores.shape[2])[:, :, None]
        return -(targets * torch.log_softmax(scores, dim=-1)).flatten(1).sum(dim=1)

    def _held_out_losses(self) -> list[float]:
        """Compute the loss of each member over its held-out clips; empty if none are held out."""
        found = torch.zeros(len(self._members), dtype=torch.double, device=self._device)
        for number, feed in enumerate(self._feeds):
            positions = [place for place, own in enumerate(self._feed_of) if own == number]
            values = {name: value[positions] for name, value in self._optimizer.values.items()}
            for rows in feed.held_out(self._config.batch_clips):
                labels = feed.labels([rows], self._device)[0].expand(len(self._members), -1)
                targets = self._targets.of(labels, [len(rows)] * len(self._members))[positions]
                inputs = [x.expand(len(positions), *x.shape) for x in feed.inputs(rows)]
                batch = _Batch(inputs=inputs, targets=targets, sizes=[len(rows)] * len(positions))
                with torch.no_grad():
                    losses = self._losses(batch, values, _no_dropout)
                found[positions] += losses.double() * len(rows) / feed.held_out_clips
        return found.tolist() if self._feeds[0].held_out_clips else []

    def _to_members(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Copy the batch of each feed to its members.

        A batch has a tensor (B, ...) for each stream. The result has a tensor (M, B, ...) for each
        stream, where shorter batches are padded.
        """
        if len(batches) == 1:  # all members have the same batch: nothing is copied
            members = len(self._members)
            return [x.to(self._device).expand(members, *x.shape) for x in batches[0]]
        longest = max(len(batch[0]) for batch in batches)
        in_order = self._feed_of == list(range(len(batches)))  # each member has a feed of its own
        feed_of = self._on_device(tuple(self._feed_of))
        result = []
        for stream in zip(*batches, strict=True):
            padded = torch.stack([_padded(x, longest) for x in stream]).to(self._device)
            result.append(padded if in_order else padded[feed_of])
        return result

    def _shape(self) -> Hashable:
        """Describe the networks, their inputs and batches: `Widths` finds the width by this."""
        shapes = tuple((name, value.shape[1:]) for name, value in self._optimizer.values.items())
        first = self._feeds[0]
        inputs = tuple(x.shape[1:] for x in first.inputs(first.example()[:1]))
        return (*shapes, inputs, self._config.name, self._config.batch_clips)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Hold one batch of each member, padded to a common size."""

    inputs: Sequence[Tensor]  # one tensor (M, B, ...) for each stream
    targets: Tensor  # (M, B, K)
    sizes: Sequence[int]  # for each member, the number of clips without padding

    def slice_of(self, members: slice) -> "_Batch":
        """Return the batches of a slice of the members."""
        inputs = [x[members] for x in self.inputs]
        return _Batch(inputs=inputs, targets=self.targets[members], sizes=self.sizes[members])


def _no_dropout(name: str, x: Tensor) -> Tensor:
    return x


def _one_batch_fit(fit: Fit, rows: int) -> OneFit:
    """Copy a fit, to train it on its first `rows` clips as one batch, as often as it is timed."""
    endless = replace(fit.config, epochs=1_000_000)
    network = copy.deepcopy(fit.network)
    return OneFit(replace(fit, network=network, rows=fit.rows[:rows], config=endless))


def _padded(x: Tensor, rows: int) -> Tensor:
    """Append rows of zeros, so that there are `rows` rows."""
    return x if len(x) == rows else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])
