from dataclasses import replace
from pathlib import Path

from fer_core.data import protocol
from fer_core.data.manifest import Clip, build
from search.screen import sides


def manifest(subjects, clips=2):
    rows = [
        Clip(
            clip=f"{s}/{emotion}{k}",
            subject=f"s{s:02d}",
            emotion=emotion,
            authenticity=None,
            path=Path(f"{s}/{emotion}{k}.mp4"),
            sha256=f"{s}-{emotion}-{k}",
        )
        for s in range(subjects)
        for emotion in ("anger", "joy")
        for k in range(clips)
    ]
    return build("folder", Path(), rows)


def split(data):
    subjects, labels = [c.subject for c in data.clips], [c.emotion for c in data.clips]
    return protocol.sealed_and_folds(subjects, labels)


def test_each_side_is_told_with_its_subjects_clips_and_classes():
    data = manifest(25)

    assert sides.lines(split(data), data, "emotion") == [
        "sealed: 5 subjects, 20 clips (anger 10, joy 10)",
        *(f"fold {i}: 4 subjects, 16 clips (anger 8, joy 8)" for i in range(1, 6)),
    ]


def test_fewer_than_five_sealed_subjects_are_said_to_be_few():
    data = manifest(14)

    last = sides.lines(split(data), data, "emotion")[-1]

    assert last == "only 3 subjects of 14 are sealed: the final test will be uncertain"


def test_many_folds_share_a_line():
    data = manifest(40)

    assert sides.lines(protocol.leave_one_out(data), data, "emotion") == [
        "40 folds: 1 subject and 4 clips each"
    ]


def test_people_with_several_clips_need_no_warning():
    assert sides.about_subjects(manifest(12)) == []


def test_where_each_clip_is_its_own_subject_the_split_is_said_to_be_by_clip():
    data = manifest(12)
    alone = build("folder", Path(), [replace(clip, subject=clip.clip) for clip in data.clips])

    (line,) = sides.about_subjects(alone)

    assert line == (
        "by-clip, not subject-independent: 100% of the clips are the only one of their subject, so "
        "one person may be on several sides"
    )


def test_subjects_with_nearly_one_name_are_named():
    data = manifest(12)
    spelled = {"s03": "Subj3", "s04": "subj3"}
    clips = [replace(c, subject=spelled.get(c.subject, c.subject)) for c in data.clips]

    (line,) = sides.about_subjects(build("folder", Path(), clips))

    assert line.startswith("subjects 'Subj3' and 'subj3' have nearly the same name")
