"""Fit a network epoch by epoch, so that whoever asks for them may stop, and go on elsewhere."""

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

# Rows (B,) to what the network is given of these clips, a tensor for each stream; augmented where
# a generator is given.
Batches = Callable[[Array, np.random.Generator | None], Sequence[Tensor]]


class DivergedError(FerError):
    """Training whose loss is no longer a number; the trial has failed."""


def fit(
    network: Network,
    batches: Batches,
    labels: Array,
    rows: Array,
    config: OptimizerConfig,
    *,
    order: int,
    held_out: Array | None = None,
) -> Iterator[float]:
    """Train as `Training` does, and yield the mean loss of each epoch."""
    training = Training(network, batches, labels, rows, config, order=order, held_out=held_out)
    return iter(training.epoch, None)


class Training:
    """A network's training on the clips `rows`, whose state can be taken between two epochs.

    `order` seeds the order of the rows. Cross-entropy of (B, K) logits, or of (B, T, K) where each
    frame carries its clip's label. With patience, training ends where the loss of the clips
    `held_out` no longer falls, and the network keeps the weights that did best on them.
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
        self._network, self._batches, self._config = network, batches, config
        self._rows, self._held_out = rows, held_out
        self._drawn = np.random.default_rng(order)
        self._count = batch_count(len(rows), config.batch_clips)
        self._optimizer = optimizers.build(network, config)
        steps = config.epochs * self._count
        self._schedule = optimizers.Schedule(self._optimizer, config, steps)
        self._loss_of = _Loss(network, labels, rows, config)
        self._best = _Best(network)

    def epoch(self) -> float | None:
        """Train an epoch and give its mean loss; None where none is left.

        Raises: DivergedError where the loss is not finite.
        """
        config, best = self._config, self._best
        if len(self.losses) == config.epochs or best.waited >= (config.patience or math.inf):
            best.restore()
            return None
        loss = self._trained() / len(self._rows)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} after epoch {len(self.losses) + 1}; lower optimizer.lr."
            )
        if self._held_out is not None:
            best.see(self._held_out_loss(self._held_out))
        self._schedule.epoch(loss if self._held_out is None else best.seen)
        self.losses.append(loss)
        if len(self.losses) == config.epochs:
            best.restore()
        return loss

    def state(self) -> dict[str, Any]:
        """Give all that epochs to come depend on, in what `torch.load(weights_only=True)` reads."""
        on_gpu = self._device.type == "cuda"
        return {
            "losses": list(self.losses),
            "network": _trained_values(self._network),
            "optimizer": self._optimizer.state_dict(),
            "schedule": {name: each.state_dict() for name, each in self._schedules()},
            "best": self._best.state(),
            "draws": [_text(each) for each in self._draws()],
            "torch": torch.get_rng_state(),
            "gpu": torch.cuda.get_rng_state(self._device) if on_gpu else None,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that a training of the same fit gave."""
        self.losses = list(state["losses"])
        self._network.load_state_dict(state["network"], strict=False)  # frozen values have no part
        self._optimizer.load_state_dict(state["optimizer"])
        for name, each in self._schedules():
            each.load_state_dict(state["schedule"][name])
        self._best.resume(state["best"])
        for draws, said in zip(self._draws(), state["draws"], strict=True):
            draws.state = json.loads(said)
        torch.set_rng_state(state["torch"])
        if state["gpu"] is not None:
            torch.cuda.set_rng_state(state["gpu"], self._device)

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    def _trained(self) -> float:
        """Train an epoch, and give the sum of the clips' losses."""
        self._network.train()
        total = 0.0
        for batch in np.array_split(self._drawn.permutation(self._rows), self._count):
            loss = self._loss_of(self._batches(batch, self._drawn), batch)
            total += _step(self._optimizer, loss) * len(batch)
            self._schedule.step()
        return total

    def _held_out_loss(self, held_out: Array) -> float:
        self._network.eval()
        total = 0.0
        with torch.inference_mode():
            for batch in np.array_split(
                held_out, math.ceil(len(held_out) / self._config.batch_clips)
            ):
                total += float(self._loss_of(self._batches(batch, None), batch)) * len(batch)
        return total / len(held_out)

    def _schedules(self) -> Iterator[tuple[str, Any]]:
        """Give torch's schedulers, where there are any."""
        return ((name, each) for name, each in vars(self._schedule).items() if each is not None)

    def _draws(self) -> Iterator[Any]:
        """Give what draws the order, and what all dropout of the network draws from."""
        yield self._drawn.bit_generator
        dropout = (part.draws for part in self._network.modules() if isinstance(part, Dropout))
        yield from {id(each): each for each in dropout}.values()


def batch_count(clips: int, batch_clips: int) -> int:
    """Part clips so that sizes differ by one, and none is one: of it nothing is standardised."""
    return max(1, min(math.ceil(clips / batch_clips), clips // 2))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


class _Best:
    """The weights that did best so far on the clips held back."""

    def __init__(self, network: Network) -> None:
        self._network, self._loss = network, math.inf
        self._values: dict[str, Tensor] | None = None
        self.seen = math.inf  # the last loss
        self.waited = 0  # epochs since the best

    def see(self, loss: float) -> None:
        self.seen = loss
        self.waited += 1
        if loss < self._loss:
            self._loss, self.waited = loss, 0
            self._values = copy.deepcopy(_trained_values(self._network))

    def restore(self) -> None:
        if self._values is not None:
            self._network.load_state_dict(self._values, strict=False)

    def state(self) -> list[Any]:
        return [self._loss, self.seen, self.waited, self._values]

    def resume(self, state: Sequence[Any]) -> None:
        self._loss, self.seen, self.waited, self._values = state


def _trained_values(network: Network) -> dict[str, Tensor]:
    """Give a network's values, but those that are frozen."""
    frozen = {name for name, value in network.named_parameters() if not value.requires_grad}
    return {name: value for name, value in network.state_dict().items() if name not in frozen}


def _text(draws: Any) -> str:
    """Write the state of one of NumPy's bit generators."""
    return json.dumps(draws.state, default=np.ndarray.tolist)


def predict(network: Network, batches: Batches, rows: Array, *, batch_clips: int) -> Array:
    """Give probabilities (N, T, K) of the clips `rows`; T is 1 where a clip is seen whole."""
    parts = [
        probabilities(network, batches(rows[start : start + batch_clips], None))
        for start in range(0, len(rows), batch_clips)
    ]
    return np.concatenate(parts)


def probabilities(network: Network, given: Sequence[Tensor]) -> Array:
    """Score a batch of clips: (B, T, K), in single precision whatever training used."""
    network.eval()
    with torch.inference_mode():
        logits = network(given, network.lengths(given))
        scores: Array = torch.softmax(logits, dim=-1).cpu().numpy()
    return scores if scores.ndim == 3 else scores[:, None]


class _Loss:
    """Cross-entropy as a config has it."""

    def __init__(
        self, network: Network, labels: Array, rows: Array, config: OptimizerConfig
    ) -> None:
        self._network, self._config = network, config
        # Heads on stored features gain nothing, and are stacked in single precision.
        self._mixed = config.mixed_precision and any(True for _ in network.unfrozen())
        self._device = next(network.parameters()).device
        self._labels = torch.from_numpy(labels)
        self._weights: Tensor | None = None
        if config.class_weights:
            seen = self._labels[torch.from_numpy(rows)]
            self._weights = optimizers.class_weights(seen, network.classes).to(self._device)

    def __call__(self, given: Sequence[Tensor], rows: Array) -> Tensor:
        target = self._labels[torch.from_numpy(rows)].to(self._device)
        with optimizers.mixed(self._device, wanted=self._mixed):
            logits = self._network(given, self._network.lengths(given))
        if logits.ndim == 3:
            target = target[:, None].expand(logits.shape[:2]).reshape(-1)
            logits = logits.flatten(0, 1)
        return functional.cross_entropy(
            logits.float(),
            target,
            weight=self._weights,
            label_smoothing=self._config.label_smoothing,
        )
