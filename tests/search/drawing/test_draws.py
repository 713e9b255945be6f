from collections import Counter

import pytest
from optuna.trial import TrialState

from fer_core.errors import ConfigError
from search.drawing import space as spaces
from search.drawing.draws import MOST_REDRAWS, Draws, foreseen
from search.drawing.redraws import Reasons, RedrawnError
from search.drawing.suited import suited
from search.study.folder import Folder
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.queue import QueuedTrial

MANY = """
    from fer_core.config import Config, ConfigError, GeometryConfig, OptimizerConfig


    def space(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        if trial.suggest_categorical("odd", [False, True]):
            raise ConfigError("odd is True; it must be False.")
        return Config(streams=(GeometryConfig(),), optimizer=OptimizerConfig(lr=lr))
    """


@pytest.fixture
def many(write_space):
    """A space of endless configs; half of its draws are refused."""
    return spaces.load(write_space(MANY))


def journal_of(folder, space):
    return Journal(folder, file_storage(folder), Draws(seed=0, first=space.first))


def drive(journal, space, make_result, *, trials):
    """Draw and finish trials until there are so many; return the redrawn ones."""
    redrawn = []
    while journal.possible(trials - len(journal.finished_numbers())) > 0:
        trial = journal.ask()
        try:
            config = journal.draw(trial, space)
        except RedrawnError as again:
            redrawn.append(again)
            continue
        uars = (min(1.0, 50 * config.optimizer.lr),) * 2
        journal.finish(make_result(trial.number, uars=uars, config=config))
    return redrawn


def test_refused_draws_are_not_counted_and_others_take_their_place(folder, many, make_result):
    journal = journal_of(folder, many)

    redrawn = drive(journal, many, make_result, trials=20)

    assert len(journal.finished()) == 20
    assert {result.state for result in journal.finished()} == {"complete"}
    assert {again.why for again in redrawn} == {"refused"}
    assert journal.lost_numbers() == []
    assert len(list((folder.path / "parts").iterdir())) == 20
    assert journal.draws.kept == 20


def test_the_sampler_learns_to_keep_away_from_what_is_refused(folder, many, make_result):
    journal = journal_of(folder, many)

    drive(journal, many, make_result, trials=60)

    assert journal.draws.redrawn["refused"] < 30  # 60 with a sampler that draws at random


def test_all_configs_of_a_small_space_are_tried_once_and_then_the_study_ends(
    folder, few, make_result
):
    journal = journal_of(folder, few)

    drive(journal, few, make_result, trials=24)

    tried = Counter(result.config_json for result in journal.finished())
    assert (len(tried), set(tried.values())) == (5, {1})
    assert journal.draws.exhausted
    assert any("the space has 5 configs" in line for line in journal.draws.summary())


def test_an_exhausted_study_stays_exhausted_when_it_is_resumed(folder, few, make_result):
    drive(journal_of(folder, few), few, make_result, trials=24)

    again = journal_of(folder, few)
    again.reconcile()

    assert again.possible(19) == 0
    assert len(again.finished_numbers()) == 5
    assert TrialState.WAITING not in [trial.state for trial in again._study.trials]


def test_a_trial_that_was_interrupted_is_repeated_though_its_config_is_known(folder, few):
    journal = journal_of(folder, few)
    while True:
        trial = journal.ask()
        try:
            config = journal.draw(trial, few)
            break
        except RedrawnError:
            pass

    journal.interrupt(trial.number, counts=False)
    again = journal.ask()

    assert journal.draw(again, few) == config


@pytest.mark.parametrize(("kind", "trials"), [("few", 4), ("many", 12)])
def test_a_study_that_is_killed_again_and_again_draws_what_it_would_have_drawn(
    tmp_path, kind, trials, make_result, request
):
    space = request.getfixturevalue(kind)

    def tried(name, *, kills):
        (tmp_path / name).mkdir()
        folder = Folder(tmp_path / name)
        journal = journal_of(folder, space)
        while journal.possible(trials - len(journal.finished_numbers())) > 0:
            if kills:
                killed = journal.ask()  # before the space has made anything of it
                journal = journal_of(folder, space)
                journal.reconcile()
                assert killed.number < len(journal._study.trials) - 1
            trial = journal.ask()
            try:
                config = journal.draw(trial, space)
            except RedrawnError:
                continue
            if kills:
                journal = journal_of(folder, space)
                journal.reconcile()
                trial = journal.ask()
                assert journal.draw(trial, space) == config
            uars = (min(1.0, 50 * config.optimizer.lr),) * 2
            journal.finish(make_result(trial.number, uars=uars, config=config))
        return [result.config_json for result in journal.finished()]

    assert tried("killed", kills=True) == tried("whole", kills=False)


def test_a_driver_that_dies_while_it_tells_of_a_redraw_counts_nothing(folder, few):
    journal = journal_of(folder, few)
    for _ in range(9):
        trial = journal.ask()
        try:
            journal.draw(trial, few)
        except RedrawnError:
            break
    number = journal.ask().number
    journal._storage.set_trial_user_attr(journal._id(number), "redrawn", "repeated")

    again = journal_of(folder, few)
    again.reconcile()

    assert again._study.trials[number].state == TrialState.FAIL
    assert again.lost_numbers() == []
    assert not again._study.trials[number].user_attrs.get("interrupted")
    assert again.draws.redrawn["repeated"] == 1


def test_what_an_earlier_version_trained_with_other_words_is_known(
    folder, write_space, photographs, make_result
):
    """It wrote the drawn frames into the config, though photographs have one."""
    text = """
        from fer_core.config import ClipConfig, Config, GeometryConfig

        FIRST = ({"frames": 5}, {"frames": 7})

        def space(trial):
            frames = trial.suggest_int("frames", 1, 9)
            return Config(streams=(GeometryConfig(),), clip=ClipConfig(frames=frames))
        """
    space = spaces.load(write_space(text))
    earlier = Journal(folder, file_storage(folder), Draws(seed=0, first=space.first))
    trial = earlier.ask()
    earlier.finish(make_result(trial.number, config=earlier.draw(trial, space)))

    draws = Draws(seed=0, first=space.first, clip=photographs.clip)
    today = Journal(folder, file_storage(folder), draws)

    with pytest.raises(RedrawnError, match="an earlier trial has this config"):
        today.draw(today.ask(), suited(space, photographs))
    assert today.finished_numbers() == [0]


def test_a_trial_that_is_repeated_after_the_last_config_begins_no_new_search(
    folder, few, make_result
):
    journal = journal_of(folder, few)
    drive(journal, few, make_result, trials=4)
    while True:
        trial = journal.ask()
        try:
            journal.draw(trial, few)
            break
        except RedrawnError:
            pass
    for _ in range(MOST_REDRAWS):
        journal.draws.redraw("repeated")

    journal.interrupt(trial.number, counts=False)
    waiting = journal.possible(9)
    journal.draw(journal.ask(), few)

    assert (waiting, journal.possible(9)) == (1, 0)


def test_points_are_each_a_trial_though_two_are_equal(folder, write_space, make_result):
    text = """
        from fer_core.config import Config, GeometryConfig

        POINTS = ({"x": 1}, {"x": 2}, {"x": 3})

        def space(trial):
            hidden = trial.suggest_int("x", 1, 3) // 2
            return Config(streams=(GeometryConfig(hidden=hidden, dropout=0.1),))
        """
    space = spaces.load(write_space(text))
    journal = Journal(folder, file_storage(folder), Draws(seed=0, points=space.points))

    redrawn = drive(journal, space, make_result, trials=3)

    assert (redrawn, len(journal.finished())) == ([], 3)


def test_what_is_foreseen_is_what_a_study_starts_with(folder, many, make_result):
    expected = foreseen(many, Draws(seed=0), count=8)

    journal = journal_of(folder, many)
    drive(journal, many, make_result, trials=8)

    assert [result.config_json for result in journal.finished()] == [
        config.to_json() for config in expected
    ]


def test_a_space_without_any_config_for_the_data_is_refused_in_one_line(write_space):
    text = """
        from fer_core.config import Config

        def space(trial):
            trial.suggest_int("x", 1, 3)
            return Config(streams=())
        """

    with pytest.raises(ConfigError, match=r"streams is \(\).* No draw of the space") as refused:
        foreseen(spaces.load(write_space(text)), Draws(seed=0), count=8)

    assert "\n" not in str(refused.value)


def test_each_reason_is_told_once_and_each_known_good_config_by_its_place():
    reasons, lines = Reasons(), []
    for listed, reason in (
        (0, "toy.py: dim is 20."),
        (1, "toy.py: dim is 30."),
        (None, "toy.py: dim is 40."),
        (None, "toy.py: odd is True with 5."),
        (None, "toy.py: odd is True with 7."),
    ):
        reasons.tell(RedrawnError("refused", reason, listed=listed), lines.append)

    assert lines == [
        "FIRST[0] is refused, and another takes its place: toy.py: dim is 20",
        "FIRST[1] is refused, and another takes its place: toy.py: dim is 30",
        "a draw is refused, and another takes its place: toy.py: odd is True with 5",
    ]


def test_a_study_without_redraws_has_nothing_to_sum_up():
    assert Draws(seed=0).summary() == []


def test_draws_are_given_up_after_so_many_in_a_row():
    draws = Draws(seed=0)

    for _ in range(MOST_REDRAWS - 1):
        draws.redraw("repeated")
    before = draws.exhausted
    draws.redraw("refused")

    assert (before, draws.exhausted) == (False, True)


def test_with_repeats_a_config_that_is_drawn_again_trains_with_the_next_seed(
    folder, few, make_result
):
    def reopened():
        return Journal(folder, file_storage(folder), Draws(seed=0, repeats=3))

    journal, queued = reopened(), []
    while journal.possible(99 - len(journal.finished_numbers())) > 0:
        trial = journal.ask()
        try:
            config = journal.draw(trial, few)
        except RedrawnError:
            continue
        if len(queued) % 4 == 3:  # it is killed, and takes its own seed again
            journal = reopened()
            journal.reconcile()
            trial = journal.ask()
            assert journal.draw(trial, few) == config
        queued.append(journal.queued_trial(trial.number, config))
        journal.finish(make_result(trial.number, config=config))

    seeds = Counter((trial.config.config_id, trial.seed_offset) for trial in queued)
    assert len(seeds) == len(queued) == 5 * 3
    assert {offset for _, offset in seeds} == {0, 1, 2}


def test_a_pack_has_one_seed(few):
    (config, *_) = foreseen(few, Draws(seed=0), count=1)

    keys = {QueuedTrial(0, config, seed_offset=offset).pack_key for offset in (0, 1)}

    assert len(keys) == 2
