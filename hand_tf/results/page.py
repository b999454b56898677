"""The report: tables, sentences and pictures, written as one HTML page and as Markdown.

In Table 1 a row is a scenario and a column is a configuration: what was trained from what. Runs that differ only in
their seeds share a cell, as mean ± standard deviation (number of runs).
"""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import jinja2

from hand_tf.core import atomic, folder_lock
from hand_tf.data import scenarios
from hand_tf.results import charts, configurations, notes, overlays
from hand_tf.results.charts import ReportPicture
from hand_tf.results.results_table import WITHOUT_WRIST, ResultsTable, load_results
from hand_tf.results.trainings import Training, load_trainings


class _Metric(NamedTuple):
    """A column of Table 2: a metric of results.json, times `factor`."""

    name: str
    heading: str
    decimals: int = 2
    factor: float = 1.0


METRICS = (
    _Metric("n_mpjpe", "N-MPJPE"),
    _Metric("n_mpjpe", "N-MPJPE, 20 joints", factor=WITHOUT_WRIST),
    _Metric("mpjpe", "MPJPE"),
    _Metric("pa_mpjpe", "PA-MPJPE"),
    _Metric("auc_0_50", "AUC 0–50", 3),
    _Metric("auc_20_50", "AUC 20–50", 3),
)
# Paper: Table 1, rows in the order of scenarios.TABLE_1. N-MPJPE in mm on CMU Panoptic.
PAPER_COLUMNS = ("supervised", "pre-trained", "pre-trained aug", "semi-supervised")
PAPER = (
    (16.46, 21.17, 21.42, 18.13),
    (18.22, 21.80, 21.62, 19.37),
    (20.46, 22.32, 21.70, 21.15),
    (24.09, 23.81, 22.95, 25.10),
    (26.82, 25.08, 24.02, 26.99),
    (29.22, 25.36, 24.60, 27.96),
    (34.30, 27.40, 26.07, 30.62),
    (38.33, 28.49, 26.89, 32.70),
    (50.97, 33.08, 30.40, 37.19),
)


def make(
    runs: str | os.PathLike, output: str | os.PathLike, *, data_dir: str | os.PathLike | None = None, num_crops: int = 3
) -> str:
    """Writes the report on all runs below the folder `runs` to the folder `output`.

    Returns Table 1 and the main results as text.

    Args:
        data_dir: the records that the runs were evaluated on, to draw poses on test crops; None: no poses.
        num_crops: how many test crops to draw poses on.

    Raises OSError or ValueError if there are no results, or they cannot be read or compared.
    """
    root = pathlib.Path(runs)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    table, trainings = ResultsTable(load_results(root)), load_trainings(root)
    pictures = _pictures(table, trainings)
    if data_dir:
        records = overlays.open_tested(table, data_dir)
        pictures["poses"] = overlays.sheets(table, table.spotlight, records, num_crops)
        pictures["wrong"] = overlays.agreed_and_wrong(table, table.spotlight, records, num_crops)
    names = {name for result in table.results for name in configurations.training_names(result["run"])}
    first = table_1(table)
    content = {
        "in_short": in_short(table),
        "test": table.results[0] | {"rule": table.rule, "spotlight": table.spotlight},
        "meaning": {name: text for name, text in configurations.MEANING.items() if name in names},
        "table_1": first,
        "table_2": table_2(table),
        "pictures": pictures,
        "notes": notes.notes(table, trainings, drawn=bool(data_dir)),
        "made": notes.how_it_was_made(table, trainings),
        "paper": [
            (*row, [(value, value == min(values)) for value in values])
            for row, values in zip(scenarios.TABLE_1.items(), PAPER, strict=True)
        ],
        "paper_columns": PAPER_COLUMNS,
    }
    write(pathlib.Path(output), content)
    return "\n".join([as_text(first, table.rule), *content["in_short"]])


# --- tables ---------------------------------------------------------------------------------------------------------


def table_1(table: ResultsTable) -> dict:
    """N-MPJPE of every scenario (row) and configuration (column). A cell is (mean, spread, whether it is the best)."""
    rows = []
    for row in table.rows:
        best, cells = table.best(row), []
        for column in table.columns:
            cell = table.cell(row, column)
            cells.append((*cell.shown(), column in best) if cell else ("–", "", False))
        mean_pose = f"{table.mean_pose(row):.2f}"
        rows.append({"scenario": row[1], "labels": row[0], "cells": cells, "mean_pose": mean_pose})
    spread = any(spread for row in rows for _, spread, _ in row["cells"])
    return {"columns": table.columns, "rows": rows, "spread": spread}


def table_2(table: ResultsTable) -> dict:
    """All metrics: one table per crop rule, one line per cell of Table 1. A cell is (mean, spread)."""
    tables = {}
    for rule in table.rules:
        tables[rule] = rows = []
        for row in table.rows:
            lines = {}
            for column in (column for column in table.columns if (row, column) in table.cells):
                lines[column] = [table.cell(row, column, m.name, rule).shown(m.decimals, m.factor) for m in METRICS]
            errors = ((m.factor * table.mean_pose(row, m.name, rule), m.decimals) for m in METRICS)
            lines["mean pose"] = [(f"{error:.{decimals}f}", "") for error, decimals in errors]
            rows.append({"scenario": row[1], "labels": row[0], "lines": lines})
    return {"metrics": [metric.heading for metric in METRICS], "tables": tables}


def as_text(table: dict, rule: str) -> str:
    """Table 1, from `table_1`, for the terminal; the best of a row carries a star."""
    names = [f"[{chr(ord('a') + i)}]" for i in range(len(table["columns"]))]
    lines = [
        f"N-MPJPE in mm, crop rule {rule}; * best of its row, if it beats the labels' mean pose.",
        "Means are over all 21 joints, including the wrist, whose error is 0. Without it, errors are 21/20 of these",
        "(convention of Rhodin et al., 2018); the report has both.",
        "",
    ]
    lines += [f"  {name} {column}" for name, column in zip(names, table["columns"], strict=True)]
    lines += ["", f"{'scenario':12}{'labels':>8}" + "".join(f"{name:>20}" for name in (*names, "mean pose"))]
    for row in table["rows"]:
        cells = []
        for mean, spread, best in row["cells"]:
            text = f"{mean} {spread}" if spread else mean
            cells.append(text + ("*" if best else " "))
        cells.append(row["mean_pose"] + " ")
        lines.append(f"{row['scenario']:12}{row['labels']:8,}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines) + "\n"


# --- sentences ------------------------------------------------------------------------------------------------------


def in_short(table: ResultsTable) -> list[str]:
    """A sentence each for the scenarios with the fewest and the most labels, and one on what unlabelled views save."""
    sentences = [_sentence(table, row) for row in dict.fromkeys((table.rows[-1], table.rows[0]))]
    return [*sentences, *_labels_saved(table)]


def _labels_saved(table):
    """The fewest labels with unlabelled views beside labels alone, however many; nothing without both."""
    row = next((row for row in reversed(table.rows) if row[0]), None)
    cells = {column: table.cells.get((row, column)) for column in table.columns}
    aided = {
        column: table.cell(row, column).mean
        for column, results in cells.items()
        if results and configurations.uses_unlabelled(results[0]["run"])
    }
    alone = [(labels, table.cell((labels, scenario), "supervised")) for labels, scenario in reversed(table.rows)]
    alone = [f"{cell.mean:.1f} mm with {labels:,}" for labels, cell in alone if cell]
    if not aided or not alone:
        return []
    best = min(aided, key=aided.get)
    return [
        f"{row[0]:,} labels and unlabelled views ({best}): {aided[best]:.1f} mm. Labels alone (supervised):"
        f" {', '.join(alone)}."
    ]


def _sentence(table, row):
    where, mean_pose = f"With {row[0]:,} labels ({row[1]})", table.mean_pose(row)
    cells = {column: table.cell(row, column) for column in table.columns}
    errors = {column: cell.mean for column, cell in cells.items() if cell}
    best = table.best(row)
    if not best:
        lowest = min(errors, key=errors.get)
        return (
            f"{where}, no configuration beats the labels' mean pose, which scores {_both(mean_pose)}; the lowest error"
            f" is that of {lowest}: {_both(errors[lowest])}."
        )
    sentence = f"{where}, {best[0]} is best: {_both(errors[best[0]])}"
    if "supervised" in errors and best[0] != "supervised":
        sentence += f"; supervised: {errors['supervised']:.1f} mm"
    return f"{sentence}; always predicting the labels' mean pose: {mean_pose:.1f} mm."


def _both(error):
    """An N-MPJPE by both conventions."""
    return f"{error:.1f} mm ({WITHOUT_WRIST * error:.1f} mm without the wrist)"


# --- pictures -------------------------------------------------------------------------------------------------------


def _pictures(table: ResultsTable, trainings: Sequence[Training]) -> dict[str, list[ReportPicture]]:
    """Charts and pictures of novel views, by the section of the page that they belong to."""
    finished = [t for t in trainings if t.run and t.history]
    unlabelled = {f"{t.run['configuration']} ({t.folder})": t for t in finished if not t.run["labels"]}
    labelled, positions = {}, {}
    for run, history in ((t.run, t.history) for t in finished if t.run["labels"]):
        labelled.setdefault(run["configuration"], []).append((run["labels"], history))
        positions[run["configuration"]] = configurations.position(run)
    row = table.spotlight
    pictures = {
        "curve": [charts.error_over_labels_chart(table)] if len(table.rows) > 1 else [],
        "closer": [charts.joint_error_chart(table, row), charts.pck_chart(table, row)],
        "novel_views": [
            ReportPicture(f"{file}_novel_views.png", t.novel_views.read_bytes(), name)
            for file, (name, t) in zip(_file_names(unlabelled.values()), unlabelled.items(), strict=True)
            if t.novel_views
        ],
        "poses": [],
        "wrong": [],
        "training": [],
    }
    if unlabelled:
        histories = {name: t.history for name, t in unlabelled.items()}
        pictures["novel_views"].append(charts.novel_view_training_chart(histories))
    if labelled:
        names = sorted(labelled, key=lambda name: (positions[name], name))
        pictures["training"].append(charts.pose_training_chart({name: labelled[name] for name in names}))
    return pictures


def _file_names(trainings):
    """A name for each run, by its folder below the others: two runs of one name, `a/pre` and `b/pre`, have two."""
    names = []
    for training in trainings:
        plain = re.sub(r"\W+", "_", training.folder).strip("_") or training.run["name"]
        candidates = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
        names.append(next(name for name in candidates if name not in names))
    return names


# --- writing --------------------------------------------------------------------------------------------------------


def write(output: pathlib.Path, content: dict) -> None:
    """Writes the page as HTML and as Markdown, and the pictures that the Markdown shows."""
    with folder_lock.holding(output):
        _write(output, content)


def _write(output, content):
    (output / "pictures").mkdir(exist_ok=True)
    for picture in (picture for section in content["pictures"].values() for picture in section):
        with atomic.replacing(output / "pictures" / picture.file, "wb") as file:
            file.write(picture.content)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hand_tf.results", "templates"),
        autoescape=lambda name: name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("report.md", "report.html"):
        atomic.write_text(output / name, environment.get_template(f"{name}.j2").render(content))
