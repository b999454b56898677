"""Does an estimator trained on people of the dome generalise to others, and do more people help?

    python -m benchmarks.dome_subjects --folder=subjects --output=docs/dome_subjects.jsonl

Renders records of 40 people, trains `supervised` on the same number of labels of 1, 2, 8 and 32 of them for the same
number of steps, and measures all on the last eight. What has finished is kept, so the same command continues.
"""

import dataclasses
import pathlib
import statistics

from benchmarks import measurements
from hand_tf.core import command_line, reading
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting

PEOPLE, TEST = 40, "S32..S39"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomeSubjectsSettings:
    """The flags of this command."""

    folder: str = setting("Folder of the records and runs.")
    output: str | None = setting("JSON-lines file to append to.", None)
    labels: int = setting("Labels per run.", 1024, low=1)
    frames: int = setting("Instants per subject.", 128, low=2)
    counts: tuple[str, ...] = setting("Numbers of people to train on.", ("1", "2", "8", "32"))
    seeds: tuple[str, ...] = setting("Seeds; one run each.", ("0", "1"))
    sizes: tuple[str, ...] = setting("As for hand-tf study.", ("subjects",), repeated=True)

    def __post_init__(self):
        check(self)
        if not all(count.isdecimal() and 0 < int(count) <= PEOPLE for count in self.counts):
            raise SettingError(f"--counts={','.join(self.counts)}: expected numbers of 1 to {PEOPLE}")


def _scenario(count, labels):
    return f"S0..S{int(count) - 1}:{labels}"


def _call(main, arguments):
    if command_line.run(main, arguments):
        raise InputError(f"{main.__module__} {' '.join(arguments)} failed")


def collect(runs: pathlib.Path, settings: DomeSubjectsSettings) -> list[dict]:
    """One row per number of people: means over the seeds, mm."""
    rows = []
    for count in settings.counts:
        results = []
        for seed in settings.seeds:
            run = runs / f"supervised-{_scenario(count, settings.labels).replace(':', '_')}-seed{seed}"
            results.append(reading.read_json_object(run / "results.json", ["results"])["results"]["joints3d"])
        scores = [result["n_mpjpe"] for result in results]
        rows.append(
            {
                "subjects": int(count),
                "labels": settings.labels,
                "mean_pose": round(statistics.mean(result["reference"]["n_mpjpe"] for result in results), 2),
                "n_mpjpe": round(statistics.mean(scores), 2),
                "pa_mpjpe": round(statistics.mean(result["pa_mpjpe"] for result in results), 2),
                "spread": round(max(scores) - min(scores), 2),
            }
        )
    return rows


def _note(rows, seeds):
    if len(seeds) == 1:
        return f"One run per row (seed {seeds[0]})."
    return f"Seeds {', '.join(seeds)}; they differ by at most {max(row['spread'] for row in rows):.1f} mm."


def main(settings: DomeSubjectsSettings) -> None:
    """Renders, trains, measures, and prints the table."""
    from hand_tf import study
    from tfrecords_tools.dome import __main__ as dome

    folder, seeds = pathlib.Path(settings.folder), ",".join(settings.seeds)
    shape = [f"--subjects={PEOPLE}", f"--frames={settings.frames}", "--fps=4", "--image_size=192", "--crop_size=64"]
    _call(dome.main, [f"--records={folder / 'records'}", *shape])
    grid = "; ".join(f"{_scenario(count, settings.labels)} = supervised" for count in settings.counts)
    arguments = [f"--data_dir={folder / 'records'}", f"--output={folder / 'runs'}", f"--grid={grid}", "--noreport"]
    arguments += [f"--sizes={name}" for name in settings.sizes] + [f"--seeds={seeds}", f"--test_subjects={TEST}"]
    _call(study.main, arguments)
    rows = collect(folder / "runs", settings)
    for row in rows:
        print(f"{row['subjects']:>3} people: N-MPJPE {row['n_mpjpe']:.1f} mm (mean pose {row['mean_pose']:.1f})")
    headline = {
        "test": TEST,
        "command": f"python -m benchmarks.dome_subjects --folder={folder.name} --seeds={seeds}",
        "note": _note(rows, settings.seeds),
        "gain_mm": round(rows[0]["n_mpjpe"] - rows[-1]["n_mpjpe"], 2),
    }
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
