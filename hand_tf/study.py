"""Trains and measures a grid of regimes and scenarios, and reports it as a Table 1.

    python -m hand_tf.study --data_dir=RECORDS --output=STUDY --sizes=flags/demo.flags \
        --grid="pretrain_aug; S0:64 = supervised, pose_head, finetune; S0..S4 = supervised, pose_head"

The grid is a list of cells apart by `;`: a flagfile's name alone (pretrain, pretrain_aug), or a scenario, `=` and the
flagfiles to run on it. pose_head starts from the last pretrain(_aug) before it, finetune from the pose_head of its
scenario if there is one (a new head would first undo what the encoder knows), else from the pretrain(_aug) too. Every
cell is one run in STUDY/<flagfile>-<scenario>-seed<seed>; runs that have finished are kept, so the same command
continues a study that was stopped. All runs share one process: most of a small run would be importing otherwise.
"""

import pathlib
import sys

import keras
from absl import flags

from hand_tf import evaluate, report, train
from hand_tf.core import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "Folder of records.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "Folder of the study's runs and report.", flag_values=FLAGS)
flags.DEFINE_string("grid", None, "What to run; see above.", flag_values=FLAGS)
flags.DEFINE_multi_string("sizes", [], "Flagfiles read after a regime's own.", flag_values=FLAGS)
flags.DEFINE_list("seeds", ["0"], "One study a seed.", flag_values=FLAGS)
flags.DEFINE_string("test_subjects", "S9+S10", "Subjects to evaluate on.", flag_values=FLAGS)
flags.DEFINE_bool("report", True, "Write the report at the end.", flag_values=FLAGS)
flags.mark_flags_as_required(["data_dir", "output", "grid"], flag_values=FLAGS)


def parse_grid(text):
    """The runs of a grid, (flagfile name, scenario or None), in order. Raises ValueError for an empty cell."""
    runs = []
    for cell in filter(None, (cell.strip() for cell in text.replace("\n", ";").split(";"))):
        scenario, equals, names = (part.strip() for part in cell.partition("="))
        if not equals:
            runs.append((scenario, None))
            continue
        if not scenario or not names:
            raise ValueError(f"--grid cell {cell!r}: expected SCENARIO = FLAGFILE, FLAGFILE, ...")
        runs += [(name.strip(), scenario) for name in names.split(",")]
    return runs


def _call(module, *arguments):
    """Runs a command of the project in this process; raises ValueError where it ends with an error."""
    keras.utils.clear_session(free_memory=True)
    module.FLAGS.unparse_flags()
    status = command_line.old_run(module.main, module.FLAGS, [module.__name__, *arguments])
    if status:
        raise ValueError(f"{module.__name__} {' '.join(arguments)} ended with status {status}")


def _workdir(name, scenario, seed):
    parts = [name, *([scenario.replace(":", "_").replace("%", "pct")] if scenario else []), f"seed{seed}"]
    return pathlib.Path(FLAGS.output) / "-".join(parts)


def _run(name, scenario, seed, start):
    """Trains and, where there is a pose to measure, evaluates one cell; returns its workdir."""
    workdir = _workdir(name, scenario, seed)
    print(f"\n=== {workdir.name}", flush=True)
    arguments = [f"--flagfile=flags/{name}.flags"]
    sizes = [f"--flagfile={path}" for path in FLAGS.sizes]
    # A size file may hold lines for one regime only: flags/demo.pretrain_aug.flags beside flags/demo.flags.
    sizes += [
        f"--flagfile={p}" for path in FLAGS.sizes if (p := pathlib.Path(path).with_suffix(f".{name}.flags")).is_file()
    ]
    if scenario:
        arguments.append(f"--scenario={scenario}")
    if start:
        arguments.append(f"--init_from={start}")
    _call(train, *arguments, *sizes, f"--data_dir={FLAGS.data_dir}", f"--workdir={workdir}", f"--seed={seed}")
    if scenario and not (workdir / "results.json").is_file():
        _call(evaluate, f"--data_dir={FLAGS.data_dir}", f"--run={workdir}", f"--subjects={FLAGS.test_subjects}")
    return workdir


def main(_):
    """Runs the grid for every seed and writes the report."""
    grid = parse_grid(FLAGS.grid)
    missing = [path for name, _ in grid if not pathlib.Path(path := f"flags/{name}.flags").is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such flagfile; run from the folder that holds flags/")
    for seed in FLAGS.seeds:
        pretrained, heads = None, {}
        for name, scenario in grid:
            start = None
            if name == "pose_head" or name.startswith("finetune"):
                start = heads.get(scenario, pretrained) if name != "pose_head" else pretrained
            workdir = _run(name, scenario, seed, start)
            if name.startswith("pretrain"):
                pretrained, heads = workdir, {}
            elif name == "pose_head":
                heads[scenario] = workdir
    if FLAGS.report:
        _call(report, f"--runs={FLAGS.output}", f"--data_dir={FLAGS.data_dir}", f"--output={FLAGS.output}/report")


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
