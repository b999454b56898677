"""Does an estimator trained on people of the dome carry over to others, and do more people help?

    python -m benchmarks.dome_subjects --folder=subjects --output=docs/dome_subjects.jsonl

Renders records of 40 people, trains `supervised` on the same number of labels from 1, 2, 8 and 32 of them for the
same number of steps, and measures all on the last eight. What has finished is kept, so the command continues.
"""

import json
import pathlib
import statistics
import sys

import matplotlib
from absl import flags

from benchmarks import results
from hand_tf import study
from hand_tf.core import command_line
from tfrecords_tools.dome import __main__ as dome

matplotlib.use("Agg")

FLAGS = flags.FlagValues()
flags.DEFINE_string("folder", None, "Where records and runs go.", required=True, flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)
flags.DEFINE_integer("labels", 1024, "Labels of every row.", flag_values=FLAGS)
flags.DEFINE_integer("frames", 128, "Instants per subject.", flag_values=FLAGS)
flags.DEFINE_list("counts", ["1", "2", "8", "32"], "Numbers of people to train on.", flag_values=FLAGS)
flags.DEFINE_list("seeds", ["0", "1"], "One run a seed.", flag_values=FLAGS)
flags.DEFINE_multi_string("sizes", ["flags/subjects.flags"], "As for hand_tf.study.", flag_values=FLAGS)

PEOPLE, TEST = 40, "S32..S39"


def _scenario(count):
    return f"S0..S{count - 1}:{FLAGS.labels}"


def _call(module, arguments):
    if command_line.run(module.main, arguments):
        raise ValueError(f"{module.__name__} {' '.join(arguments)} failed")


def collect(runs, counts, seeds):
    """A row a count: means over seeds, mm."""
    rows = []
    for count in counts:
        found = []
        for seed in seeds:
            name = f"supervised-{_scenario(count).replace(':', '_')}-seed{seed}"
            found.append(json.loads((runs / name / "results.json").read_text(encoding="utf-8"))["results"]["joints3d"])
        scores = [result["n_mpjpe"] for result in found]
        rows.append(
            {
                "subjects": count,
                "labels": FLAGS.labels,
                "mean_pose": round(statistics.mean(result["reference"]["n_mpjpe"] for result in found), 2),
                "n_mpjpe": round(statistics.mean(scores), 2),
                "pa_mpjpe": round(statistics.mean(result["pa_mpjpe"] for result in found), 2),
                "spread": round(max(scores) - min(scores), 2),
            }
        )
    return rows


def _note(rows):
    if len(FLAGS.seeds) == 1:
        return f"One run a row (seed {FLAGS.seeds[0]})."
    return f"Seeds {', '.join(FLAGS.seeds)}; they differ by at most {max(row['spread'] for row in rows):.1f} mm."


def main(_):
    """Renders, trains, measures, and prints the table."""
    folder = pathlib.Path(FLAGS.folder)
    settings = [f"--subjects={PEOPLE}", f"--frames={FLAGS.frames}", "--fps=4", "--image_size=192", "--crop_size=64"]
    _call(dome, [f"--records={folder / 'records'}", *settings])
    counts = [int(count) for count in FLAGS.counts]
    grid = "; ".join(f"{_scenario(count)} = supervised" for count in counts)
    arguments = [f"--data_dir={folder / 'records'}", f"--output={folder / 'runs'}", f"--grid={grid}", "--noreport"]
    arguments += [f"--sizes={path}" for path in FLAGS.sizes] + [f"--seeds={','.join(FLAGS.seeds)}"]
    _call(study, [*arguments, f"--test_subjects={TEST}"])
    rows = collect(folder / "runs", counts, FLAGS.seeds)
    for row in rows:
        print(f"{row['subjects']:>3} people: N-MPJPE {row['n_mpjpe']:.1f} mm (mean pose {row['mean_pose']:.1f})")
    headline = {
        "test": TEST,
        "command": f"python -m benchmarks.dome_subjects --folder={folder.name} --seeds={','.join(FLAGS.seeds)}",
        "note": _note(rows),
        "gain_mm": round(rows[0]["n_mpjpe"] - rows[-1]["n_mpjpe"], 2),
    }
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
