import optuna
import pytest

from search.drawing import sampling
from search.drawing.sampling import BEST, MODELLED, BoundedTPE


def objective(trial):
    kind = trial.suggest_categorical("kind", ["a", "b"])
    x = trial.suggest_float("x", -1.0, 1.0)
    if kind == "a":
        return -(x**2) + 0.1 * trial.suggest_float("a.y", 0.0, 1.0)
    return -abs(x) - 0.2


@pytest.fixture
def make_study():
    def make(trials):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        for number in range(trials):
            study.sampler = optuna.samplers.RandomSampler(seed=number)
            trial = study.ask()
            value = objective(trial)
            trial.report(value, 1 + number % 5)
            pruned = number % 5 < 3
            state = optuna.trial.TrialState.PRUNED if pruned else None
            study.tell(trial, None if pruned else value, state=state)
        return study

    return make


def draws(study, make_sampler):
    found = []
    for seed in range(8):
        study.sampler = make_sampler(seed=seed)
        trial = study.ask()
        objective(trial)
        found.append(trial.params)
    return found


def test_until_it_has_too_many_trials_it_draws_as_optunas_own(make_study):
    bounded, own = make_study(40), make_study(40)

    assert draws(bounded, BoundedTPE) == draws(own, optuna.samplers.TPESampler)


def test_of_many_trials_it_sees_the_best_and_the_latest(make_study):
    study = make_study(MODELLED + 100)
    running = study.ask().number

    seen = sampling._BoundedStudy(study).get_trials(deepcopy=False)

    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    best = {t.number for t in sorted(complete, key=lambda t: -t.value)[:BEST]}
    assert len(seen) == MODELLED + 1
    assert best <= {trial.number for trial in seen}
    assert {trial.number for trial in seen} >= {running, *range(running - 200, running)}


def test_it_finds_what_a_random_search_does_not():
    def best(make_sampler):
        scores = []
        for seed in range(6):
            study = optuna.create_study(direction="maximize")
            for number in range(60):
                study.sampler = make_sampler(seed=1000 * seed + number)
                trial = study.ask()
                study.tell(trial, objective(trial))
            scores.append(study.best_value)
        return sum(scores) / len(scores)

    assert best(BoundedTPE) > best(optuna.samplers.RandomSampler)
