"""How long a command takes to answer, and a training to begin.

    python -m benchmarks.startup --output=docs/startup.jsonl --data_dir=RECORDS

`--help` of every command, medians of whole processes on a warm disk; then, with --data_dir, the seconds from the start
of the process to the end of the first training step of the demo's pre-training, and where they go.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import results
from hand_tf.core import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_integer("rounds", 7, "Rounds of every --help.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Records; without them no training is started.", flag_values=FLAGS)
flags.DEFINE_integer("trainings", 3, "Trainings that are started.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)

COMMANDS = (
    *(f"hand_tf.{name}" for name in ("train", "evaluate", "export", "predict", "report")),
    *(f"tfrecords_tools.{name}" for name in ("build", "dome", "inspect")),
)
TRAINING = [
    "--flagfile=flags/pretrain.flags",
    "--flagfile=flags/demo.flags",
    "--flagfile=flags/demo.pretrain_aug.flags",
]
# A training that says when it comes past what, and ends after its first step.
STAGES = """
import json, os, sys, time
began = float(sys.argv[1])
stages = []

def passed(name):
    stages.append((name, time.time() - began, time.process_time()))

passed("Python")
from hand_tf import command, train, trainer
passed("TensorFlow, Keras")

def timed(module, name, label):
    function = getattr(module, name)
    def wrapped(*arguments, **keywords):
        result = function(*arguments, **keywords)
        passed(label)
        return result
    setattr(module, name, wrapped)

timed(trainer, "_parts", "records, networks")
timed(trainer, "_probe", "pose probe: crops, references")
timed(trainer, "_batches", "input pipeline")

class First(trainer.keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        passed("first batch: buffers, shapes")
    def on_train_batch_end(self, batch, logs=None):
        passed("first step: tracing")
        print(json.dumps(stages), flush=True)
        os._exit(0)

callbacks = trainer._callbacks
trainer._callbacks = lambda *arguments: [First(), *callbacks(*arguments)]
command_line.old_run(train.main, train.FLAGS, ["train", *sys.argv[2:]])
"""


def help_seconds(name):
    """Seconds of one `--help`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", name, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def first_step(records):
    """[(stage, seconds since the process was started, CPU seconds)] of a training up to its first step."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*TRAINING, f"--data_dir={records}", f"--workdir={folder}/run"]
        program = [sys.executable, "-c", STAGES, str(time.time()), *arguments]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    if not done.stdout.startswith("[") and "\n[" not in done.stdout:
        raise ValueError(f"the training did not begin: {done.stderr.splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _training_rows(records, rounds):
    """Rows (stage, seconds, CPU seconds) and the seconds to the first step, medians over `rounds`."""
    found = [first_step(records) for _ in range(rounds)]
    rows, names = [], [stage[0] for stage in found[0]]
    for i, name in enumerate(names):
        spent = [[stages[i][n] - (stages[i - 1][n] if i else 0.0) for stages in found] for n in (1, 2)]
        seconds, cpu = (round(statistics.median(times), 2) for times in spent)
        rows.append({"stage": name, "seconds": seconds, "cpu_seconds": cpu})
    return rows, *(round(statistics.median(stages[-1][n] for stages in found), 2) for n in (1, 2))


def main(_):
    """Prints the tables and the headline."""
    for name in COMMANDS:
        help_seconds(name)  # warms the disk
    seconds = {name: [] for name in COMMANDS}
    for _ in range(FLAGS.rounds):
        for name, times in seconds.items():
            times.append(help_seconds(name))
    middle = {name: round(statistics.median(times), 3) for name, times in seconds.items()}
    for name, value in middle.items():
        print(f"{name + ' --help':<40}{value:>8.2f} s")
    headline, rows = {"help_seconds": middle, "slowest_help": max(middle.values()), "cpus": os.cpu_count()}, []
    if FLAGS.data_dir:
        rows, seconds, cpu = _training_rows(FLAGS.data_dir, FLAGS.trainings)
        headline |= {"first_step_seconds": seconds, "first_step_cpu_seconds": cpu}
        print()
        for row in rows:
            print(f"{row['stage']:<40}{row['seconds']:>8.2f} s{row['cpu_seconds']:>8.2f} CPU s")
        print(f"{'first training step':<40}{seconds:>8.2f} s{cpu:>8.2f} CPU s")
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
