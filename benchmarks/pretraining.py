"""Does training on novel views teach pose? The probe's evidence, beside its references and two controls.

    make demo
    python -m hand_tf.study --data_dir=demo/records --output=runs --sizes=flags/evidence.flags --noreport \
        --grid="pretrain; control_same_view; control_shuffled"
    python -m benchmarks.pretraining --runs=runs --output=docs

Writes OUTPUT/pretraining.md with the table, OUTPUT/probe.png with the curves and OUTPUT/novel_views*.png, all from the
history and pictures of the three runs.
"""

import json
import pathlib
import shutil
import sys

import matplotlib
from absl import flags

from hand_tf.core import atomic, command_line
from hand_tf.training import callbacks

matplotlib.use("Agg")
from matplotlib import pyplot

FLAGS = flags.FlagValues()
flags.DEFINE_string("runs", None, "Folder of the study.", required=True, flag_values=FLAGS)
flags.DEFINE_string("output", "docs", "Folder of the page and its pictures.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the runs.", flag_values=FLAGS)

RUNS = {
    "pretrain": "novel views",
    "control_same_view": "control: i = j only, plain auto-encoding",
    "control_shuffled": "control: rotation shuffled within the batch",
}


def load(folder, seed):
    """History and facts of the three runs. Raises FileNotFoundError for one that has not finished."""
    found = {}
    for name in RUNS:
        run = pathlib.Path(folder) / f"{name}-seed{seed}"
        if not (run / "run.json").is_file():
            raise FileNotFoundError(f"{run}/run.json: this run of the study has not finished")
        rows = [row for row in callbacks.read_history(run / "history.csv") if "probe" in row]
        found[name] = (run, rows, json.loads((run / "run.json").read_text(encoding="utf-8")))
    return found


def _triplets(facts, epoch):
    return epoch * int(facts["flags"]["steps_per_epoch"]) * facts["batch_size"]


def plot(found, path):
    """N-MPJPE of the probe against triplets, a line a run, the references dashed."""
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    for name, (_, rows, facts) in found.items():
        x = [0, *(_triplets(facts, row["epoch"]) / 1000 for row in rows)]
        axes.plot(x, [rows[0]["probe_start"], *(row["probe"] for row in rows)], marker="o", ms=3, label=RUNS[name])
    _, rows, _ = found["pretrain"]
    axes.axhline(rows[0]["probe_mean_pose"], color="0.4", ls="--", label="mean pose")
    axes.axhline(rows[0]["probe_start"], color="0.7", ls="--", label="untrained encoder")
    axes.set(xlabel="thousand triplets", ylabel="pose probe, N-MPJPE (mm)", ylim=(0, None))
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


def table(found):
    """The Markdown table of the probe at four stages of training; the best of a stage is bold."""
    first, facts = found["pretrain"][1], found["pretrain"][2]
    stages = sorted({first[round(i * (len(first) - 1) / 3)]["epoch"] for i in range(4)})
    rows = {
        RUNS[name]: [row["probe"] for row in history if row["epoch"] in stages]
        for name, (_, history, _) in found.items()
    }
    rows |= {
        label: [first[0][key]] * len(stages)
        for label, key in (("untrained encoder", "probe_start"), ("mean pose", "probe_mean_pose"))
    }
    best = [min(column) for column in zip(*rows.values(), strict=True)]
    lines = [
        "| encoder | " + " | ".join(f"{_triplets(facts, epoch) / 1000:.1f}k" for epoch in stages) + " |",
        "|---|" + "---:|" * len(stages),
    ]
    for label, values in rows.items():
        cells = [f"**{v:.1f}**" if v == low else f"{v:.1f}" for v, low in zip(values, best, strict=True)]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE = """# What pre-training on novel views teaches

The encoder below has never seen a label. The **pose probe** asks how much pose its points hold: a ridge regression from
points to pose, fitted on {fit} and measured on {test}, N-MPJPE in mm over all 21 joints, root-relative; the encoder has
seen pictures of all these people, no label, and the regression nothing of {test}. Beside it stand
the same encoder before training, the mean pose, and two controls at equal steps: the same network on i = j alone, which
needs no third dimension, and with every triplet's rotation swapped for another one's, which makes Eq. 1 a lie.

{table}

Columns are triplets seen. ![The probe during training](probe.png)

## Novel views

Rows are triplets; from left to right source, reference (another instant: it gives the appearance), target, prediction,
mask (nobody annotated it), points in the source view, points turned into the target view.

Novel views: ![novel views](novel_views.png)

Control, i = j only, drawn like its training: it is asked for its own source: ![same view](novel_views_same_view.png)

Control, shuffled rotation: ![shuffled](novel_views_shuffled.png)

## How to make this page again

```
{commands}
```

Seed {seed}; 64 px crops of the synthetic dome; training took {seconds} ({machine}, beside other work).

One seed, small networks and minutes of training. At this length the predicted hands are a palm with an arm and a
direction, without fingers, and novel views, which start more slowly, have only just overtaken plain auto-encoding. What
is clear is the distance to shuffled rotations: the rotation matters. What more training gives is not measured here.
"""


def main(_):
    """Writes the page and its pictures."""
    found, output = load(FLAGS.runs, FLAGS.seed), pathlib.Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    plot(found, output / "probe.png")
    for name, picture in zip(found, ("novel_views", "novel_views_same_view", "novel_views_shuffled"), strict=True):
        sheets = sorted((found[name][0] / "pictures").glob("novel_views_*.png"))
        shutil.copyfile(sheets[-1], output / f"{picture}.png")
    facts = found["pretrain"][2]
    seconds = ", ".join(f"{name} {run[2]['seconds'] / 60:.0f} min" for name, run in found.items())
    usage = __doc__.split("\n\n")[1].replace("    ", "")
    text = PAGE.format(
        fit=facts["flags"]["probe_fit"],
        test=facts["flags"]["probe_test"],
        table=table(found),
        commands=usage.strip(),
        seed=FLAGS.seed,
        seconds=seconds,
        machine=f"{facts['machine']}, keras {facts['keras']} on {facts['backend']}",
    )
    atomic.write_text(output / "pretraining.md", text)
    print(f"{output / 'pretraining.md'}: written")
    print(table(found))


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
