"""What is found of rows: in pairs on one dataset, and by ranks across several."""

import pytest

from fer_core.errors import FerError
from search.comparison import latex, tabarena, tables
from search.comparison.comparison import compare
from search.comparison.diagram import check_format, draw
from search.comparison.scored_rows import read

DATASETS = ("ck_plus", "mmi", "jaffe", "oulu_casia", "kdef", "sase_fe")


@pytest.fixture
def pairs(write_study, studies):
    """Three rows of a study, of which the first is much the best."""
    write_study("one", {0: 0.95, 1: 0.5, 2: 0.5}, sealed=(0, 1))
    return compare(read(["a_b=one/0", "one/1", "one/2"], studies, sealed=False), side="val")


@pytest.fixture
def across(write_study, studies):
    """Three methods on six datasets."""
    for dataset in DATASETS:
        write_study(dataset, {0: 0.95, 1: 0.7, 2: 0.5}, dataset=dataset)
    names = [f"{m}={d}/{i}" for d in DATASETS for i, m in enumerate(("best", "good", "poor"))]
    return compare(read(names, studies, sealed=False), side="val")


def said_of(found):
    return " ".join(" ".join(tables.explained(found)).split())


def test_each_pair_of_rows_has_three_tests_corrected_for_all_pairs(pairs):
    (found,) = pairs.datasets

    assert (found.subjects, found.clips, len(found.rows[0].fold_uars)) == (9, 54, 3)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("a_b", "geometry+lstm"),
        ("a_b", "geometry+gru"),
        ("geometry+lstm", "geometry+gru"),
    ]
    uars = {row.method: row.uar for row in found.rows}
    for pair in found.pairs:
        assert pair.difference == pytest.approx(uars[pair.first] - uars[pair.second])
        for kind in ("subjects", "clips", "folds"):
            assert getattr(pair, f"p_{kind}") <= getattr(pair, f"p_{kind}_holm") <= 1
    assert found.pairs[0].low > 0
    assert found.pairs[0].p_subjects_holm < 0.05 < found.pairs[2].p_subjects_holm


def test_a_sealed_test_is_compared_without_folds(write_study, studies):
    write_study("one", {0: 0.95, 1: 0.5}, sealed=(0, 1))

    found = compare(read(["one/0", "one/1"], studies, sealed=True), side="test")

    (pair,) = found.datasets[0].pairs
    assert (pair.p_folds, pair.p_folds_holm) == (None, None)
    assert "test_uar [95 %]" in tables.of(found)[0].headings
    assert "to choose a row by it" in said_of(found)


def test_two_subjects_have_no_interval_and_the_table_says_why(write_study, studies):
    write_study("one", {0: 0.95, 1: 0.5}, sealed=(0, 1), subjects=2)

    found = compare(read(["one/0", "one/1"], studies, sealed=True), side="test")

    (pair,) = found.datasets[0].pairs
    assert (pair.low, pair.p_subjects, pair.p_subjects_holm) == (None, None, None)
    assert "these need 3 subjects" in said_of(found)


def test_methods_are_ranked_across_datasets(across):
    found = across.across

    assert found.methods == ("best", "good", "poor")
    assert found.datasets == DATASETS
    assert found.mean_ranks[0] < found.mean_ranks[1] < found.mean_ranks[2]
    assert found.friedman.p < 0.05
    assert (found.pairs[0].first, found.pairs[0].wins) == ("best", 6)
    assert len(across.datasets) == 6
    table, _ = tables.of(across)
    assert table.headings == ("dataset", "best", "good", "poor")
    assert table.rows[-1] == ("mean rank", *(f"{rank:.2f}" for rank in found.mean_ranks))
    assert "and 0.094 corrected for 3 pairs" in said_of(across)


def test_a_method_that_lacks_a_row_is_named(write_study, studies):
    write_study("one", {0: 0.9, 1: 0.9})
    write_study("two", {0: 0.9}, dataset="mmi")
    rows = read(["one/0", "one/1", "two/0"], studies, sealed=False)

    with pytest.raises(FerError, match=r"method geometry\+lstm has no row on mmi"):
        compare(rows, side="val")


def test_a_single_row_or_a_single_method_has_nothing_to_compare_with(write_study, studies):
    write_study("one", {0: 0.9})
    write_study("two", {0: 0.9}, dataset="mmi")

    with pytest.raises(FerError, match="two rows or more"):
        compare(read(["one/0"], studies, sealed=False), side="val")
    with pytest.raises(FerError, match=r"all rows are of the method geometry\+gru"):
        compare(read(["one/0", "two/0"], studies, sealed=False), side="val")


def test_with_two_datasets_the_table_says_that_nothing_can_be_significant(write_study, studies):
    write_study("one", {0: 0.9, 1: 0.5})
    write_study("two", {0: 0.9, 1: 0.5}, dataset="mmi")
    rows = read(["one/0", "one/1", "two/0", "two/1"], studies, sealed=False)

    found = compare(rows, side="val")

    said = said_of(found)
    assert found.across.friedman is None
    assert "Friedman's test needs 3 methods and 3 datasets; there are 2 and 2." in said
    assert "with 2 datasets Wilcoxon's p is at least 0.500." in said


def test_latex_has_a_booktabs_table_with_all_signs_escaped(pairs):
    text = latex.text(tables.of(pairs), tables.explained(pairs))

    code = [line for line in text.splitlines() if not line.startswith("%")]
    assert code.count(r"\toprule") == code.count(r"\bottomrule") == 2
    assert any(line.startswith(r"a\_b & one/0 & 0.") for line in code)
    assert any(line.startswith(r"a\_b $-$ geometry+lstm & +0.") for line in code)
    for line in code:
        assert not {"_", "%"} & set(line.replace(r"\_", "").replace(r"\%", ""))
        assert "<" not in line.replace("$<$", "")
        if line.endswith(r"\\"):
            assert line.count("&") in (2, 4)


def test_tabarena_has_the_error_of_each_fold(across):
    lines = tabarena.text(across).splitlines()

    assert lines[0] == "method,task,seed,error"
    assert len(lines) == 1 + 6 * 3 * 3
    method, task, seed, error = lines[2].split(",")
    assert (method, task, seed) == ("best", "ck_plus/emotion", "1")
    assert float(error) == pytest.approx(1 - across.datasets[0].rows[0].fold_uars[1])


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_diagram_names_each_method(across, tmp_path, ending):
    file = tmp_path / f"ranks.{ending}"

    draw(across.across, file)

    assert file.read_bytes()[:4] in (b"<?xm", b"\x89PNG", b"%PDF")
    if ending == "svg":  # Matplotlib notes each text in a comment
        text = file.read_text()
        assert all(f"<!-- {name}" in text or f"{name} -->" in text for name in ("best", "poor"))


def test_a_diagram_of_another_ending_is_refused(tmp_path):
    with pytest.raises(FerError, match=r"ranks.jpg: a diagram ends in svg, png, pdf"):
        check_format(tmp_path / "ranks.jpg")
