"""The results of many runs side by side.

row       (labels, scenario)
column    a configuration: what was trained from what (`results.configurations`)
cell      the results of one configuration on one row; they differ in their seeds alone
result    the content of one results.json, with `file`, its path, and `folder`, the run's folder below the others
"""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence

from hand_tf.core import crops, reading, skeleton
from hand_tf.core.errors import InputError
from hand_tf.results import configurations
from hand_tf.training import runs

RESULTS_FILE = "results.json"  # of a run folder
# The wrist's error is 0. A mean that leaves it out (convention of Rhodin, Salzmann, Fua, ECCV 2018) is 21/20 of ours;
# slightly more where joints were not accepted.
WITHOUT_WRIST = skeleton.NUM_JOINTS / (skeleton.NUM_JOINTS - 1)

Row = tuple[int, str]

_NUMBERS = ("n_mpjpe", "mpjpe", "pa_mpjpe", "auc_0_50", "auc_20_50")
_MEASURES = {
    "type": "object",
    "required": list(_NUMBERS),
    "properties": {
        **{key: {"type": "number"} for key in _NUMBERS},
        "pck": {"type": "array", "items": {"type": "number"}},
        "per_joint": {"type": "object"},
        "per_subject": {"type": "object"},
        "fused": {"type": ["object", "null"]},
    },
}
_RULE = _MEASURES | {"required": [*_NUMBERS, "reference"]}
_SCHEMA = {
    "properties": {
        "run": {"$ref": "run"},
        "data": {"type": "object", "properties": {"subjects": {"type": "string"}}},
        "crops": {"type": "integer"},
        "versions": {"type": "object"},
        "machine": {"type": "object"},
        "results": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": _RULE | {"properties": _MEASURES["properties"] | {"reference": _MEASURES}},
        },
    },
    "$defs": {
        "run": runs.SCHEMA | {"$id": "run", "required": [*runs.SCHEMA["required"], "name", "configuration", "before"]}
    },
}


def load_results(root: pathlib.Path) -> list[dict]:
    """All results below `root`. Raises ValueError if there is none or one cannot be read."""
    results = []
    for path in sorted(root.rglob(RESULTS_FILE)):
        result = reading.read_json_object(path)
        reading.check(result, _SCHEMA, path)
        missing = {"run", "data", "crops", "results", "versions", "machine"} - set(result)
        if missing:
            raise InputError(f"{path}: not a result of `hand-tf evaluate`, {', '.join(sorted(missing))} missing")
        results.append(result | {"file": str(path), "folder": str(path.parent.relative_to(root))})
    if not results:
        raise InputError(f"{root}: no {RESULTS_FILE} below it; measure runs with `hand-tf evaluate` first")
    return results


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean over the runs of a cell, their standard deviation (None for a single run), and their number."""

    mean: float
    spread: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Cell":
        """The cell of the runs with these `values`."""
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def shown(self, decimals: int = 2, factor: float = 1.0) -> tuple[str, str]:
        """Mean and spread, times `factor`, as the tables show them: ("24.02", "± 0.31 (3)"); "" for a single run."""
        spread = "" if self.spread is None else f"± {factor * self.spread:.{decimals}f} ({self.count})"
        return f"{factor * self.mean:.{decimals}f}", spread


class ResultsTable:
    """Results side by side.

    `cells` maps (row, column) to results; `rows` are sorted, most labels first; `rules` are the crop rules that all
    results share, and `rule` is the first of them.

    Raises ValueError for results that were measured on different crops: they cannot be compared.
    """

    def __init__(self, results: Sequence[dict]):
        _check_same_test(results)
        self.results = results
        self.rules = [rule for rule in crops.CROP_RULES if all(rule in result["results"] for result in results)]
        if not self.rules:
            raise InputError("the results share no crop rule; evaluate all runs with --crop=both")
        self.rule = self.rules[0]
        self.cells: dict[tuple[Row, str], list[dict]] = {}
        positions = {}
        for result, column in zip(results, configurations.column_names(results), strict=True):
            row = (result["run"]["labels"], result["run"]["scenario"] or "no labels")
            self.cells.setdefault((row, column), []).append(result)
            positions[column] = configurations.position(result["run"])
        self.rows: list[Row] = sorted({row for row, _ in self.cells}, reverse=True)
        self.columns: list[str] = sorted(positions, key=lambda column: (positions[column], column))

    def cell(self, row: Row, column: str, metric: str = "n_mpjpe", rule: str | None = None) -> Cell | None:
        """The `Cell` of a metric, or None where nothing was measured."""
        results = self.cells.get((row, column))
        if not results:
            return None
        return Cell.of([result["results"][rule or self.rule][metric] for result in results])

    def mean_pose(self, row: Row, metric: str = "n_mpjpe", rule: str | None = None) -> float:
        """The error of always predicting the mean pose of the row's labels."""
        results = [result for (place, _), cell in self.cells.items() if place == row for result in cell]
        return statistics.mean(result["results"][rule or self.rule]["reference"][metric] for result in results)

    def best(self, row: Row) -> list[str]:
        """The columns with the lowest N-MPJPE of a row, rounded as the tables show it.

        Empty if none of them has a lower error than the mean pose.
        """
        cells = {column: self.cell(row, column) for column in self.columns}
        shown = {column: round(cell.mean, 2) for column, cell in cells.items() if cell}
        lowest = min(shown.values())
        if lowest >= round(self.mean_pose(row), 2):
            return []
        return [column for column, value in shown.items() if value == lowest]

    @property
    def spotlight(self) -> Row:
        """The row to look at closely: the one with the most configurations, of those the one with the fewest labels."""
        return max(self.rows, key=lambda row: (sum((row, c) in self.cells for c in self.columns), -row[0]))


def _check_same_test(results):
    first = results[0]
    for result in results[1:]:
        for name in ("index_sha256", "subjects", "max_crops", "box_margin"):
            if result["data"][name] != first["data"][name]:
                raise InputError(
                    f"{result['file']}: measured with {name} {result['data'][name]}, {first['file']} with"
                    f" {first['data'][name]}; runs in one table need the same test: evaluate again, or report on them"
                    " separately"
                )
