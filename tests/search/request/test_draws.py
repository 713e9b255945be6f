"""The space of a study that goes on is held against what the study drew before."""

import optuna
import pytest

from fer_core.errors import ConfigError
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.request.draws import check_ranges
from search.study.journal import Journal
from search.study.journal_backends import file_storage, past_trials

SPACE = """
    from fer_core.config import Config, OptimizerConfig, StreamConfig


    def space(trial):
        stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
        optimizer = OptimizerConfig(
            name=trial.suggest_categorical("optimizer", ["sgd", "adamw"]),
            lr=trial.suggest_float("lr", 1e-4, 1e-2, log=True),
            epochs=trial.suggest_int("epochs", 2, 8, step=2),
        )
        return Config(streams=(stream,), optimizer=optimizer)
    """


@pytest.fixture
def started(folder, write_space):
    """A study whose journal has three trials."""
    space = spaces.load(write_space(SPACE))
    journal = Journal(folder, file_storage(folder), Draws(seed=0))
    for _ in range(3):
        journal.draw(journal.ask(), space)
    journal.sync()
    return folder


def test_the_space_that_the_study_began_with_passes(started, write_space):
    check_ranges(spaces.load(write_space(SPACE)), started, seed=0)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ("1e-4, 1e-2", "1e-4, 1e-1", "'lr' has the range 0.0001 to 0.1 .* 0.0001 to 0.01"),
        ("1e-2, log=True", "1e-2", "'lr' has the range 0.0001 to 0.01, .* 0.0001 to 0.01 .log."),
        ('["sgd", "adamw"]', '["adamw", "sgd"]', r"'optimizer' has the range \['adamw', 'sgd'\]"),
        ('["sgd", "adamw"]', '["sgd"]', r"range \['sgd'\], .* from \['sgd', 'adamw'\]"),
        ("2, 8, step=2", "2, 8, step=3", "2 to 8 in steps of 3, .* from 2 to 8 in steps of 2"),
        ("2, 8, step=2", "2, 6, step=2", "'epochs' has the range 2 to 6 in steps of 2, .* 2 to 8"),
    ],
)
def test_a_parameter_with_another_range_is_named_with_both_ranges(
    started, write_space, before, now, message
):
    assert before in SPACE
    changed = spaces.load(write_space(SPACE.replace(before, now)))

    with pytest.raises(ConfigError, match=message) as error:
        check_ranges(changed, started, seed=0)

    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_a_parameter_that_is_new_or_gone_is_no_change_of_a_range(started, write_space):
    fewer = SPACE.replace('trial.suggest_int("epochs", 2, 8, step=2)', "4")

    check_ranges(spaces.load(write_space(fewer)), started, seed=0)


def test_looking_at_a_journal_changes_nothing_and_none_is_made(started, tmp_path):
    content = started.journal.read_bytes()
    started.journal.write_bytes(content + b'{"torn')

    assert len(past_trials(started)) == 3
    assert started.journal.read_bytes() == content + b'{"torn'

    started.journal.unlink()
    assert past_trials(started) == []
    assert not started.journal.exists()


def test_a_journal_in_s3_is_looked_at_without_a_new_term(bucket, write_space):
    from search.study.folder import Folder

    folder, space = Folder(bucket / "studies" / "toy"), spaces.load(write_space(SPACE))
    journal = Journal(folder, file_storage(folder), Draws(seed=0))
    journal.draw(journal.ask(), space)
    journal.sync()

    found = past_trials(folder)

    assert [trial.state for trial in found] == [optuna.trial.TrialState.RUNNING]
    journal.draw(journal.ask(), space)
    journal.sync()  # the driver goes on undisturbed
    assert len(past_trials(folder)) == 2
