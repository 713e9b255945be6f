"""Stacked members train as each would alone, except for the last bits."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from fer_core.config import OPTIMIZERS, SCHEDULES, HeadConfig, OptimizerConfig
from fer_core.storage.store import Store
from fer_core.training.fits import Fit, OneFit
from fer_core.training.stacking import stack
from fer_core.training.stacking.calibration import Widths
from fer_core.training.stacking.forward import logits, stacked_parameters
from fer_core.training.stacking.stack import Stack
from fer_core.trial.packing import stackable
from tests.fer_core.models import parts

STACKABLE = {name: config for name, config in parts.PARTS.items() if stackable(config)}
CLIPS, FRAMES, EPOCHS = 30, 4, 3
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, len(parts.CLASSES), CLIPS)
RATES = (3e-3, 1e-2, 3e-2, 1e-1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fit(config, member, *, rows=None, seeded=None, **choices):
    """Give a member its network, and data that members of the same rows share."""
    made = parts.built(config, clips=CLIPS, seed=member)
    torch.manual_seed(7)
    tables = [torch.randn(each.shape) for each in made.given]
    common = {"lr": RATES[member % 4], "epochs": EPOCHS, "batch_clips": 8, "weight_decay": 1e-2}
    return Fit(
        network=made.network,
        batches=lambda at, _: [table[torch.from_numpy(at)] for table in tables],
        labels=LABELS,
        rows=np.arange(CLIPS) if rows is None else rows,
        config=OptimizerConfig(**common | choices),
        seed=member,
        order=seeded or 0,
        data="one",
    )


def alone(one):
    group = OneFit(one)
    return [group.epoch()[0] for _ in range(one.config.epochs)]


def trained(fits, epochs=EPOCHS):
    """Train a stack: the losses of each member."""
    group = Stack(fits, Widths(None, torch.device("cpu")))
    losses = [group.epoch() for _ in range(epochs)]
    group.make_ready()
    return [list(each) for each in zip(*losses, strict=True)]


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize("name", STACKABLE)
def test_stacked_networks_give_the_logits_of_each(name):
    members = [parts.built(STACKABLE[name], clips=3, seed=seed) for seed in range(3)]
    given = [torch.stack(each) for each in zip(*(m.given for m in members), strict=True)]

    scores = logits(
        members[0].network, stacked_parameters([m.network for m in members]), given, lambda _, x: x
    )

    for member, own in zip(members, scores, strict=True):
        torch.testing.assert_close(own, member.logits(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "dropout"),
    [
        pytest.param("adam", 0.0, marks=pytest.mark.slow),
        ("adamw", 0.3),
        pytest.param("sgd", 0.0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", STACKABLE)
def test_stacked_members_train_as_torchs_own_layers_and_optimizer_do(name, optimizer, dropout):
    config = replace(STACKABLE[name], head=replace(STACKABLE[name].head, dropout=dropout))
    choices = {"name": optimizer, "weight_decay": 0.1}
    ours = [fit(config, member, **choices) for member in range(3)]
    theirs = [fit(config, member, **choices) for member in range(3)]

    together = trained(ours)

    for mine, own, losses in zip(ours, theirs, together, strict=True):
        np.testing.assert_allclose(losses, alone(own), atol=1e-5)
        torch.testing.assert_close(weights(mine.network), weights(own.network), atol=1e-4, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_member_has_the_rate_decay_and_loss_that_its_config_says(name, schedule):
    choices = {"name": name, "schedule": schedule, "epochs": 8}
    unlike = [
        {"label_smoothing": 0.1},
        {"class_weights": True, "weight_decay": 0.3},
        {"class_weights": True, "label_smoothing": 0.2, "weight_decay": 0.0},
    ]
    config = STACKABLE["2 fc layers"]
    ours, theirs = (
        [fit(config, i, **choices | each) for i, each in enumerate(unlike)] for _ in range(2)
    )

    together = trained(ours, epochs=8)

    for own, losses in zip(theirs, together, strict=True):
        np.testing.assert_allclose(losses, alone(own), atol=1e-5)


def test_a_stack_watches_the_clips_that_each_member_holds_out():
    config, noise = STACKABLE["2 fc layers"], {"lr": 0.03, "class_weights": True}
    held_out = [np.arange(20, 30), np.arange(0, 11), np.arange(20, 30)]
    ours, theirs = (
        [
            replace(
                fit(
                    config,
                    member,
                    rows=np.setdiff1d(np.arange(CLIPS), watched),
                    schedule="plateau",
                    epochs=16,
                    **noise,
                ),
                held_out=watched,
            )
            for member, watched in enumerate(held_out)
        ]
        for _ in range(2)
    )
    watching_none = replace(fit(config, 0, rows=ours[0].rows, schedule="plateau", epochs=16))

    together = trained(ours, epochs=16)

    for own, losses in zip(theirs, together, strict=True):
        np.testing.assert_allclose(losses, alone(own), atol=1e-4)
    assert np.abs(np.subtract(together[0], alone(watching_none))).max() > 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stack_that_gets_more_epochs_goes_on_as_each_member_would_alone(schedule):
    config, choices = STACKABLE["2 fc layers"], {"schedule": schedule, "epochs": 4}
    ours, theirs = ([fit(config, i, **choices) for i in range(3)] for _ in range(2))

    def longer(group):
        losses = [group.epoch() for _ in range(4)]
        group.extend(6)
        return np.array([*losses, *(group.epoch() for _ in range(6))])

    together = longer(Stack(ours, Widths(None, torch.device("cpu"))))

    alone = np.concatenate([longer(OneFit(each)) for each in theirs], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert np.abs(np.diff(together[3:6], axis=0)).min() > 1e-5  # the rate was set back from zero


@settings(max_examples=12, deadline=None)
@drawn(
    name=st.sampled_from(sorted(STACKABLE)),
    company=st.integers(1, 5),
    dropout=st.sampled_from([0.0, 0.3]),
    optimizer=st.sampled_from(OPTIMIZERS),
)
def test_a_member_becomes_the_same_whoever_trains_beside_it(name, company, dropout, optimizer):
    config = replace(STACKABLE[name], head=replace(STACKABLE[name].head, dropout=dropout))
    rows = [np.arange(CLIPS), np.arange(CLIPS - 2), np.arange(1, CLIPS)]

    def member(i):
        return fit(config, i, rows=rows[i % 3], seeded=i % 2, name=optimizer)

    together = [member(i) for i in range(company + 1)]
    lonely = member(company)

    losses = trained(together)

    np.testing.assert_allclose(trained([lonely])[0], losses[company], atol=1e-5)
    torch.testing.assert_close(
        weights(lonely.network), weights(together[company].network), atol=1e-4, rtol=0
    )


def test_the_same_pack_becomes_the_same_to_the_last_bit(tmp_path):
    config = replace(STACKABLE["cell gru"], head=HeadConfig(fc_layers=1, dropout=0.5))
    once, again = ([fit(config, i, seeded=i % 2) for i in range(5)] for _ in range(2))

    for fits in (once, again):
        group = Stack(fits, Widths(Store(tmp_path), torch.device("cpu")))
        group.epoch()
        group.make_ready()

    for first, second in zip(once, again, strict=True):
        assert torch.equal(weights(first.network), weights(second.network))


def test_members_that_leave_change_nothing_for_those_that_stay():
    config = replace(STACKABLE["2 fc layers"], head=HeadConfig(fc_layers=2, dropout=0.5))
    raced, whole = ([fit(config, i, seeded=i % 2) for i in range(4)] for _ in range(2))
    group = Stack(raced, Widths(None, torch.device("cpu")))

    group.epoch()
    group.drop({0, 2})
    last = [group.epoch() for _ in range(EPOCHS - 1)][-1]
    group.make_ready()

    undisturbed = trained(whole)
    np.testing.assert_allclose(last, [undisturbed[i][-1] for i in (1, 3)], atol=1e-5)
    torch.testing.assert_close(weights(raced[1].network), weights(whole[1].network))


def test_a_member_that_diverges_does_so_alone():
    config = STACKABLE["2 fc layers"]
    lr = (1e30, 1e-3)

    losses = trained([fit(config, i, name="sgd", lr=lr[i]) for i in range(2)])

    assert not np.isfinite(losses[0][-1])
    assert np.isfinite(losses[1]).all()


def test_dropout_drops_the_share_that_it_should():
    masks = stack.DropoutMasks({"layer": [0.3, 0.0]}, [0, 1])

    dropped = masks.for_batch([0, 1], [500, 400])("layer", torch.ones(2, 500, 100))

    assert (dropped[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped[0].mean().item() == pytest.approx(1.0, abs=0.01)
    assert (dropped[1] == 1).all()


def test_a_width_is_timed_once_for_a_shape_and_kept_in_the_store(tmp_path):
    cpu, tried = torch.device("cpu"), []
    slow_when_wide = lambda width: (tried.append(width), time.sleep(0.002 * (width or 9)))  # noqa: E731

    first = Widths(Store(tmp_path), cpu).fastest("shape", 4, slow_when_wide)
    again = Widths(Store(tmp_path), cpu).fastest("shape", 4, slow_when_wide)

    assert first == again == 1
    assert set(tried) == {0, 1, 2, 4}
    assert len(tried) == 2 * 6 * 4
