"""The tables of docs/learning.md, each a function of the folder with the measurements."""

import functools
import pathlib

from benchmarks.measurements import markdown, newest, source
from hand_tf.results.results_table import Cell


def study(docs: pathlib.Path, name: str, runs: str) -> str:
    """The results of the study called `name`, whose runs lie in the folder `runs`."""
    line = newest(docs, "learning", lambda head: head["name"] == name)
    head, rows = line["headline"], []
    for row in line["rows"]:
        labels = f"{row['labels']:,}" + (f" + {row['validation_labels']:,}" if row["validation_labels"] else "")
        numbers = (_shown(row[rule]) for rule in ("box2d", "joints3d", "fused", "joints_2d_px"))
        steps = " + ".join(f"{steps:,}" for steps in row["steps"])
        rows.append((f"{row['scenario']}: {row['configuration']}", labels, *numbers, steps))
    header = ("scenario: configuration", "labels", "box2d", "joints3d", "views fused", "px", "steps")
    seeds = sorted({row["seeds"] for row in line["rows"]})
    count = " or ".join(map(str, seeds)) + (" seed" if seeds == [1] else " seeds")
    return "\n\n".join(
        [
            markdown(header, rows),
            f"N-MPJPE in mm over 21 joints, the wrist included, on {head['crops']:,} crops of {head['test']}, whom no"
            f" training used; {count}. The labels' mean pose: {head['mean_pose']:.1f}. "
            + source(line, "learning", f"--runs={runs}"),
        ]
    )


def novel_views(docs: pathlib.Path) -> str:
    """What a fixed estimator makes of predicted and of true views."""
    line = newest(docs, "novel_views")
    head, names = line["headline"], {"true": "true views", "predicted": "predicted views"}
    header = ("", "N-MPJPE, mm", "extended fingers counted as in the labels", f"of the {head['rows']} on the sheet")
    rows = [
        (names[row["views"]], f"{row['n_mpjpe']:.1f}", f"{row['agreeing']:.0%}", row["agreeing_on_sheet"])
        for row in line["rows"]
    ]
    return "\n\n".join(
        [
            markdown(header, rows),
            f"{head['triplets']:,} views of {head['test']} (seed {head['seed']}), after pre-training on"
            f" {head['trained_triplets']:,} triplets. "
            + source(line, "novel_views", "--data_dir=big --run=long --estimator=student"),
        ]
    )


def time_to_accuracy(docs: pathlib.Path) -> str:
    """How long pre-training takes until the probe has reached each error."""
    line = newest(docs, "time_to_accuracy")
    errors = [f"{error:g}" for error in line["headline"]["errors"]]
    rows = []
    for row in line["rows"]:
        found = [row["reached"][error] for error in errors]
        cells = (f"{each[0]:.1f} min, {each[1]:,}" if each else "–" for each in found)
        rows.append((row["run"].rpartition("-seed")[0], *cells, f"{row['last']:.1f}"))
    header = ["flagfiles", *(f"{error} mm" for error in errors), f"after {line['rows'][0]['triplets']:,}, mm"]
    return "\n\n".join([markdown(header, rows), source(line, "time_to_accuracy", "--run=paper/pretrain")])


WAYS = {
    "joints": "boxes around the joints",
    "found": "hands found, crops as they are",
    "upright": "hands found, crops turned",
}


def real_hands(docs: pathlib.Path) -> str:
    """Errors on real footage: models that differ in their seeds share a row."""
    line = newest(docs, "real_hands", lambda head: head.get("models") != ["hands"])
    kinds, rows = {}, []
    for row in line["rows"]:
        kinds.setdefault((row["model"].rpartition("-seed")[0], row["way"]), []).append(row["errors"])
    subjects = list(line["rows"][0]["errors"])
    for (model, way), found in kinds.items():
        cells = []
        for subject in subjects:
            for metric in (0, 1):
                cell = Cell.of([each[subject][metric] for each in found])
                cells.append(_shown((cell.mean, cell.spread)))
        rows.append((model, WAYS[way], *cells))
    header = [f"{subject}, {metric}" for subject in subjects for metric in ("N-MPJPE", "PA-MPJPE")]
    pictures = sum(each[2] for each in line["rows"][-1]["errors"].values())
    return "\n\n".join(
        [
            markdown(("model", "crops", *header), rows),
            f"mm; {line['headline']['pictures']} pictures, the hand found in {pictures} of them. "
            + source(line, "real_hands", "--sequence=two_view_rig", "--model=..."),
        ]
    )


def _shown(value):
    mean, spread = value
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


TABLES = {
    "learning_demo": functools.partial(study, name="demo", runs="demo/runs"),
    "learning_no_pretraining": functools.partial(study, name="no_pretraining", runs="no_pretraining"),
    "novel_views": novel_views,
    "real_hands": real_hands,
    "time_to_accuracy": time_to_accuracy,
    "learning_development": functools.partial(study, name="development", runs="development"),
}
