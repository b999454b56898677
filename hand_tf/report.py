"""Puts the results of all runs of a folder side by side, as a page to read.

    python -m hand_tf.report --runs=RUNS --data_dir=RECORDS

Looks below RUNS for runs that hand_tf.evaluate has measured (results.json) and for those that learned without labels
(history.csv, pictures/). Writes OUTPUT/report.html, one file that needs nothing else, OUTPUT/report.md and
OUTPUT/pictures/. With --data_dir, predicted poses are drawn on test crops.

In the tables a row is a scenario, a column a configuration: what was trained on what. Runs that differ in their seeds
alone share a cell, as mean ± standard deviation (number of runs).
"""

import os
import pathlib
import sys

from absl import flags

from hand_tf.core import atomic, command_line
from hand_tf.data import scenarios
from hand_tf.results import notes
from hand_tf.results.table import MEANING, Study, load_results, load_trainings, place

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}

flags.DEFINE_string("runs", None, "Folder with run folders, at any depth.", **_define)
flags.DEFINE_string("data_dir", None, "Folder of records, to draw poses on test crops.", **_define)
flags.DEFINE_string("output", None, "Folder to write; default RUNS/report.", **_define)
flags.DEFINE_integer("overlay_crops", 3, "Test crops to draw poses on.", lower_bound=1, **_define)
flags.mark_flags_as_required(["runs"], flag_values=FLAGS)

METRICS = {
    "n_mpjpe": ("N-MPJPE", 2),
    "mpjpe": ("MPJPE", 2),
    "pa_mpjpe": ("PA-MPJPE", 2),
    "auc_0_50": ("AUC 0–50", 3),
    "auc_20_50": ("AUC 20–50", 3),
}
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


def main(_):
    root = pathlib.Path(FLAGS.runs)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    study, output = Study(load_results(root)), pathlib.Path(FLAGS.output or root / "report")
    trainings = load_trainings(root)
    page = {
        "in_short": in_short(study),
        "test": study.results[0] | {"rule": study.rule, "spotlight": study.spotlight},
        "meaning": {name: text for name, text in MEANING.items() if name in _trainings_in(study)},
        "table_1": table_1(study),
        "table_2": table_2(study),
        "pictures": pictures(study, trainings),
        "notes": notes.notes(study, trainings, drawn=bool(FLAGS.data_dir)),
        "made": notes.how_it_was_made(study, trainings),
        "paper": [
            (*row, [(value, value == min(values)) for value in values])
            for row, values in zip(scenarios.TABLE_1.items(), PAPER, strict=True)
        ],
        "paper_columns": PAPER_COLUMNS,
    }
    write(output, page)
    print(as_text(page["table_1"], study))
    print(f"{output / 'report.html'}: written")


# --- tables ---------------------------------------------------------------------------------------------------------


def table_1(study):
    """N-MPJPE of every scenario (row) and configuration (column). A cell is (mean, spread, whether it is the best)."""
    rows = []
    for row in study.rows:
        best, found = study.best(row), ((column, study.cell(row, column)) for column in study.columns)
        cells = [(*cell.shown(), column in best) if cell else ("–", "", False) for column, cell in found]
        mean_pose = f"{study.mean_pose(row):.2f}"
        rows.append({"scenario": row[1], "labels": row[0], "cells": cells, "mean_pose": mean_pose})
    spread = any(spread for row in rows for _, spread, _ in row["cells"])
    return {"columns": study.columns, "rows": rows, "spread": spread}


def table_2(study):
    """All metrics, a table for each crop rule and a line for every cell of Table 1. A cell is (mean, spread)."""
    tables = {}
    for rule in study.rules:
        tables[rule] = rows = []
        for row in study.rows:
            lines = {
                column: [study.cell(row, column, name, rule).shown(digits) for name, (_, digits) in METRICS.items()]
                for column in study.columns
                if (row, column) in study.cells
            }
            reference = [f"{study.mean_pose(row, name, rule):.{digits}f}" for name, (_, digits) in METRICS.items()]
            lines["mean pose"] = [(text, "") for text in reference]
            rows.append({"scenario": row[1], "labels": row[0], "lines": lines})
    return {"metrics": [name for name, _ in METRICS.values()], "tables": tables}


def as_text(table, study):
    """Table 1 for the terminal; the best of a row carries a star."""
    names = [f"[{chr(ord('a') + i)}]" for i in range(len(table["columns"]))]
    lines = [f"N-MPJPE (mm, mean over all 21 joints, crop rule {study.rule}), * best of its row", ""]
    lines += [f"  {name} {column}" for name, column in zip(names, table["columns"], strict=True)]
    lines += ["", f"{'scenario':12}{'labels':>8}" + "".join(f"{name:>20}" for name in (*names, "mean pose"))]
    for row in table["rows"]:
        cells = [f"{' '.join(filter(None, shown))}{'*' if best else ' '}" for *shown, best in row["cells"]]
        cells.append(row["mean_pose"] + " ")
        lines.append(f"{row['scenario']:12}{row['labels']:8,}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines) + "\n"


# --- words ----------------------------------------------------------------------------------------------------------


def _trainings_in(study):
    return {name for column in study.columns for name in column.split(",")[0].split(" on ")}


def in_short(study):
    """What the scenarios with the fewest and the most labels say, a sentence each."""
    sentences = []
    for row in dict.fromkeys((study.rows[-1], study.rows[0])):
        best = study.best(row)[0]
        sentence = f"With {row[0]:,} labels ({row[1]}) {best} is best: {study.cell(row, best).mean:.1f} mm"
        others = ((name, study.cell(row, name)) for name in study.columns if name == "supervised" != best)
        sentence += "".join(f"; {name}: {cell.mean:.1f} mm" for name, cell in others if cell)
        sentences.append(f"{sentence}; always answering with the labels' mean pose: {study.mean_pose(row):.1f} mm.")
    return sentences


# --- pictures -------------------------------------------------------------------------------------------------------


def pictures(study, trainings):
    """All pictures by the section of the page that they belong to."""
    from hand_tf.results import charts, overlays  # matplotlib, TensorFlow: not for --help

    finished = [t for t in trainings if t.run and t.history]
    unlabelled = {f"{t.run['configuration']} ({t.folder})": t for t in finished if not t.run["labels"]}
    labelled = {}
    for training in (t for t in finished if t.run["labels"]):
        labelled.setdefault(training.run["configuration"], []).append((training.run["labels"], training.history))
    row = study.spotlight
    found = {
        "curve": [charts.error_over_labels(study)] if len(study.rows) > 1 else [],
        "closer": [charts.joint_errors(study, row), charts.pck_curves(study, row)],
        "novel_views": [
            charts.Picture(f"{t.run['name']}_novel_views.png", t.novel_views.read_bytes(), name)
            for name, t in unlabelled.items()
            if t.novel_views
        ],
        "poses": [],
        "training": [],
    }
    if FLAGS.data_dir:
        found["poses"] = overlays.sheets(study, row, FLAGS.data_dir, FLAGS.overlay_crops)
    if unlabelled:
        found["novel_views"].append(charts.novel_view_training({n: t.history for n, t in unlabelled.items()}))
    if labelled:
        names = sorted(labelled, key=place)
        found["training"].append(charts.pose_training({name: labelled[name] for name in names}))
    return found


# --- writing --------------------------------------------------------------------------------------------------------


def write(output, page):
    """Writes the page as HTML and as Markdown, and the pictures that the latter shows."""
    import jinja2

    (output / "pictures").mkdir(parents=True, exist_ok=True)
    for picture in (picture for section in page["pictures"].values() for picture in section):
        path = output / "pictures" / picture.file
        path.with_name(f"{picture.file}.partial").write_bytes(picture.data)
        os.replace(f"{path}.partial", path)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hand_tf.results", "templates"),
        autoescape=lambda name: name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("report.md", "report.html"):
        atomic.write_text(output / name, environment.get_template(f"{name}.j2").render(page))


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
