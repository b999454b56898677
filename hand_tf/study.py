"""Trains and measures a grid of regimes and scenarios, and reports the results as a Table 1.

    hand-tf study --data_dir=RECORDS --output=STUDY --sizes=demo \\
        --grid="pretrain_aug; S0:64 = supervised, pose_head, finetune; S0..S4 = supervised, pose_head"
    hand-tf study --data_dir=RECORDS --output=STUDY --sizes=demo --flagfile=recipe --scenario=S0:64

The grid is a list of cells separated by `;`. A cell is a flagfile alone (pretrain, pretrain_aug), or a scenario, `=`
and the flagfiles to train on it, separated by commas. The scenario `*` stands for those of --scenario. A flagfile is
the name of one that comes with hand_tf, or a path. pose_head starts from the last pre-training before it. finetune and
finetune_joint start from the pose_head run of their scenario if there is one, otherwise from the last pre-training.

Each cell is one run per seed, in STUDY/<flagfile>-<scenario>-seed<seed>. Finished runs are kept, so the same command
continues a study that was stopped. All runs share this process, so TensorFlow is loaded only once.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from hand_tf.core import command_line, signals
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The flags of `study`; see the help text of each."""

    data_dir: str = setting("Folder of records (hand-tf build).")
    output: str = setting("Folder of the study's runs and report.")
    grid: str = setting("What to train, see above.")
    scenario: tuple[str, ...] = setting(
        "Scenario for the cells of the grid whose scenario is *; may be given several times.", (), repeated=True
    )
    sizes: tuple[str, ...] = setting(
        "Flagfile that overrides those of the grid, by name or path; may be given several times. Beside NAME.flags,"
        " NAME.<flagfile>.flags is read for the runs of that flagfile.",
        (),
        repeated=True,
    )
    seeds: tuple[str, ...] = setting("Seeds; the whole grid is trained with each of them.", ("0",))
    test_subjects: str = setting("Subjects to evaluate on.", "S9+S10")
    report: bool = setting("Write STUDY/report at the end.", True)

    def __post_init__(self):
        check(self)
        if not all(seed.isdecimal() for seed in self.seeds) or len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            raise SettingError(f"--seeds={','.join(self.seeds)}: expected different whole numbers, such as 0,1,2")


def main(settings: StudySettings) -> None:
    """Trains and evaluates every run of the grid, and writes the report."""
    from hand_tf import evaluate, report, train
    from hand_tf.results.results_table import RESULTS_FILE
    from hand_tf.training import grid

    cells, places = (
        grid.parse_grid(settings.grid, settings.scenario),
        {"data_dir": settings.data_dir, "output": settings.output},
    )
    runs = [run for seed in settings.seeds for run in grid.plan(cells, **places, sizes=settings.sizes, seed=seed)]
    if not runs:
        raise SettingError("--grid: expected at least one flagfile")
    _check_scenarios(settings, [run.settings.scenario for run in runs if run.settings.scenario])
    for run in runs:
        workdir = pathlib.Path(run.settings.workdir)
        print(f"\n=== {workdir.name}", flush=True)
        _call(train.main, run.arguments)
        if run.settings.scenario and not (workdir / RESULTS_FILE).is_file():
            records = f"--data_dir={settings.data_dir}"
            _call(evaluate.main, [records, f"--run={workdir}", f"--subjects={settings.test_subjects}"])
    if settings.report:
        folders = [f"--runs={settings.output}", f"--output={settings.output}/report"]
        _call(report.main, [*folders, f"--data_dir={settings.data_dir}"])


def _check_scenarios(settings: StudySettings, chosen: Sequence[str]) -> None:
    """Raises ValueError or OSError unless the records hold the labels of all scenarios, and those to test on."""
    from hand_tf.core import records_folder
    from hand_tf.data import scenarios

    records = records_folder.open_records(settings.data_dir)
    for scenario in dict.fromkeys([*chosen, *([f"{settings.test_subjects}:all"] if chosen else [])]):
        scenarios.choose_labels(scenario, records.index, records.manifest.subjects)


def _call(main: Callable, arguments: Sequence[str]) -> None:
    """Runs another command in this process. Raises ValueError if it fails, KeyboardInterrupt if it was stopped."""
    import keras

    keras.utils.clear_session(free_memory=True)
    status = command_line.run(main, arguments)
    if status == 130:
        raise KeyboardInterrupt
    if status == signals.Terminated.status:
        raise signals.Terminated
    if status:
        raise InputError(f"{main.__module__} failed, so the study stops here; what has finished is kept")


if __name__ == "__main__":
    command_line.execute(main)
