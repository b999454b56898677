"""How long a command takes to answer, and a training to begin.

    python -m benchmarks.startup --output=docs/startup.jsonl --data_dir=RECORDS

Times `--help` of each command: whole processes, with everything in the disk cache, medians over the rounds. With
--data_dir it also times the demo's pre-training from the start of the process to the end of the first step, by stage.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import measurements
from hand_tf.core import command_line
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

COMMANDS = (
    *(f"hand_tf.{name}" for name in ("train", "evaluate", "study", "report", "export", "predict")),
    *(f"tfrecords_tools.{name}" for name in ("build", "dome", "inspect")),
)
TRAINING = ("--flagfile=pretrain", "--flagfile=demo", "--flagfile=demo.pretrain_aug")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartupSettings:
    """The flags of this command."""

    rounds: int = setting("Rounds of each --help.", 7, low=1)
    data_dir: str | None = setting("Folder of records. Without it, no training is started.", None)
    trainings: int = setting("Number of trainings that are started.", 3, low=1)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)


def help_seconds(name: str) -> float:
    """Seconds of one `--help`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", name, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def first_step(records: str) -> list[tuple[str, float, float]]:
    """(stage, seconds since the process was started, CPU seconds) of a training up to its first step."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*TRAINING, f"--data_dir={records}", f"--workdir={folder}/run"]
        program = [sys.executable, "-m", "benchmarks.first_step", str(time.time()), *arguments]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1:]
    if done.returncode or not last or not last[0].startswith("["):
        raise InputError(f"the training did not begin: {done.stderr.strip()[-300:]}")
    return json.loads(last[0])


def training_rows(records: str, rounds: int) -> tuple[list[dict], float, float]:
    """Rows (stage, seconds, CPU seconds), and both times to the end of the first step; medians over `rounds`."""
    runs = [first_step(records) for _ in range(rounds)]
    rows, names = [], [stage[0] for stage in runs[0]]
    for i, name in enumerate(names):
        spent = [[stages[i][n] - (stages[i - 1][n] if i else 0.0) for stages in runs] for n in (1, 2)]
        seconds, cpu = (round(statistics.median(times), 2) for times in spent)
        rows.append({"stage": name, "seconds": seconds, "cpu_seconds": cpu})
    return rows, *(round(statistics.median(stages[-1][n] for stages in runs), 2) for n in (1, 2))


def main(settings: StartupSettings) -> None:
    """Prints the tables and the headline."""
    for name in COMMANDS:
        help_seconds(name)  # fills the disk cache
    times = {name: [] for name in COMMANDS}
    for _ in range(settings.rounds):
        for name, each in times.items():
            each.append(help_seconds(name))
    medians = {name: round(statistics.median(each), 3) for name, each in times.items()}
    for name, value in medians.items():
        print(f"{name + ' --help':<40}{value:>8.2f} s")
    headline, rows = {"help_seconds": medians, "slowest_help": max(medians.values()), "cpus": os.cpu_count()}, []
    if settings.data_dir:
        rows, seconds, cpu = training_rows(settings.data_dir, settings.trainings)
        headline |= {"first_step_seconds": seconds, "first_step_cpu_seconds": cpu}
        print()
        for row in rows:
            print(f"{row['stage']:<40}{row['seconds']:>8.2f} s{row['cpu_seconds']:>8.2f} CPU s")
        print(f"{'first training step':<40}{seconds:>8.2f} s{cpu:>8.2f} CPU s")
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
