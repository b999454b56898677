"""Runs and their results, side by side: what `evaluate` writes about one run and `report` shows about many.

configuration   what was trained on what: `supervised`, `pose_head on pretrain_aug`, ...
row             (labels, scenario)
cell            the results of one configuration on one row; they differ in their seeds alone
"""

import dataclasses
import json
import pathlib
import statistics

from hand_tf.core import crops
from hand_tf.training import runs

RESULTS = "results.json"
# Paper: Table 1 has these columns in this order; ours stand behind them.
ORDER = ("supervised", "pose_head", "semi_supervised", "semi_supervised_aug", "finetune", "finetune_joint")
# What a configuration is, for somebody who reads the tables first.
MEANING = {
    "supervised": "encoder and pose head learn from the labels alone",
    "pretrain": "encoder and decoder learn to show the hand as another camera sees it, without labels",
    "pretrain_aug": "pretrain, with random in-plane rotations of the views",
    "pose_head": "the encoder of the earlier run stays frozen, only the pose head learns from the labels; on pretrain"
    " and pretrain_aug this is the paper's “Pre-trained”",
    "semi_supervised": "all at once: novel views of all crops, poses of the labelled ones",
    "semi_supervised_aug": "semi_supervised, with random in-plane rotations of the unlabelled views; not in the paper",
    "finetune": "starts from the earlier run, then encoder and pose head learn from the labels; not in the paper",
    "finetune_joint": "starts from the earlier run, then learns poses and novel views at once; not in the paper",
    "finetune_joint_aug": "finetune_joint, with random in-plane rotations of the unlabelled views; not in the paper",
}
# Flags that do not make a run another experiment.
SAME_EXPERIMENT = {
    *("regime", "scenario", "seed", "workdir", "data_dir", "init_from", "checkpoint_every", "pictures_every"),
    *("probe_every", "probe_crops", "probe_fit", "probe_test"),
}


@dataclasses.dataclass(frozen=True)
class Training:
    """A run folder as training left it: `history` is a list of {column: value}, `novel_views` the newest sheet's path.

    `run` is what `describe` says, None for a run that has not finished; `has_head` if it predicts poses.
    """

    folder: str
    run: dict | None
    history: list
    novel_views: pathlib.Path | None
    has_head: bool
    has_results: bool


def load_trainings(root):
    """All folders below `root` in which hand_tf.train has begun a run."""
    from hand_tf.training import callbacks  # TensorFlow: not for --help

    return [
        Training(
            folder=str(path.parent.relative_to(root)),
            run=runs.describe(path.parent) if (path.parent / "run.json").is_file() else None,
            history=callbacks.read_history(path),
            novel_views=max(path.parent.glob("pictures/novel_views_*.png"), default=None),
            has_head=(path.parent / "pose_head.keras").is_file(),
            has_results=(path.parent / RESULTS).is_file(),
        )
        for path in sorted(root.rglob("history.csv"))
    ]


def load_results(root):
    """All results.json below `root`. Raises ValueError if there is none or one cannot be read."""
    results = []
    for path in sorted(root.rglob(RESULTS)):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON ({error})") from error
        missing = {"run", "data", "crops", "results", "versions", "machine"} - set(result)
        if missing:
            raise ValueError(f"{path}: not a result of hand_tf.evaluate, {', '.join(sorted(missing))} missing")
        results.append(result | {"file": str(path), "folder": str(path.parent.relative_to(root))})
    if not results:
        raise ValueError(f"{root}: no {RESULTS} below it; measure runs with python -m hand_tf.evaluate first")
    return results


# --- many runs ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean over the runs of a cell, their standard deviation (None for one run), and how many they are."""

    mean: float
    spread: float | None
    count: int

    def shown(self, decimals=2):
        """Mean and spread as the tables show them: `("24.02", "± 0.31 (3)")`, the latter empty for one run."""
        spread = "" if self.spread is None else f"± {self.spread:.{decimals}f} ({self.count})"
        return f"{self.mean:.{decimals}f}", spread


class Study:
    """Results side by side.

    `cells` maps (row, column) to results; `rows` have the most labels first; `columns` are configurations; `rules` are
    the crop rules that all results share and `rule` the first of them.

    Raises ValueError for results that were measured on different crops: they cannot stand in one table.
    """

    def __init__(self, results):
        _check_same_test(results)
        self.results = results
        self.rules = [rule for rule in crops.CROP_RULES if all(rule in result["results"] for result in results)]
        if not self.rules:
            raise ValueError("the results share no crop rule; evaluate all runs with --crop=both")
        self.rule = self.rules[0]
        self.cells = {}
        for result, column in zip(results, column_names(results), strict=True):
            row = (result["run"]["labels"], result["run"]["scenario"])
            self.cells.setdefault((row, column), []).append(result)
        self.rows = sorted({row for row, _ in self.cells}, reverse=True)
        self.columns = sorted({column for _, column in self.cells}, key=place)

    def cell(self, row, column, metric="n_mpjpe", rule=None):
        """The `Cell` of a metric, or None where nothing was measured."""
        results = self.cells.get((row, column))
        if not results:
            return None
        values = [result["results"][rule or self.rule][metric] for result in results]
        return Cell(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def mean_pose(self, row, metric="n_mpjpe", rule=None):
        """What always predicting the mean pose of the row's labels scores."""
        results = [result for (place, _), cell in self.cells.items() if place == row for result in cell]
        return statistics.mean(result["results"][rule or self.rule]["reference"][metric] for result in results)

    def best(self, row):
        """The columns with the lowest N-MPJPE of a row, as the tables show it, with two decimals."""
        shown = {column: round(cell.mean, 2) for column in self.columns if (cell := self.cell(row, column))}
        return [column for column, value in shown.items() if value == min(shown.values())]

    @property
    def spotlight(self):
        """The row to look at closely: the one with most configurations, of those the one with fewest labels."""
        return max(self.rows, key=lambda row: (sum((row, c) in self.cells for c in self.columns), -row[0]))


def _check_same_test(results):
    names = ("index_sha256", "subjects", "max_crops", "box_margin")
    first = results[0]
    for result in results[1:]:
        for name in names:
            if result["data"][name] != first["data"][name]:
                raise ValueError(
                    f"{result['file']}: measured with {name} {result['data'][name]}, {first['file']} with"
                    f" {first['data'][name]}; one table needs one test: evaluate again, or report on them separately"
                )


def settings_of(run):
    """The flags that make a run the experiment it is; those of the runs before it as `before.<flag>`."""
    settings = {name: value for name, value in run["flags"].items() if name not in SAME_EXPERIMENT}
    before = settings_of(run["before"]) if run["before"] else {}
    return settings | {f"before.{name}": value for name, value in before.items()}


def column_names(results):
    """The configuration of each result; where runs of one cell differ in more than seeds, those flags with it."""
    cells = {}
    for result in results:
        run = result["run"]
        cells.setdefault((run["configuration"], run["labels"], run["scenario"]), []).append(settings_of(run))
    differing = {}
    for (configuration, *_), members in cells.items():
        names = {name for settings in members for name in settings}
        varied = {name for name in names if len({settings.get(name) for settings in members}) > 1}
        differing.setdefault(configuration, set()).update(varied)
    columns = []
    for run in (result["run"] for result in results):
        settings = settings_of(run)
        extra = [f"{name}={settings.get(name)}" for name in sorted(differing[run["configuration"]])]
        columns.append(", ".join([run["configuration"], *extra]))
    return columns


def place(column):
    """Sorts configurations into the order of the tables."""
    regime = column.split(",")[0].split(" on ")[0]
    return ORDER.index(regime) if regime in ORDER else len(ORDER), column
