"""Pages under docs/ that are written from measurements say what was measured."""

import pathlib

from benchmarks import performance

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def test_the_performance_page_is_that_of_its_files(tmp_path):
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == performance.page(DOCS)
    assert performance.page(tmp_path).count("Not measured yet") == len(performance.SECTIONS)
