"""The pages for users: tables that agree with the measurements, links that lead somewhere, and a complete map."""

import dataclasses
import importlib
import pathlib
import re

import pytest

import hand_tf
from benchmarks import docs_tables, measurements, scale_tables
from hand_tf.core import command_line, entry_point, flagfiles

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "benchmarks" / "gpu" / "README.md"]


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", docs_tables.PAGES)
def test_the_tables_of_a_page_agree_with_the_measurements(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert docs_tables.refresh(text, DOCS) == text


def test_each_table_stands_on_one_page_once():
    names = [name for page in docs_tables.PAGES for name, _ in docs_tables.BLOCK.findall((DOCS / page).read_text())]
    assert sorted(names) == sorted(docs_tables.TABLES)


def test_refreshing_replaces_the_tables_and_nothing_else(tmp_path):
    for path in (*(DOCS / page for page in docs_tables.PAGES), *DOCS.glob("*.jsonl")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    page = tmp_path / "pretraining.md"
    fresh = page.read_text(encoding="utf-8")
    stale = fresh.replace("| mean pose |", "| something old |")
    assert stale != fresh
    page.write_text(stale, encoding="utf-8")
    assert command_line.run(docs_tables.main, [f"--docs={tmp_path}"]) == 0
    assert page.read_text(encoding="utf-8") == fresh


def test_a_table_without_a_measurement_names_the_file_and_the_command(tmp_path):
    for name in docs_tables.TABLES:
        with pytest.raises(ValueError, match=r"\.jsonl: no suitable measurement; run python -m benchmarks\.\w+"):
            docs_tables.refresh(f"<!-- table: {name} -->\n<!-- /table -->", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: nothing -->\n<!-- /table -->", "nothing: unknown"),
        ("<!-- table: build -->\n", "without its counterpart"),
        ("<!-- /table -->", "without its counterpart"),
        ("<!-- table: build -->\n<!-- table: summary -->\n<!-- /table -->\n<!-- /table -->", "counterpart"),
    ],
)
def test_markers_that_do_not_match_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        docs_tables.refresh(text, DOCS)


@pytest.mark.parametrize("name", ["inference_new", "inference_trained"])
def test_a_model_that_takes_less_time_has_the_higher_relative_speed(name):
    titles, _, *lines = docs_tables.TABLES[name](DOCS).partition("\n\n")[0].splitlines()
    titles = [title.strip() for title in titles.strip("|").split("|")]
    rows = [dict(zip(titles, map(str.strip, line.strip("|").split("|")), strict=True)) for line in lines]
    for peer in ("full", "lite"):
        (other,) = (float(row["ms"]) for row in rows if row["network"] == f"MediaPipe {peer}")
        # Not equal: the tables give the ratio of medians in one column, the median of ratios in the other.
        assert [float(row[f"speed vs. {peer}"]) for row in rows] == pytest.approx(
            [other / float(row["ms"]) for row in rows], rel=0.1
        )


def test_amounts_keep_their_value_and_take_the_largest_unit_that_fits():
    days = [(86400, "d"), (3600, "h"), (1, "s")]
    assert [scale_tables.amount(value, days) for value in (172800, 5400, 0.5)] == ["2 d", "1.5 h", "0.5 s"]
    assert scale_tables.amount(86400 * 4321, days) == "4,321 d"
    assert scale_tables.amount(86400 * 999.7, days) == "1,000 d"


def test_the_newest_suitable_line_counts(tmp_path, capsys):
    for value in (1, 2, 3):
        measurements.publish({"value": value}, [], tmp_path / "some.jsonl")
    assert measurements.newest(tmp_path, "some")["headline"] == {"value": 3}
    assert measurements.newest(tmp_path, "some", lambda head: head["value"] < 3)["headline"] == {"value": 2}
    with pytest.raises(ValueError, match=r"none\.jsonl"):
        measurements.newest(tmp_path, "none")
    assert capsys.readouterr().out.splitlines()[-1] == '{"value": 3}'


# --- links and commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_the_map_of_the_code_lists_each_module_once():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = []
    for folder, section in re.findall(r"^### `([\w/]+)/`$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL):
        listed += [f"{folder}/{name}.py" for name in re.findall(r"^- `(\w+)`: ", section, re.MULTILINE)]
    files = [path for package in ("hand_tf", "tfrecords_tools") for path in (ROOT / package).rglob("*.py")]
    modules = [str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py"]
    assert sorted(listed) == sorted(modules)


def test_the_version_to_cite_is_that_of_the_package():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", text, re.MULTILINE)[1] == hand_tf.__version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_that_pages_name_exist(page):
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":
        text = text.partition("### Migrating")[0]  # what follows names programs of older versions
    names = set(re.findall(r"\b(?:benchmarks|hand_tf|tfrecords_tools)(?:\.[a-z]\w*)+\b", text))
    for name in names - {"hand_tf.json"}:  # the description of an exported model
        path = ROOT / name.replace(".", "/")
        is_module = path.with_suffix(".py").is_file() or path.is_dir()
        is_function = name in {f"hand_tf.{function}" for function in hand_tf.__all__}
        assert is_module or is_function or path.parent.with_suffix(".py").is_file(), name


def commands_of(page):
    """(module, arguments) of each command of this project in the code blocks of a page."""
    text = re.sub(r" \\\n\s*", " ", page.read_text(encoding="utf-8"))  # continued lines
    for line in text.splitlines():
        found = re.match(r"(?:    )?(?:\w+=\S+ )?(hand-tf (\w+)|python -m ([\w.]+))(.*)", line)
        if found and not line.startswith("    # "):
            _, command, module, arguments = found.groups()
            yield entry_point.COMMANDS[command][0] if command else module, re.findall(r"--(\w+)(=\S+)?", arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_and_have_the_flags_that_pages_use(page):
    for module, arguments in commands_of(page):
        if module.split(".")[0] not in ("hand_tf", "tfrecords_tools", "benchmarks") or "gpu" in module:
            continue
        main = importlib.import_module(f"{module}.__main__" if module == "tfrecords_tools.dome" else module).main
        fields = {field.name for field in dataclasses.fields(command_line.settings_class_of(main))}
        for name, value in arguments:
            assert name in fields | {f"no{field}" for field in fields} | {"flagfile", "help", "verbose"}, (module, name)
            if name == "flagfile" and "." not in value:
                flagfiles.find_flagfile(value.removeprefix("="))
