import io

from rich.console import Console

from search.cluster.progress import Progress


def screen(progress):
    console = Console(file=io.StringIO(), width=100)
    console.print(progress)
    return console.file.getvalue()


def test_before_the_first_trial_a_terminal_shows_a_bar_of_what_is_prepared():
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True))

    empty = screen(progress)
    progress.prepared(20, 51)

    assert empty.strip() == ""
    assert "prepared 20 of 51 shards" in screen(progress)
    assert "━" in screen(progress)


def test_where_there_is_no_terminal_about_ten_lines_tell_of_it():
    console = Console(file=io.StringIO())

    progress = Progress(console=console)
    for done in range(1, 52):
        progress.prepared(done, 51)

    lines = console.file.getvalue().splitlines()
    assert lines[-1] == "prepared 51 of 51 shards"
    assert 8 <= len(lines) <= 12
