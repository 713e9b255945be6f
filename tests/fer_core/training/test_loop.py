import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fer_core.config import OPTIMIZERS, SCHEDULES, Config, OptimizerConfig, StreamConfig
from fer_core.models.network import Network, StreamInput
from fer_core.training import loop, optimizer
from fer_core.training.fits import Fit, OneFit

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 40)
FRAMES = torch.from_numpy((RNG.normal(size=(40, 3, 4)) + 2 * LABELS[:, None, None]).astype("f4"))
ROWS = np.arange(40)
FROZEN = StreamConfig(backbone="dlib_resnet", weights="package", blocks=1, freeze_depth=1)


def batches(rows, _generator):
    return [FRAMES[torch.from_numpy(rows)]]


def network(voting="mean_probability"):
    torch.manual_seed(0)
    config = Config(streams=(FROZEN,), voting=voting)
    return Network(config, [StreamInput(FRAMES[:1], nn.ModuleList())], ("a", "b"))


def config(name="adamw", lr=0.05, epochs=10, **choices):
    return OptimizerConfig(name=name, lr=lr, epochs=epochs, batch_clips=8, **choices)


def epochs_of(*given, **options):
    """Train, and give the loss of each epoch that is asked for."""
    return iter(loop.Training(*given, **options).epoch, None)


def weights(model):
    return torch.cat([p.flatten() for p in model.parameters()])


def accuracy(model):
    scores = loop.predict(model, batches, ROWS, batch_clips=16)
    return (scores.mean(axis=1).argmax(axis=1) == LABELS).mean()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_what_can_be_learned(name, schedule):
    model = network()
    chosen = config(name, schedule=schedule, label_smoothing=0.1, class_weights=True)

    losses = list(epochs_of(model, batches, LABELS, ROWS, chosen, order=0))

    assert losses[-1] < losses[0]
    assert accuracy(model) > 0.9


def test_a_seed_repeats_training_to_the_last_bit():
    first, again = network(), network()

    losses = list(epochs_of(first, batches, LABELS, ROWS, config(), order=3))

    assert losses == list(epochs_of(again, batches, LABELS, ROWS, config(), order=3))
    assert torch.equal(weights(first), weights(again))


def test_clips_that_do_not_train_change_nothing():
    train, altered = ROWS[:30], LABELS.copy()
    altered[30:] = 1 - altered[30:]
    first, again = network(), network()

    list(epochs_of(first, batches, LABELS, train, config(class_weights=True), order=0))
    list(epochs_of(again, batches, altered, train, config(class_weights=True), order=0))

    assert torch.equal(weights(first), weights(again))


def test_whoever_loops_over_training_may_stop_it():
    epochs = epochs_of(network(), batches, LABELS, ROWS, config(epochs=1_000_000), order=0)

    assert len([next(epochs) for _ in range(2)]) == 2


def test_a_loss_that_is_no_number_ends_training_with_advice():
    with pytest.raises(loop.DivergedError, match="lower optimizer"):
        list(epochs_of(network(), batches, LABELS, ROWS, config("sgd", lr=1e30), order=0))


def test_probabilities_of_clips_seen_whole_have_one_frame():
    scores = loop.predict(network("attention"), batches, ROWS, batch_clips=16)

    assert scores.shape == (40, 1, 2)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)


def test_patience_ends_training_and_keeps_what_did_best_on_the_clips_held_back():
    noise = RNG.permutation(LABELS)  # what is learned of it does not carry over
    model = network()
    chosen = config(lr=0.5, epochs=200, patience=3)
    fit = epochs_of(model, batches, noise, ROWS[:30], chosen, order=0, held_out=ROWS[30:])

    def held_out_loss():
        scores = torch.from_numpy(loop.predict(model, batches, ROWS[30:], batch_clips=16))
        wanted = torch.from_numpy(noise[30:])[:, None, None].expand(-1, 3, 1)
        return float(-scores.gather(2, wanted).log().mean())

    seen = [held_out_loss() for _ in fit]

    assert len(seen) < 200
    assert held_out_loss() == pytest.approx(min(seen), rel=1e-5)
    assert np.argmin(seen) == len(seen) - 1 - 3


def test_a_fit_that_patience_lets_end_keeps_what_did_best_too():
    noise = RNG.permutation(LABELS)
    model, chosen = network(), config(lr=0.5, epochs=40, patience=40)
    fit = Fit(
        network=model,
        batches=batches,
        labels=noise,
        rows=ROWS[:30],
        config=chosen,
        seed=0,
        order=0,
        data="",
        held_out=ROWS[30:],
    )
    group, seen = OneFit(fit), []

    for _ in range(40):
        group.epoch()
        seen.append(weights(model).clone())

    whole = network()
    best = []
    for _ in epochs_of(whole, batches, noise, ROWS[:30], chosen, order=0, held_out=ROWS[30:]):
        best.append(weights(whole).clone())
    assert torch.equal(seen[-1], weights(whole))
    assert any(torch.equal(seen[-1], each) for each in best[:-1])


def test_a_plateau_lowers_the_rate_and_a_cosine_ends_at_none():
    def rates(schedule, losses):
        made = optimizer.build(network(), config(schedule=schedule))
        plan = optimizer.Schedule(made, config(schedule=schedule), steps=len(losses))
        for loss in losses:
            made.step()
            plan.step()
            plan.epoch(loss)
        return made.param_groups[0]["lr"]

    assert rates("constant", [1.0] * 20) == 0.05
    assert rates("cosine", [1.0] * 20) == pytest.approx(0, abs=1e-12)
    assert rates("plateau", [1.0] * 20) < 0.05
    assert rates("plateau", list(np.linspace(1, 0.1, 20))) == 0.05


def test_a_plateau_watches_the_clips_held_out_and_keeps_the_last_weights():
    noise = RNG.permutation(LABELS)  # what is learned of it does not carry over
    chosen = config(lr=0.01, epochs=30, schedule="plateau")

    def trained(held_out):
        model, before = network(), None
        training = loop.Training(
            model, batches, noise, ROWS[:30], chosen, order=0, held_out=held_out
        )
        for _ in range(chosen.epochs):
            before = weights(model).clone()
            training.epoch()
        rate = training.state()["optimizer"]["param_groups"][0]["lr"]
        return rate, float((weights(model) - before).detach().abs().max())

    rate, last_change = trained(ROWS[30:])

    assert rate < 0.01
    assert trained(None)[0] == 0.01  # the training loss still falls
    assert 0 < last_change < 0.01


def test_unfrozen_blocks_have_a_rate_of_their_own():
    blocks = nn.ModuleList([nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)])
    stream = StreamConfig(
        backbone="dlib_resnet", weights="random", blocks=2, freeze_depth=0, pooling="avg"
    )
    sample = torch.zeros(1, 3, 3, 4, 4)
    model = Network(Config(streams=(stream,)), [StreamInput(sample, blocks, 1)], ("a", "b"))

    made = optimizer.build(model, config(lr=0.1, backbone_lr=0.01))

    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    assert id(blocks[0].weight) not in rates
    assert rates[id(blocks[1].weight)] == pytest.approx(0.001)
    assert rates[id(model.shared.classifier[1].weight)] == 0.1


def test_with_class_weights_a_rare_class_counts_as_much_as_a_frequent_one():
    labels = torch.tensor([0] * 9 + [1])

    each = optimizer.class_weights(labels, 2)

    assert 9 * each[0] == pytest.approx(float(each[1]))
    assert float(each[labels].mean()) == pytest.approx(1)
    assert optimizer.class_weights(labels, 3).tolist() == pytest.approx([*each.tolist(), 0])


@given(st.integers(2, 40), st.integers(2, 9))
def test_no_batch_is_of_one_clip(clips, batch_clips):
    sizes = []

    def counted(rows, generator):
        sizes.append(len(rows))
        return batches(rows, generator)

    chosen = OptimizerConfig(epochs=1, batch_clips=batch_clips)
    list(epochs_of(network(), counted, LABELS, ROWS[:clips], chosen, order=0))

    assert min(sizes) >= 2
    assert sum(sizes) == clips
    assert max(sizes) <= max(batch_clips, 3)


def test_mixed_precision_is_left_out_where_the_device_has_none():
    with optimizer.mixed(torch.device("cpu"), wanted=True):
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype == torch.float32
