"""Recurrent cells of several members over their frames, with a backward pass of their own.

What `torch.nn.RNN` (tanh), `LSTM` and `GRU` compute for each member, but for all at once: one
product projects the frames of all steps, and a step is one batched product. Autograd would keep
and replay a dozen nodes a step; here gradients are written out (Hochreiter and Schmidhuber 1997,
https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al. 2014, https://arxiv.org/abs/1406.1078, with
the reset gate behind the product, as cuDNN has it), and those of the weights are one product.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def unrolled(
    mode: str, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor
) -> Tensor:
    """Run frames (M, B, T, D) through a layer: its states after each, (M, B, T, H).

    `mode` is torch's: RNN_TANH, LSTM or GRU. Weights are torch's with the members in front:
    (M, G, D), (M, G, H), (M, G), (M, G), where G is H times the cell's gates.
    """
    members, batch, steps, _ = x.shape
    if mode == "GRU":
        bias, inner = b_in, b_state
    else:
        bias, inner = b_in + b_state, None
    flat = x.transpose(1, 2).flatten(1, 2)  # by steps, so that one is contiguous
    projected = linear(flat, w_in, bias)
    gates = projected.view(members, steps, batch, -1)
    if mode == "GRU":
        assert inner is not None
        states: Tensor = _GRU.apply(gates, w_state, inner)
    else:
        states = (_LSTM if mode == "LSTM" else _RNN).apply(gates, w_state)
    return states.transpose(1, 2)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map (M, N, D) to (M, N, G) by weights (M, G, D) and biases (M, G)."""
    mapped: Tensor = _Linear.apply(x, weight, bias)
    return mapped


class _Linear(Function):
    """As autograd would, but the weights' gradients lie in memory as the weights do."""

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
    """Sum over steps and batch: deltas (M, T, B, G), states before each step (M, T, B, H)."""
    return torch.bmm(deltas.flatten(1, 2).mT, states.flatten(1, 2))


def _before(states: Tensor) -> Tensor:
    """Give the state before each step, of states (M, T, B, H) after them; the first is zero."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


class _RNN(Function):
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
    @staticmethod
    def forward(ctx: Any, gates: Tensor, w: Tensor) -> Tensor:
        size, turned = w.shape[-1], w.mT
        gates = gates.clone()
        states = gates.new_empty(*gates.shape[:3], size)
        cells, tanhs = torch.empty_like(states), torch.empty_like(states)
        for step in range(gates.shape[1]):
            at = gates[:, step]
            if step:
                at.copy_(torch.baddbmm(at, states[:, step - 1], turned))
            at[..., : 2 * size].sigmoid_()
            at[..., 2 * size : 3 * size].tanh_()
            at[..., 3 * size :].sigmoid_()
            add, keep, new, show = at.chunk(4, dim=-1)
            cell = add * new
            if step:
                cell.addcmul_(keep, cells[:, step - 1])
            cells[:, step] = cell
            tanhs[:, step] = cell.tanh_()
            torch.mul(show, tanhs[:, step], out=states[:, step])
        ctx.save_for_backward(gates, cells, tanhs, states, w)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gates, cells, tanhs, states, w = ctx.saved_tensors
        deltas = torch.empty_like(gates)
        by_state, by_cell = grads[0][:, -1], torch.zeros_like(cells[:, 0])
        for step in range(gates.shape[1] - 1, -1, -1):
            add, keep, new, show = gates[:, step].chunk(4, dim=-1)
            d_add, d_keep, d_new, d_show = deltas[:, step].chunk(4, dim=-1)
            tanh = tanhs[:, step]
            by_cell = by_cell + by_state * show * (1 - tanh * tanh)
            torch.mul(by_state * tanh, show * (1 - show), out=d_show)
            torch.mul(by_cell * new, add * (1 - add), out=d_add)
            torch.mul(by_cell * add, 1 - new * new, out=d_new)
            if step == 0:
                d_keep.zero_()
                break
            torch.mul(by_cell * cells[:, step - 1], keep * (1 - keep), out=d_keep)
            by_cell = by_cell * keep
            by_state = torch.baddbmm(grads[0][:, step - 1], deltas[:, step], w)
        return deltas, _by_weights(deltas, _before(states))


class _GRU(Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, w: Tensor, b: Tensor) -> Tensor:
        size, turned = w.shape[-1], w.mT
        kept = torch.empty_like(gates)  # reset, update, new
        inner = gates.new_empty(*gates.shape[:3], size)  # what the reset gate weighs
        states = torch.empty_like(inner)
        for step in range(gates.shape[1]):
            at, seen = kept[:, step], gates[:, step]
            if step:
                by_state = torch.baddbmm(b[:, None], states[:, step - 1], turned)
            else:
                by_state = b[:, None].expand(-1, gates.shape[2], -1)
            two = at[..., : 2 * size]
            torch.add(seen[..., : 2 * size], by_state[..., : 2 * size], out=two).sigmoid_()
            inner[:, step] = by_state[..., 2 * size :]
            reset, update, new = at.chunk(3, dim=-1)
            torch.addcmul(seen[..., 2 * size :], reset, inner[:, step], out=new).tanh_()
            if step:
                torch.lerp(new, states[:, step - 1], update, out=states[:, step])
            else:
                torch.mul(new, 1 - update, out=states[:, step])
        ctx.save_for_backward(kept, inner, states, w)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept, inner, states, w = ctx.saved_tensors
        size = w.shape[-1]
        before = _before(states)
        deltas = torch.empty_like(kept)  # by the gates as they were projected
        by_product = torch.empty_like(kept)  # by what the state gave to them
        by_state = grads[0][:, -1]
        for step in range(kept.shape[1] - 1, -1, -1):
            reset, update, new = kept[:, step].chunk(3, dim=-1)
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
