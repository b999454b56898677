"""What is learned from which labels: collects the results of a study for docs/learning.md.

    make demo
    python -m benchmarks.learning --runs=demo/runs --name=demo
    python -m benchmarks.docs_tables

Appends one line to OUTPUT/learning.jsonl: for each scenario and configuration the errors by both crop rules, those of
the views of an instant fused, and the steps of each training, the pre-training first. Runs that differ in their seeds
share a row.
"""

import dataclasses
import pathlib

from benchmarks import measurements
from hand_tf.core import command_line, crops
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting
from hand_tf.results import configurations
from hand_tf.results.results_table import Cell, ResultsTable, load_results


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """The flags of this command."""

    runs: str = setting("Folder of the study.")
    name: str = setting("Name of the table in docs/learning.md.")
    output: str = setting("Folder of the measurements.", "docs")

    def __post_init__(self):
        check(self)


def row_of(labels: int, scenario: str, column: str, results: list[dict]) -> dict:
    """The numbers of the runs of one cell; errors are [mean, standard deviation or None], in mm."""
    first = results[0]["run"]
    return {
        "labels": labels,
        "validation_labels": first["validation_labels"],
        "scenario": scenario,
        "configuration": column,
        "seeds": len(results),
        "steps": [run["steps"] for run in configurations.chain(first)][::-1],
        **{rule: _mean([each["results"][rule]["n_mpjpe"] for each in results]) for rule in crops.CROP_RULES},
        "fused": _mean([each["results"]["box2d"]["fused"]["n_mpjpe"] for each in results]),
        "joints_2d_px": _mean([each["results"]["box2d"]["joints_2d_px"] for each in results]),
    }


def _mean(values):
    cell = Cell.of(values)
    return [round(cell.mean, 2), None if cell.spread is None else round(cell.spread, 2)]


def main(settings: LearningSettings) -> None:
    """Writes the line and prints its rows."""
    found = ResultsTable(load_results(pathlib.Path(settings.runs)))
    places = [(row, column) for row in reversed(found.rows) for column in found.columns if (row, column) in found.cells]
    rows = [row_of(*row, column, found.cells[row, column]) for row, column in places]
    if any(result["data"]["also_trained_on"] for result in found.results):
        raise InputError(f"{settings.runs}: some of these runs were tested on people that they were trained on")
    test = found.results[0]
    headline = {
        "name": settings.name,
        "test": test["data"]["subjects"],
        "crops": test["crops"],
        "crop_size": test["data"]["crop_size"],
        "mean_pose": round(found.mean_pose(found.rows[0]), 2),
    }
    for row in rows:
        print(f"{row['scenario']:12} {row['configuration']:50} {row['box2d'][0]:7.2f} {row['joints3d'][0]:7.2f}")
    output = pathlib.Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    measurements.publish(headline, rows, output / "learning.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
