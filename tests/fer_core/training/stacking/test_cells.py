import pytest
import torch
from torch import nn

from fer_core.training.stacking.cells import unrolled

CELLS = {"RNN_TANH": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


@pytest.fixture(params=CELLS)
def cells(request):
    """Three cells of one shape, in double precision, and their weights as one."""
    torch.manual_seed(0)
    made = [CELLS[request.param](5, 4, batch_first=True).double() for _ in range(3)]
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    stacked = [
        torch.stack([getattr(cell, name).detach() for cell in made]).requires_grad_()
        for name in names
    ]
    return request.param, made, names, stacked


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_states_are_those_of_torchs_cells(cells, steps):
    mode, made, _, stacked = cells
    x = torch.randn(3, 7, steps, 5, dtype=torch.double)

    states = unrolled(mode, x, *stacked)

    for cell, mine, frames in zip(made, states, x, strict=True):
        torch.testing.assert_close(mine, cell(frames)[0])


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_gradients_are_those_of_torchs_cells(cells, steps):
    mode, made, names, stacked = cells
    x = torch.randn(3, 7, steps, 5, dtype=torch.double, requires_grad=True)
    pull = torch.randn(3, 7, steps, 4, dtype=torch.double)

    (unrolled(mode, x, *stacked) * pull).sum().backward()

    for i, cell in enumerate(made):
        frames = x.detach()[i].requires_grad_()
        (cell(frames)[0] * pull[i]).sum().backward()
        torch.testing.assert_close(x.grad[i], frames.grad)
        for name, value in zip(names, stacked, strict=True):
            torch.testing.assert_close(value.grad[i], getattr(cell, name).grad)


def test_a_cell_computes_the_same_bits_alone_and_in_company(cells):
    mode, _, _, stacked = cells
    x = torch.randn(3, 7, 6, 5, dtype=torch.double)

    together = unrolled(mode, x, *stacked)

    for i in range(3):
        alone = unrolled(mode, x[i : i + 1], *(value[i : i + 1] for value in stacked))
        assert torch.equal(alone[0], together[i])
