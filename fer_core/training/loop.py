"""Train one network epoch by epoch, and score clips with it.

A caller asks `Training` for one epoch after another. It can therefore stop early by asking no
more, or save the state between two epochs and resume it in another process. `fits` does so for
trials; `probabilities` also serves trained models outside of a search.
"""

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fer_core.arrays import Array
from fer_core.config import OptimizerConfig
from fer_core.errors import FerError
from fer_core.models.dropout import Dropout
from fer_core.models.network import Network
from fer_core.training import optimizer as optimizers
from fer_core.training import statistics

# A function that reads a batch: from the rows (B,) of clips to the network's inputs, a tensor for
# each stream. The inputs are augmented at random where a generator is passed, as in training.
Batches = Callable[[Array, np.random.Generator | None], Sequence[Tensor]]
_MIXED = 0  # seed of the order in which clips are read for the statistics of layers


class DivergedError(FerError):
    """Report that the training loss is no longer a finite number; the trial has failed."""


class Training:
    """Train a network on the clips `rows`, with a state that can be saved between two epochs.

    `order` seeds the order of the rows and their augmentation. The loss is the cross-entropy of
    the logits (B, K), or of (B, T, K), where each frame has its clip's label. A plateau schedule
    watches the loss of the clips `held_out`, or of `rows` without them. With a `patience` in the
    config, training ends once the loss of the clips `held_out` has stopped falling, and the network
    gets back the weights that did best on them.
    """

    def __init__(
        self,
        network: Network,
        batches: Batches,
        labels: Array,
        rows: Array,
        config: OptimizerConfig,
        *,
        order: int,
        held_out: Array | None = None,
    ) -> None:
        self.losses: list[float] = []  # mean loss of each epoch
        self.extensions: list[int] = []  # epochs that were added to those of the config
        self._network, self._batches, self._config = network, batches, config
        self._rows, self._held_out = rows, held_out
        self._generator = np.random.default_rng(order)
        self._count = config.batches(len(rows))
        self._optimizer = optimizers.build(network, config)
        steps = config.epochs * self._count
        self._schedule = optimizers.Schedule(self._optimizer, config, steps)
        self._loss_of = _Loss(network, labels, rows, config)
        self._best = _BestWeights(network)

    def epoch(self) -> float | None:
        """Train for one epoch and return its mean loss, or None where training has ended.

        Raises: DivergedError where the loss is not finite.
        """
        config, best = self._config, self._best
        patience = config.patience or math.inf
        epochs = config.epochs + sum(self.extensions)
        if len(self.losses) == epochs or best.epochs_waited >= patience:
            best.restore()
            return None
        loss = self._train_epoch() / len(self._rows)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} after epoch {len(self.losses) + 1}; lower optimizer.lr."
            )
        watched = loss
        if self._held_out is not None:
            self.settle()
            watched = self._held_out_loss(self._held_out)
            if config.patience is not None:
                best.update(watched)
        self._schedule.epoch(watched)
        self.losses.append(loss)
        if len(self.losses) == epochs:
            best.restore()
        return loss

    def extend(self, epochs: int) -> None:
        """Add epochs to a training that has had all its own; a cosine begins at the full rate."""
        self.extensions.append(epochs)
        self._schedule.restart(self._optimizer, epochs * self._count)

    def settle(self) -> None:
        """Make the network ready to be scored: see `statistics.settle`."""
        statistics.settle(self._network, self._in_order)

    def state(self) -> dict[str, Any]:
        """Return all that later epochs depend on, as `torch.load(weights_only=True)` can read it.

        Checkpoints contain it: whoever changes its keys raises `checkpoint._FORMAT`.
        """
        on_gpu = self._device.type == "cuda"
        return {
            "losses": list(self.losses),
            "extensions": list(self.extensions),
            "network": _trained_values(self._network),
            "optimizer": self._optimizer.state_dict(),
            "schedule": {name: each.state_dict() for name, each in self._schedules()},
            "best": self._best.state(),
            "draws": [_state_text(each) for each in self._bit_generators()],
            "torch": torch.get_rng_state(),
            "gpu": torch.cuda.get_rng_state(self._device) if on_gpu else None,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state` that a training of the same fit returned."""
        self.losses = list(state["losses"])
        for epochs in state["extensions"]:
            self.extend(epochs)
        self._network.load_state_dict(state["network"], strict=False)  # frozen values are not in it
        self._optimizer.load_state_dict(state["optimizer"])
        for name, each in self._schedules():
            each.load_state_dict(state["schedule"][name])
        self._best.resume(state["best"])
        for generator, text in zip(self._bit_generators(), state["draws"], strict=True):
            generator.state = json.loads(text)
        torch.set_rng_state(state["torch"])
        if state["gpu"] is not None:
            torch.cuda.set_rng_state(state["gpu"], self._device)

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    def _train_epoch(self) -> float:
        """Train for one epoch, and return the sum of the clips' losses."""
        self._network.train()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        order = self._generator.permutation(self._rows)
        targets = self._loss_of.targets(order, self._count)
        for batch, target in zip(np.array_split(order, self._count), targets, strict=True):
            loss = self._loss_of(self._batches(batch, self._generator), target)
            total += _step(self._optimizer, loss) * len(batch)
            self._schedule.step()
        return float(total)  # read once: to read a number waits until a GPU has done all before

    def _in_order(self) -> Iterator[Sequence[Tensor]]:
        """Read the training clips as they are scored, in an order that mixes them.

        Rows come subject by subject, and training never saw a batch of a single subject.
        """
        mixed = np.random.default_rng(_MIXED).permutation(self._rows)
        for batch in np.array_split(mixed, self._count):
            yield self._batches(batch, None)

    def _held_out_loss(self, held_out: Array) -> float:
        self._network.eval()
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        with torch.inference_mode():
            count = math.ceil(len(held_out) / self._config.batch_clips)
            targets = self._loss_of.targets(held_out, count)
            for batch, target in zip(np.array_split(held_out, count), targets, strict=True):
                total += self._loss_of(self._batches(batch, None), target).double() * len(batch)
        return float(total) / len(held_out)

    def _schedules(self) -> Iterator[tuple[str, Any]]:
        """Yield torch's schedulers by the names of `Schedule`'s attributes; there may be none."""
        return ((name, each) for name, each in vars(self._schedule).items() if each is not None)

    def _bit_generators(self) -> Iterator[Any]:
        """Yield the generator of the rows' order, then those of dropout, each once."""
        yield self._generator.bit_generator
        dropout = (part.generator for part in self._network.modules() if isinstance(part, Dropout))
        yield from {id(each): each for each in dropout}.values()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach().double()


class _BestWeights:
    """Remember the weights that gave the lowest loss on the held-out clips."""

    def __init__(self, network: Network) -> None:
        self._network, self._loss = network, math.inf
        self._values: dict[str, Tensor] | None = None
        self.epochs_waited = 0  # epochs since the lowest loss

    def update(self, loss: float) -> None:
        """Take note of the loss after an epoch, and copy the weights if it is the lowest."""
        self.epochs_waited += 1
        if loss < self._loss:
            self._loss, self.epochs_waited = loss, 0
            self._values = copy.deepcopy(_trained_values(self._network))

    def restore(self) -> None:
        """Give the network the best weights; without held-out clips it keeps its last ones."""
        if self._values is not None:
            self._network.load_state_dict(self._values, strict=False)

    def state(self) -> list[Any]:
        return [self._loss, self.epochs_waited, self._values]

    def resume(self, state: Sequence[Any]) -> None:
        self._loss, self.epochs_waited, self._values = state


def _trained_values(network: Network) -> dict[str, Tensor]:
    """Return the network's state dict without its frozen parameters."""
    frozen = {name for name, value in network.named_parameters() if not value.requires_grad}
    return {name: value for name, value in network.state_dict().items() if name not in frozen}


def _state_text(bit_generator: Any) -> str:
    """Write the state of one of NumPy's bit generators as JSON."""
    return json.dumps(bit_generator.state, default=np.ndarray.tolist)


def predict(network: Network, batches: Batches, rows: Array, *, batch_clips: int) -> Array:
    """Score the clips `rows`: probabilities (N, T, K), where T is 1 unless frames vote."""
    scores = [
        probabilities(network, batches(rows[start : start + batch_clips], None))
        for start in range(0, len(rows), batch_clips)
    ]
    return np.concatenate(scores)


def probabilities(network: Network, inputs: Sequence[Tensor]) -> Array:
    """Score a batch of clips: probabilities (B, T, K), where T is 1 unless frames vote.

    They are computed in single precision, whatever precision the network was trained in.
    """
    network.eval()
    with torch.inference_mode():
        logits = network(inputs, network.lengths(inputs))
        scores: Array = torch.softmax(logits, dim=-1).cpu().numpy()
    return scores if scores.ndim == 3 else scores[:, None]


class _Loss:
    """Compute the cross-entropy of a batch, with the class weights and smoothing of a config."""

    def __init__(
        self, network: Network, labels: Array, rows: Array, config: OptimizerConfig
    ) -> None:
        self._network, self._config = network, config
        # Mixed precision is for backbone blocks: heads on stored features gain nothing by it, and
        # a stack trains them in single precision.
        self._mixed = config.mixed_precision and any(True for _ in network.unfrozen())
        self._device = next(network.parameters()).device
        self._labels = torch.from_numpy(labels)
        self._weights: Tensor | None = None
        if config.class_weights:
            train_labels = self._labels[torch.from_numpy(rows)]
            weights = optimizers.class_weights(train_labels, network.classes)
            self._weights = weights.to(self._device)

    def targets(self, rows: Array, count: int) -> tuple[Tensor, ...]:
        """Give the labels of `count` batches of rows, divided as `np.array_split` divides."""
        return self._labels[torch.from_numpy(rows)].to(self._device).tensor_split(count)

    def __call__(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        with optimizers.mixed(self._device, wanted=self._mixed):
            logits = self._network(inputs, self._network.lengths(inputs))
        if logits.ndim == 3:
            target = target[:, None].expand(logits.shape[:2]).reshape(-1)
            logits = logits.flatten(0, 1)
        return functional.cross_entropy(
            logits.float(),
            target,
            weight=self._weights,
            label_smoothing=self._config.label_smoothing,
        )
