"""Give the layers that standardise features the statistics of the training clips.

A layer such as `BatchNorm1d` is scored with running statistics. An update moves these by a tenth
only, so that after the few updates of a small dataset they are still near the values that they
started from. `loop.Training` therefore calls `settle` before a network is scored or kept.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # torch has no public name for this base

from fer_core.models.network import Network
from fer_core.models.stream_readers import hardly_varies

Read = Callable[[], Iterable[Sequence[Tensor]]]  # reads all training clips once, in batches


def settle(network: Network, read: Read) -> None:
    """Set running statistics to those of the training clips under the network's present weights.

    Only layers that training changes are set; those of frozen blocks keep theirs. While the
    statistics of a backbone's layers are taken, these normalise by the batch, as in training (Wu
    and Johnson 2021, section 3, https://arxiv.org/abs/2105.07576). Then the layers that standardise
    the backbone's features take theirs, of exactly what they read in scoring. A feature that hardly
    varies gets an infinite variance, so that it is 0 in scoring: otherwise the first clip in which
    it differs would be hundreds of deviations away. No random number is drawn.
    """
    layers = changing(network)
    if not layers:
        return
    last = [layer for name, layer in layers.items() if name.endswith("standardise")]
    inner = [layer for name, layer in layers.items() if not name.endswith("standardise")]
    for group in filter(None, (inner, last)):
        network.eval()
        for layer in group:
            layer.train(group is inner)
        _take(network, group, read, leaves_out=group is last)
    network.eval()


def changing(network: Network) -> dict[str, _BatchNorm]:
    """Return the layers whose running statistics training changes, by their names."""
    was_training = network.training
    network.train()
    found = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.running_mean is not None
    }
    network.train(was_training)
    return found


def _take(network: Network, layers: Sequence[_BatchNorm], read: Read, *, leaves_out: bool) -> None:
    """Read all training clips, and set the mean and variance of what each layer was given."""
    moments = [_Moments(layer) for layer in layers]
    hooks = [each.layer.register_forward_pre_hook(each.add) for each in moments]
    try:
        for inputs in read():
            with torch.inference_mode():
                network(inputs, network.lengths(inputs))
    finally:
        for hook in hooks:
            hook.remove()
    for each in moments:
        each.set(leaves_out=leaves_out)


class _Moments:
    """The mean and the variance of each channel that a layer is given, over several batches."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self._count = 0
        self._mean = torch.zeros(layer.num_features, dtype=torch.float64)
        self._squares = torch.zeros(layer.num_features, dtype=torch.float64)  # of distances to it

    def add(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Add a batch (N, C, ...), by the formula of Chan et al. 1983 for two samples.

        https://doi.org/10.1080/00031305.1983.10483115
        """
        values = inputs[0].detach().float()
        positions = [0, *range(2, values.ndim)]
        found = torch.var_mean(values, dim=positions, correction=0)
        variances, means = (each.double().cpu() for each in found)
        count = values.numel() // values.shape[1]
        total, apart = self._count + count, means - self._mean
        self._mean += apart * count / total
        self._squares += variances * count + apart**2 * self._count * count / total
        self._count = total

    def set(self, *, leaves_out: bool) -> None:
        """Give the layer the mean and the unbiased variance, as torch's own layers keep them.

        With `leaves_out`, a channel that hardly varies gets an infinite variance. A layer that was
        given nothing keeps what it has.
        """
        if not self._count:
            return
        mean, variance = self.layer.running_mean, self.layer.running_var
        assert mean is not None
        assert variance is not None
        variances = self._squares / max(1, self._count - 1)
        if leaves_out:
            left_out = hardly_varies(variances.sqrt().numpy(), self._mean.numpy())
            variances[torch.from_numpy(left_out)] = torch.inf
        with torch.no_grad():
            mean.copy_(self._mean)
            variance.copy_(variances)
