"""Does training on novel views teach pose? Collects the evidence for docs/pretraining.md from three finished runs.

    make demo
    hand-tf study --data_dir=demo/records --output=runs --sizes=evidence --noreport \
        --grid="pretrain; control_same_view; control_shuffled"
    python -m benchmarks.pretraining --runs=runs
    python -m benchmarks.docs_tables

Appends the table of the pose probe to OUTPUT/pretraining.jsonl, draws its curves as OUTPUT/probe.png, and copies the
last sheet of novel views of each run to OUTPUT/novel_views*.png.
"""

import dataclasses
import pathlib
import shutil

from benchmarks import measurements
from hand_tf.core import command_line, reading
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

# Flagfile of a run: its name in table and plot, and of its picture.
RUNS = {
    "pretrain": ("novel views", "novel_views"),
    "control_same_view": ("control: i = j only, plain auto-encoding", "novel_views_same_view"),
    "control_shuffled": ("control: rotations shuffled within the batch", "novel_views_shuffled"),
}
STAGES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """The flags of this command."""

    runs: str = setting("Folder of the study.")
    output: str = setting("Folder of the measurements and pictures.", "docs")
    seed: int = setting("Seed of the runs.", 0, low=0)

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its folder, run.json, and the pose probe (N-MPJPE, mm) by number of triplets seen."""

    folder: pathlib.Path
    summary: dict
    triplets: list[int]
    probe: list[float]
    start: float
    mean_pose: float


def load(folder: pathlib.Path) -> Run:
    """Reads a run of the study. Raises OSError if it has not finished."""
    summary = reading.read_json_object(folder / "run.json", ["flags", "batch_size", "seconds"])
    table = reading.read_table(folder / "history.csv", ["epoch", "probe", "probe_start", "probe_mean_pose"])
    rows = [row for _, row in table if row["probe"]]
    per_epoch = int(summary["flags"]["steps_per_epoch"]) * summary["batch_size"]
    triplets = [int(float(row["epoch"])) * per_epoch for row in rows]
    start, mean_pose = float(rows[0]["probe_start"]), float(rows[0]["probe_mean_pose"])
    return Run(folder, summary, triplets, [float(row["probe"]) for row in rows], start, mean_pose)


def plot(runs: dict[str, Run], path: pathlib.Path) -> None:
    """N-MPJPE of the probe against triplets: one line per run, the references dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    for name, run in runs.items():
        thousands = [0.0, *(count / 1000 for count in run.triplets)]
        axes.plot(thousands, [run.start, *run.probe], marker="o", ms=3, label=RUNS[name][0])
    axes.axhline(runs["pretrain"].mean_pose, color="0.4", ls="--", label="mean pose")
    axes.axhline(runs["pretrain"].start, color="0.7", ls="--", label="untrained encoder")
    axes.set(xlabel="thousand triplets", ylabel="pose probe, N-MPJPE (mm)", ylim=(0, None))
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


def table(runs: dict[str, Run]) -> tuple[list[int], list[dict]]:
    """Numbers of triplets at a few stages of training, and one row per encoder with its N-MPJPE (mm) at each."""
    first = runs["pretrain"]
    stages = sorted({round(i * (len(first.triplets) - 1) / (STAGES - 1)) for i in range(STAGES)})
    rows = []
    for name, run in runs.items():
        row = {"encoder": RUNS[name][0], "n_mpjpe": [round(run.probe[stage], 1) for stage in stages]}
        rows.append(row | {"minutes": round(run.summary["seconds"] / 60)})
    for name, value in (("untrained encoder", first.start), ("mean pose", first.mean_pose)):
        rows.append({"encoder": name, "n_mpjpe": [round(value, 1)] * len(stages)})
    return [first.triplets[stage] for stage in stages], rows


def main(settings: PretrainingSettings) -> None:
    """Writes table, curves and pictures."""
    output = pathlib.Path(settings.output)
    runs = {name: load(pathlib.Path(settings.runs) / f"{name}-seed{settings.seed}") for name in RUNS}
    output.mkdir(parents=True, exist_ok=True)
    plot(runs, output / "probe.png")
    for name, run in runs.items():
        sheets = sorted((run.folder / "pictures").glob("novel_views_*.png"))
        if not sheets:
            raise InputError(f"{run.folder / 'pictures'}: no novel_views_*.png")
        shutil.copyfile(sheets[-1], output / f"{RUNS[name][1]}.png")
    triplets, rows = table(runs)
    summary = runs["pretrain"].summary
    headline = {
        "triplets": triplets,
        "seed": settings.seed,
        "probe_fit": summary["flags"]["probe_fit"],
        "probe_test": summary["flags"]["probe_test"],
        "machine": f"{summary['machine']}, keras {summary['keras']} on {summary['backend']}",
    }
    for row in rows:
        print(f"{row['encoder']:<48}" + "".join(f"{value:>8.1f}" for value in row["n_mpjpe"]))
    measurements.publish(headline, rows, output / "pretraining.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
