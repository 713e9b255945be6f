from search.screen import grouped


def test_what_holds_for_many_is_one_line_with_a_count_and_three_of_them():
    reasons = [(f"joy/{i}.png", "no face found.") for i in range(694)]

    (line,) = grouped.lines(reasons)

    assert line == "694 clips: no face found; the first are joy/0.png, joy/1.png, joy/2.png"


def test_names_and_numbers_do_not_tell_reasons_apart():
    reasons = [
        ("a.mp4", "a face was found in 3 of 20 frames only; 50% are needed."),
        ("joy/b c.mp4", "/data/joy/b c.mp4 cannot be read: Permission denied."),
        ("d.mp4", "a face was found in 4 of 31 frames only; 50% are needed."),
        ("joy/e.mp4", "/data/joy/e.mp4 cannot be read: Permission denied."),
        ("f.mp4", "its label is 'x', which is none of joy, fear"),
        ("g.mp4", "its label is 'the y', which is none of joy, fear"),
        ("h.mp4", "its label is '', which is none of joy, fear"),
    ]

    labels, *others = grouped.lines(reasons, "files")

    assert labels == (
        "3 files: such as its label is 'x', which is none of joy, fear; they are "
        "f.mp4, g.mp4, h.mp4"
    )
    assert len(others) == 2


def test_a_single_one_keeps_its_line():
    assert list(grouped.lines([("a.png", "it is empty")])) == ["a.png: it is empty"]
    assert list(grouped.lines([])) == []
