"""How long does pre-training take until its points say where the joints are? Trains flagfiles one after the other.

    python -m benchmarks.time_to_accuracy --data_dir=RECORDS --output=runs --sizes=evidence \\
        --run=pretrain --run=pretrain,version_0_2_0 --run=paper/pretrain

A run is one flagfile or several, separated by commas; the flagfiles --sizes follow, then the flags --also. Prints for
each run the minutes of training, and the triplets, until the pose probe has reached each of the errors --errors, and
appends a line to DOCS/time_to_accuracy.jsonl. Runs that have finished are kept, so the same command continues.

Compare minutes only of runs that were trained while the machine did nothing else.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from benchmarks import measurements
from hand_tf.core import command_line, reading
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeToAccuracySettings:
    """The flags of this command."""

    data_dir: str = setting("Folder of records.")
    output: str = setting("Folder of the run folders.")
    run: tuple[str, ...] = setting("Flagfiles of one run, see above. May be given several times.", repeated=True)
    sizes: tuple[str, ...] = setting("Flagfiles that follow in all runs.", ("evidence",))
    also: tuple[str, ...] = setting("Flags for all runs, such as --also=--epochs=30.", (), repeated=True)
    seeds: tuple[str, ...] = setting("Seeds; all runs are trained with each of them.", ("0",))
    errors: tuple[str, ...] = setting("N-MPJPE of the probe, mm.", ("50", "45", "40", "35"))
    docs: str | None = setting("Folder of the measurements; None: print only.", "docs")

    def __post_init__(self):
        check(self)
        if not all(seed.isdecimal() for seed in self.seeds):
            raise SettingError(f"--seeds={','.join(self.seeds)}: expected whole numbers, such as 0,1,2")
        if not all(error.replace(".", "", 1).isdecimal() for error in self.errors):
            raise SettingError(f"--errors={','.join(self.errors)}: expected numbers of mm, such as 50,45")


def reached(history: Sequence[dict[str, str]], batch_size: int, steps: int, error: float) -> list[float] | None:
    """[minutes, triplets] after which the probe was at most `error` mm for the first time; None if it never was.

    Args:
        history: the rows of history.csv.
        batch_size, steps: triplets per step, steps per epoch.
    """
    seconds = 0.0
    for row in history:
        seconds += float(row["seconds"])
        if row.get("probe") and float(row["probe"]) <= error:
            return [round(seconds / 60, 1), round(float(row["epoch"])) * steps * batch_size]
    return None


def measure(folder: pathlib.Path, errors: Sequence[float]) -> dict:
    """The row of a finished run."""
    summary = reading.read_json_object(folder / "run.json", ["flags", "batch_size", "steps"])
    history = [row for _, row in reading.read_table(folder / "history.csv", ["epoch", "seconds", "probe"])]
    steps = int(summary["flags"]["steps_per_epoch"])
    found = {f"{error:g}": reached(history, summary["batch_size"], steps, error) for error in errors}
    last = [float(row["probe"]) for row in history if row["probe"]][-1]
    triplets = summary["steps"] * summary["batch_size"]
    minutes = sum(float(row["seconds"]) for row in history) / 60
    return {
        "run": folder.name,
        "reached": found,
        "last": round(last, 2),
        "triplets": triplets,
        "minutes": round(minutes, 1),
    }


def main(settings: TimeToAccuracySettings) -> None:
    """Trains what has not been trained, and prints the table."""
    import keras

    from hand_tf import train

    errors, rows = [float(error) for error in settings.errors], []
    for seed in settings.seeds:
        for run in settings.run:
            folder = pathlib.Path(settings.output) / f"{run.replace('/', '_').replace(',', '-')}-seed{seed}"
            flags = [f"--flagfile={name}" for name in (*run.split(","), *settings.sizes)] + list(settings.also)
            places = [f"--data_dir={settings.data_dir}", f"--workdir={folder}", f"--seed={seed}"]
            keras.utils.clear_session(free_memory=True)
            if command_line.run(train.main, [*flags, *places]):
                raise InputError(f"{folder}: this run failed; what has finished is kept")
            rows.append(measure(folder, errors))
    print(f"{'run':40}{'last':>8}" + "".join(f"{f'{error:g} mm':>22}" for error in errors))
    for row in rows:
        cells = (f"{found[0]:.1f} min, {found[1]:,}" if found else "–" for found in row["reached"].values())
        print(f"{row['run']:40}{row['last']:8.2f}" + "".join(f"{cell:>22}" for cell in cells))
    path = pathlib.Path(settings.docs) / "time_to_accuracy.jsonl" if settings.docs else None
    measurements.publish({"errors": errors, "seeds": list(settings.seeds), "also": list(settings.also)}, rows, path)


if __name__ == "__main__":
    command_line.execute(main)
