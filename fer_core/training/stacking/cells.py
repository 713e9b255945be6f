"""Run the recurrent cells of several members over their frames, with gradients written by hand.

The results are those of `torch.nn.RNN` (tanh), `LSTM` and `GRU` for each member. One matrix
product projects the frames of all time steps, and each time step is one batched product for all
members. Autograd would record and replay a dozen operations a time step; here the backward passes
are written out, and the gradient of a weight is one product over all time steps. Sources:
Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al. 2014,
https://arxiv.org/abs/1406.1078, with the reset gate after the product, as in cuDNN. `forward`
calls `unrolled` and `linear`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def unrolled(
    mode: str, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor
) -> Tensor:
    """Run one recurrent layer over frames (M, B, T, D), to its states (M, B, T, H).

    `mode` is torch's name of the cell: RNN_TANH, LSTM or GRU. The weights are torch's with the
    members in front: (M, G, D), (M, G, H), (M, G), (M, G), where G is H times the number of gates.
    """
    members, batch, steps, _ = x.shape
    if mode == "GRU":
        bias, state_bias = b_in, b_state
    else:
        bias, state_bias = b_in + b_state, None
    flat = x.transpose(1, 2).flatten(1, 2)  # time steps first, so that each is contiguous
    projected = linear(flat, w_in, bias)
    gates = projected.view(members, steps, batch, -1)
    if mode == "GRU":
        assert state_bias is not None
        states: Tensor = _GRU.apply(gates, w_state, state_bias)
    else:
        states = (_LSTM if mode == "LSTM" else _RNN).apply(gates, w_state)
    return states.transpose(1, 2)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply one linear layer of each member: (M, N, D) to (M, N, G).

    Weights are (M, G, D), and biases (M, G).
    """
    mapped: Tensor = _Linear.apply(x, weight, bias)
    return mapped


class _Linear(Function):
    """Compute what autograd would, with weight gradients laid out in memory as the weights are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        by_x = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        return by_x, torch.bmm(grad.mT, x), grad.sum(dim=1)


def _by_weights(deltas: Tensor, states: Tensor) -> Tensor:
    """Compute the gradient (M, G, H) of the weights that read the state.

    It sums over time steps and batch: `deltas` are the gradients of the gates (M, T, B, G), and
    `states` are those before each time step, (M, T, B, H).
    """
    return torch.bmm(deltas.flatten(1, 2).mT, states.flatten(1, 2))


def _before(states: Tensor) -> Tensor:
    """Shift states (M, T, B, H) from after each time step to before it; the first is zero."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


class _RNN(Function):
    """The tanh cell: gates (M, T, B, H) and weights (M, H, H), to states (M, T, B, H)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w: Tensor) -> Tensor:
        states = torch.empty_like(gates)
        turned = w.mT
        state = torch.tanh(gates[:, 0])
        states[:, 0] = state
        for step in range(1, gates.shape[1]):
            state = torch.baddbmm(gates[:, step], state, turned).tanh_()
            states[:, step] = state
        ctx.save_for_backward(states, w)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        states, w = ctx.saved_tensors
        slopes = torch.addcmul(torch.ones((), device=states.device), states, states, value=-1)
        deltas, delta = torch.empty_like(states), grads[0][:, -1]
        for step in range(states.shape[1] - 1, -1, -1):
            here = delta * slopes[:, step]
            deltas[:, step] = here
            if step:
                delta = torch.baddbmm(grads[0][:, step - 1], here, w)
        return deltas, _by_weights(deltas, _before(states))


class _LSTM(Function):
    """The LSTM cell: gates (M, T, B, 4H) and weights (M, 4H, H), to states (M, T, B, H)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w: Tensor) -> Tensor:
        size, turned = w.shape[-1], w.mT
        gates = gates.clone()
        states = gates.new_empty(*gates.shape[:3], size)
        cells, tanhs = torch.empty_like(states), torch.empty_like(states)
        for step in range(gates.shape[1]):
            four = gates[:, step]
            if step:
                four.copy_(torch.baddbmm(four, states[:, step - 1], turned))
            four[..., : 2 * size].sigmoid_()
            four[..., 2 * size : 3 * size].tanh_()
            four[..., 3 * size :].sigmoid_()
            add, forget, new, output = four.chunk(4, dim=-1)
            cell = add * new
            if step:
                cell.addcmul_(forget, cells[:, step - 1])
            cells[:, step] = cell
            tanhs[:, step] = cell.tanh_()
            torch.mul(output, tanhs[:, step], out=states[:, step])
        ctx.save_for_backward(gates, cells, tanhs, states, w)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gates, cells, tanhs, states, w = ctx.saved_tensors
        deltas = torch.empty_like(gates)
        by_state, by_cell = grads[0][:, -1], torch.zeros_like(cells[:, 0])
        for step in range(gates.shape[1] - 1, -1, -1):
            add, forget, new, output = gates[:, step].chunk(4, dim=-1)
            d_add, d_forget, d_new, d_output = deltas[:, step].chunk(4, dim=-1)
            tanh = tanhs[:, step]
            by_cell = by_cell + by_state * output * (1 - tanh * tanh)
            torch.mul(by_state * tanh, output * (1 - output), out=d_output)
            torch.mul(by_cell * new, add * (1 - add), out=d_add)
            torch.mul(by_cell * add, 1 - new * new, out=d_new)
            if step == 0:
                d_forget.zero_()
                break
            torch.mul(by_cell * cells[:, step - 1], forget * (1 - forget), out=d_forget)
            by_cell = by_cell * forget
            by_state = torch.baddbmm(grads[0][:, step - 1], deltas[:, step], w)
        return deltas, _by_weights(deltas, _before(states))


class _GRU(Function):
    """The GRU cell: gates (M, T, B, 3H), weights (M, 3H, H), biases (M, 3H), to (M, T, B, H)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w: Tensor, b: Tensor) -> Tensor:
        size, turned = w.shape[-1], w.mT
        active = torch.empty_like(gates)  # reset, update and new, after their activations
        inner = gates.new_empty(*gates.shape[:3], size)  # values that the reset gate multiplies
        states = torch.empty_like(inner)
        for step in range(gates.shape[1]):
            three, projected = active[:, step], gates[:, step]
            if step:
                from_state = torch.baddbmm(b[:, None], states[:, step - 1], turned)
            else:
                from_state = b[:, None].expand(-1, gates.shape[2], -1)
            two = three[..., : 2 * size]
            torch.add(projected[..., : 2 * size], from_state[..., : 2 * size], out=two).sigmoid_()
            inner[:, step] = from_state[..., 2 * size :]
            reset, update, new = three.chunk(3, dim=-1)
            torch.addcmul(projected[..., 2 * size :], reset, inner[:, step], out=new).tanh_()
            if step:
                torch.lerp(new, states[:, step - 1], update, out=states[:, step])
            else:
                torch.mul(new, 1 - update, out=states[:, step])
        ctx.save_for_backward(active, inner, states, w)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        active, inner, states, w = ctx.saved_tensors
        size = w.shape[-1]
        before = _before(states)
        deltas = torch.empty_like(active)  # gradients of the gates' projected part
        by_product = torch.empty_like(active)  # gradients of the part that comes from the state
        by_state = grads[0][:, -1]
        for step in range(active.shape[1] - 1, -1, -1):
            reset, update, new = active[:, step].chunk(3, dim=-1)
            d_reset, d_update, d_new = deltas[:, step].chunk(3, dim=-1)
            torch.mul(by_state * (before[:, step] - new), update * (1 - update), out=d_update)
            torch.mul(by_state * (1 - update), 1 - new * new, out=d_new)
            torch.mul(d_new * inner[:, step], reset * (1 - reset), out=d_reset)
            by_product[:, step, :, : 2 * size] = deltas[:, step, :, : 2 * size]
            torch.mul(d_new, reset, out=by_product[:, step, :, 2 * size :])
            if step:
                carried = torch.addcmul(grads[0][:, step - 1], by_state, update)
                by_state = torch.baddbmm(carried, by_product[:, step], w)
        return deltas, _by_weights(by_product, before), by_product.sum(dim=(1, 2))
