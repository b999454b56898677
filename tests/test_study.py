"""A study's grid, the folders and commands it becomes, and that one that was stopped continues."""

import pathlib
import subprocess
import sys

import keras
import pytest

from hand_tf import evaluate, report, study, train
from hand_tf.core import command_line, records_folder, signals
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError
from hand_tf.training import grid

GRID = "pretrain_aug; S0:64 = supervised, pose_head, finetune; S0..S4:5% = supervised, finetune"
# The folders of GRID, in the order in which they are trained.
FOLDERS = (
    "pretrain_aug-seed0",
    "supervised-S0_64-seed0",
    "pose_head-S0_64-seed0",
    "finetune-S0_64-seed0",
    "supervised-S0..S4_5pct-seed0",
    "finetune-S0..S4_5pct-seed0",
)


class Killed(BaseException):
    """Not an Exception, like a signal."""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A records folder with an index of 100 instants each of S0..S10, and nothing in it."""
    folder, index, groups = tmp_path_factory.mktemp("records"), [], []
    for subject in (f"S{i}" for i in range(11)):
        groups.append(records_folder.Group("dome", subject, "right", 100, 200, 100, ()))
        fields = {"shard": "none", "sequence": "dome", "subject": subject, "side": "right", "cameras": ["a", "b"]}
        index += [fields | {"key": f"dome/{subject}/{i}", "frame": i, "labelled": True} for i in range(100)]
    manifest = records_folder.Manifest(1, 32, 5.0, {"dome": ["a", "b"]}, {}, {}, "", tuple(groups))
    records_folder.write_manifest(folder, manifest, index)
    return folder


@pytest.fixture
def calls(monkeypatch):
    """The calls of the three commands, which leave what the real ones leave: [(command, {flag: value})]."""
    made = []

    def record(name, settings):
        made.append((name, {flag: value for flag, value in vars(settings).items() if value is not None}))

    def train_main(settings: train.TrainingSettings) -> None:
        record("train", settings)
        workdir = pathlib.Path(settings.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "run.json").write_text("{}")

    def evaluate_main(settings: evaluate.EvaluateSettings) -> None:
        record("evaluate", settings)
        (pathlib.Path(settings.run) / "results.json").write_text("{}")

    def report_main(settings: report.ReportSettings) -> None:
        record("report", settings)

    for module, main in ((train, train_main), (evaluate, evaluate_main), (report, report_main)):
        monkeypatch.setattr(module, "main", main)
    monkeypatch.setattr(keras.utils, "clear_session", lambda **_: None)  # there is nothing to clear
    return made


@pytest.fixture
def run(records):
    """Runs a study with the smoke sizes: (output, grid, *more arguments) -> its exit status."""

    def run(output, text=GRID, *arguments):
        places = [f"--data_dir={records}", f"--output={output}", "--sizes=smoke"]
        return command_line.run(study.main, [f"--grid={text}", *places, *arguments])

    return run


def trainings(calls):
    return [settings for name, settings in calls if name == "train"]


def folders(calls, name):
    field = {"train": "workdir", "evaluate": "run"}[name]
    return [pathlib.Path(settings[field]).name for called, settings in calls if called == name]


# --- the grid -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("pretrain", [("pretrain", None)]),
        ("S0 = supervised", [("supervised", "S0")]),
        ("S0:10%=a,b ,  c", [("a", "S0:10%"), ("b", "S0:10%"), ("c", "S0:10%")]),
        (" pretrain ;; S0..S4:all = a;\nS1+S3 = b\npretrain_aug\n", "pretrain a@S0..S4:all b@S1+S3 pretrain_aug"),
        ("", []),
    ],
)
def test_a_grid_is_a_list_of_runs_in_order(text, runs):
    if isinstance(runs, str):
        runs = [(name, scenario or None) for name, _, scenario in (run.partition("@") for run in runs.split())]
    assert grid.parse_grid(text) == runs


def test_the_recipe_is_trained_on_every_scenario():
    arguments = ["--flagfile=recipe", "--scenario=S0:64", "--scenario=S0..S4", "--data_dir=a", "--output=b"]
    found = command_line.parse(study.StudySettings, arguments)
    runs = grid.parse_grid(found.grid, found.scenario)
    students = [(name, scenario) for scenario in ("S0:64", "S0..S4") for name in ("pose_head", "multi_view_teacher")]
    assert runs == [("pretrain_aug", None), *students]
    for text, scenarios, message in (
        (found.grid, (), r"--grid cell '\* = pose_head, multi_view_teacher': expected --scenario"),
        ("S0:64 = supervised", ("S0",), r"--scenario=S0: expected a cell of --grid with the scenario \*"),
    ):
        with pytest.raises(SettingError, match=message):
            grid.parse_grid(text, scenarios)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= supervised", "--grid cell '= supervised': expected SCENARIO = FLAGFILE"),
        ("S0 =", "--grid cell 'S0 =': expected SCENARIO = FLAGFILE"),
        ("pretrain; S0:64 = ", "--grid cell 'S0:64 =': expected SCENARIO = FLAGFILE"),
        ("pretrain; S0:64 = pose_head,, finetune", "expected SCENARIO = FLAGFILE"),
        (" ; ", "--grid: expected at least one flagfile"),
        ("pretrained", "--grid cell 'pretrained': --flagfile=pretrained: no such file"),
        ("supervised", "--grid cell 'supervised': --regime=supervised learns from labels: expected --scenario"),
        ("S0 = pretrain_aug", "--grid cell 'S0 = pretrain_aug': --regime=pretrain learns without labels"),
        ("S0:64 = finetune_joint", "--regime=finetune_joint needs a pre-training before it"),
        ("S0 = supervised, pose_head; pretrain", "--grid cell 'S0 = pose_head': --regime=pose_head needs a pre-train"),
        ("pretrain; S0 = pose_head; pretrain_aug; S0 = pose_head", "two of its runs would have the folder"),
        ("common", "--grid cell 'common': --regime is missing"),
        ("pretrain; S0 = multi_view_teacher", "--regime=multi_view_teacher needs a pose_head of its scenario before"),
    ],
)
def test_a_wrong_grid_is_refused_with_one_line(text, message, tmp_path, calls, run, capsys):
    assert run(tmp_path / "study", text) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --grid") and message in line
    assert not calls and not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("pretrain; S77:64 = pose_head", [], "no S77 in the records"),
        ("pretrain; S0:201 = pose_head", [], "asks for 201 labels, the records have 200"),
        ("pretrain; S0:much = pose_head", [], "scenario amount 'much'"),
        ("S0 = supervised", ["--test_subjects=S11"], "no S11 in the records"),
    ],
)
def test_a_scenario_that_the_records_lack_fails_before_anything_is_trained(
    text, arguments, message, tmp_path, calls, run, capsys
):
    assert run(tmp_path / "study", text, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line and not calls


def test_a_pretraining_alone_needs_no_test_subjects(tmp_path, calls, run):
    assert run(tmp_path, "pretrain", "--test_subjects=S11") == 0
    assert [name for name, _ in calls] == ["train", "report"]


@pytest.mark.parametrize("seeds", ["", "a", "0,0", "-1", "1.5"])
def test_seeds_are_different_whole_numbers(seeds, tmp_path, calls, run, capsys):
    assert run(tmp_path, GRID, f"--seeds={seeds}") == 2
    assert "error: --seeds" in capsys.readouterr().err and not calls


def test_wrong_sizes_fail_before_anything_is_trained(tmp_path, calls, run, capsys):
    (tmp_path / "wrong.flags").write_text("--epochs=0\n")
    assert run(tmp_path / "study", GRID, f"--sizes={tmp_path / 'wrong.flags'}") == 2
    assert run(tmp_path / "study", GRID, "--sizes=nothing_like_that") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "--epochs=0: expected at least 1" in first and "--flagfile=nothing_like_that: no such file" in second
    assert not calls


def test_a_wrong_grid_does_not_wait_for_tensorflow(records):
    code = (
        "import sys; from hand_tf import study; from hand_tf.core import command_line\n"
        f"places = ['--data_dir={records}', '--output=nowhere']\n"
        "for grid in ('S0:64 = finetune_joint', 'S77 = supervised'):\n"
        "    assert command_line.run(study.main, [f'--grid={grid}', *places])\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_every_run_has_a_folder_of_its_own(tmp_path, calls, run):
    scenarios = ["S0", "S0:5", "S0:5%", "S0:50%", "S0:all", "S0..S4", "S0+S4", "*:5"]
    assert run(tmp_path, ";".join(f"{s} = supervised, semi_supervised" for s in scenarios), "--seeds=0,1") == 0
    names = folders(calls, "train")
    assert len(set(names)) == len(names) == len(scenarios) * 2 * 2
    assert "supervised-S0_5-seed0" in names and "semi_supervised-S0_5pct-seed1" in names
    assert {path.parent.name for path in tmp_path.glob("*/run.json")} == set(names)
    assert not [name for name in names if set(name) & set(":%/ ")]


# --- what is run ----------------------------------------------------------------------------------------------------


def test_every_cell_is_trained_evaluated_and_reported(tmp_path, calls, run, records):
    assert run(tmp_path) == 0
    assert folders(calls, "train") == list(FOLDERS) and folders(calls, "evaluate") == list(FOLDERS[1:])
    regimes = [settings["regime"] for settings in trainings(calls)]
    assert regimes == ["pretrain", "supervised", "pose_head", "finetune", "supervised", "finetune"]
    scenarios = [settings.get("scenario") for settings in trainings(calls)]
    assert scenarios == [None, *["S0:64"] * 3, *["S0..S4:5%"] * 2]
    # Supervised starts from scratch, also after a run that did not.
    # finetune continues the head of its own scenario, if there is one.
    pretrained, head = (str(tmp_path / FOLDERS[i]) for i in (0, 2))
    starts = [settings.get("init_from") for settings in trainings(calls)]
    assert starts == [None, None, pretrained, head, None, pretrained]
    assert {settings["num_points"] for settings in trainings(calls)} == {8}  # of the sizes, over the regime's own
    assert {settings["subjects"] for name, settings in calls if name == "evaluate"} == {"S9+S10"}
    name, settings = calls[-1]
    assert name == "report" and (settings["runs"], settings["output"]) == (str(tmp_path), f"{tmp_path}/report")
    assert {settings["data_dir"] for _, settings in calls} == {str(records)}


def test_each_seed_starts_from_its_own_pretraining(tmp_path, calls, run):
    assert run(tmp_path, "pretrain; S0:8 = pose_head; pretrain_aug; S0:9 = finetune", "--seeds=3,4") == 0
    expected = [
        (s, f"{tmp_path}/{p}-seed{s}" if p else None) for s in (3, 4) for p in (0, "pretrain", 0, "pretrain_aug")
    ]
    assert [(settings["seed"], settings.get("init_from")) for settings in trainings(calls)] == expected
    assert [name for name, _ in calls].count("report") == 1


def test_a_joint_finetuning_starts_where_a_finetuning_does(tmp_path, calls, run):
    assert run(tmp_path, "pretrain; S0:64 = finetune_joint; S0:8 = pose_head, finetune_joint") == 0
    pretrained, head = f"{tmp_path}/pretrain-seed0", f"{tmp_path}/pose_head-S0_8-seed0"
    assert [settings.get("init_from") for settings in trainings(calls)] == [None, pretrained, pretrained, head]
    assert folders(calls, "train")[1] == "finetune_joint-S0_64-seed0"
    assert [settings["regime"] for settings in trainings(calls)][1] == "finetune_joint"


def test_a_student_starts_from_the_head_of_its_scenario_and_what_follows_from_the_student(tmp_path, calls, run):
    text = "paper/pretrain; pretrain; S0:8 = pose_head, multi_view_teacher, finetune; S0:9 = pose_head, finetune"
    assert run(tmp_path, text) == 0
    names = folders(calls, "train")
    assert names[:2] == ["paper_pretrain-seed0", "pretrain-seed0"]
    starts = [pathlib.Path(settings.get("init_from") or "").name for settings in trainings(calls)]
    assert starts == ["", "", names[1], names[2], names[3], names[1], names[5]]
    assert names[3] == "multi_view_teacher-S0_8-seed0"


def test_the_regime_decides_where_a_run_starts_and_not_the_name_of_its_flagfile(tmp_path, calls, run):
    """Flagfiles by path, with the names of other regimes."""
    names = {"supervised": "pretrain", "mine": "pose_head", "pretrain": "finetune", "pose_head": "semi_supervised"}
    for name, regime in names.items():
        (tmp_path / f"{name}.flags").write_text(f"--flagfile={regime}\n")
    a, b, c, d = (tmp_path / f"{name}.flags" for name in names)
    assert run(tmp_path / "study", f"{a}; S0:8 = {b}, {c}, {d}") == 0
    starts = [settings.get("init_from") for settings in trainings(calls)]
    first, head = f"{tmp_path}/study/supervised-seed0", f"{tmp_path}/study/mine-S0_8-seed0"
    assert starts == [None, first, head, None]
    assert [settings["regime"] for settings in trainings(calls)] == list(names.values())
    assert folders(calls, "evaluate") == ["mine-S0_8-seed0", "pretrain-S0_8-seed0", "pose_head-S0_8-seed0"]


def test_names_of_flagfiles_work_from_any_directory(tmp_path, calls, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, "pretrain_aug; S0:8 = pose_head", "--sizes=demo") == 0
    first, second = trainings(calls)
    # Of demo.pretrain_aug.flags and demo.pose_head.flags, beside demo.flags.
    assert (first["learning_rate"], first["steps_per_epoch"]) == (3e-3, 200)
    assert (second["learning_rate"], second["steps_per_epoch"]) == (1e-3, 100)


def test_where_a_run_starts_is_the_same_when_a_study_is_repeated(tmp_path, calls, run):
    assert run(tmp_path, "pretrain; S0:8 = finetune, pose_head") == 0
    first = trainings(calls)
    calls.clear()
    assert run(tmp_path, "pretrain; S0:8 = finetune, pose_head") == 0
    assert trainings(calls) == first  # otherwise hand_tf.train refuses the folder


def test_the_report_can_be_left_out(tmp_path, calls, run):
    assert run(tmp_path, GRID, "--noreport") == 0
    assert "report" not in dict(calls)


def test_sizes_of_one_regime_follow_the_common_ones(tmp_path, calls, run):
    (tmp_path / "my.flags").write_text("--epochs=7\n--batch_size=6\n")
    (tmp_path / "my.supervised.flags").write_text("--epochs=9\n")
    assert run(tmp_path / "study", "pretrain; S0:8 = supervised", f"--sizes={tmp_path / 'my.flags'}") == 0
    assert [(settings["epochs"], settings["batch_size"]) for settings in trainings(calls)] == [(7, 6), (9, 6)]


# --- stopped and continued ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "at"), [(train, 4), (evaluate, 1)])
def test_a_study_that_was_killed_continues(tmp_path, calls, run, monkeypatch, module, at):
    victim = module.__name__.removeprefix("hand_tf.")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        main = module.main

        def killed(settings: command_line.settings_class_of(main)) -> None:
            if len(folders(calls, victim)) == at:
                raise Killed
            main(settings)

        patch.setattr(module, "main", killed)
        run(tmp_path)
    assert [name for name, _ in calls].count(victim) == at and "report" not in dict(calls)
    before, evaluated = len(calls), folders(calls, "evaluate")
    assert run(tmp_path) == 0
    again = calls[before:]
    # Every run is asked for again: hand_tf.train leaves one that has finished alone and continues one that has not.
    assert folders(again, "train") == list(FOLDERS)
    assert trainings(again)[: len(trainings(calls[:before]))] == trainings(calls[:before])
    assert evaluated + folders(again, "evaluate") == list(FOLDERS[1:])  # none twice
    assert again[-1][0] == "report"


def test_a_finished_study_only_reports_again(tmp_path, calls, run):
    assert run(tmp_path) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    calls.clear()
    assert run(tmp_path) == 0
    assert folders(calls, "evaluate") == [] and calls[-1][0] == "report"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")} == before


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("no S7 in the records"), 1, "error: no S7 in the records"),
        (OSError("disk full"), 1, "error: disk full"),
        (KeyboardInterrupt(), 130, "stopped; what had finished is kept"),
        (signals.Terminated(), 143, "stopped; what had finished is kept"),
    ],
)
def test_a_run_that_fails_stops_the_study(tmp_path, calls, run, monkeypatch, capsys, error, status, message):
    def main(settings: train.TrainingSettings) -> None:
        raise error

    monkeypatch.setattr(train, "main", main)
    assert run(tmp_path) == status
    assert message in capsys.readouterr().err.splitlines() and not calls
