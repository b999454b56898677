"""Pages under docs/ that are written from measurements say what was measured."""

import pathlib

import pytest

from benchmarks import performance, results, scale

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def test_the_performance_page_is_that_of_its_files(tmp_path):
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == performance.page(DOCS)
    assert performance.page(tmp_path).count(performance.MISSING) == len(performance.SECTIONS)


def test_the_scale_page_is_that_of_its_files(tmp_path):
    assert (DOCS / "scale.md").read_text(encoding="utf-8") == scale.page(DOCS)
    with pytest.raises(ValueError, match="dome_speed"):
        scale.page(tmp_path)


def test_amounts_keep_their_value_and_take_the_largest_unit_that_fits():
    days = [(86400, "d"), (3600, "h"), (1, "s")]
    assert [scale.amount(value, days) for value in (172800, 5400, 0.5)] == ["2 d", "1.5 h", "0.5 s"]
    assert scale.amount(86400 * 4321, days) == "4,321 d" and scale.amount(86400 * 999.7, days) == "1,000 d"


def test_the_newest_line_that_will_do_counts(tmp_path, capsys):
    for value in (1, 2, 3):
        results.publish({"value": value}, [], tmp_path / "some.jsonl")
    assert results.newest(tmp_path / "some.jsonl", lambda head: head["value"] < 3)["headline"] == {"value": 2}
    assert results.newest(tmp_path / "none.jsonl") is None
    assert capsys.readouterr().out.splitlines()[-1] == '{"value": 3}'
