"""A study's grid, the folders and commands it becomes, and that one that was stopped continues."""

import pathlib

import pytest

from hand_tf import study
from hand_tf.core import command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
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


@pytest.fixture
def calls(monkeypatch):
    """The calls of the three commands, which leave what the real ones leave: [(command, {flag: value})]."""
    made = []

    def record(module):
        set_by_hand = {name: module.FLAGS[name].value for name in module.FLAGS if module.FLAGS[name].present}
        made.append((module.__name__.removeprefix("hand_tf."), set_by_hand))

    def train(_):
        record(study.train)
        workdir = pathlib.Path(study.train.FLAGS.workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "run.json").write_text("{}")

    def evaluate(_):
        record(study.evaluate)
        (pathlib.Path(study.evaluate.FLAGS.run) / "results.json").write_text("{}")

    for module, main in (
        (study.train, train),
        (study.evaluate, evaluate),
        (study.report, lambda _: record(study.report)),
    ):
        monkeypatch.setattr(module, "main", main)
    monkeypatch.setattr(study.keras.utils, "clear_session", lambda **_: None)  # there is nothing to clear
    monkeypatch.chdir(ROOT)
    return made


def run(output, grid=GRID, *arguments):
    """The exit status of a study with the smoke sizes."""
    command_line.reset(study.FLAGS)
    arguments = [f"--grid={grid}", "--data_dir=records", f"--output={output}", "--sizes=flags/smoke.flags", *arguments]
    return command_line.old_run(study.main, study.FLAGS, ["study", *arguments])


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
    assert study.parse_grid(text) == runs


@pytest.mark.parametrize("text", ["= supervised", "S0 =", "pretrain; S0:64 = "])
def test_half_a_cell_is_refused_with_one_line(text, tmp_path, calls, capsys):
    assert run(tmp_path / "study", text) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --grid cell") and not calls and not (tmp_path / "study").exists()


def test_every_run_has_a_folder_of_its_own(tmp_path, calls):
    scenarios = ["S0", "S0:5", "S0:5%", "S0:50%", "S0:all", "S0..S4", "S0+S4", "*:5"]
    assert run(tmp_path, ";".join(f"{s} = supervised, semi_supervised" for s in scenarios), "--seeds=0,1") == 0
    names = folders(calls, "train")
    assert len(set(names)) == len(names) == len(scenarios) * 2 * 2
    assert "supervised-S0_5-seed0" in names and "semi_supervised-S0_5pct-seed1" in names
    assert {path.parent.name for path in tmp_path.glob("*/run.json")} == set(names)
    assert not [name for name in names if set(name) & set(":%/ ")]


# --- what is run ----------------------------------------------------------------------------------------------------


def test_every_cell_is_trained_evaluated_and_reported(tmp_path, calls):
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
    assert calls[-1] == ("report", {"runs": str(tmp_path), "data_dir": "records", "output": f"{tmp_path}/report"})


def test_each_seed_starts_from_its_own_pretraining(tmp_path, calls):
    assert run(tmp_path, "pretrain; S0:8 = pose_head; pretrain_aug; S0:9 = finetune", "--seeds=3,4") == 0
    expected = [
        (s, f"{tmp_path}/{p}-seed{s}" if p else None) for s in (3, 4) for p in (0, "pretrain", 0, "pretrain_aug")
    ]
    assert [(settings["seed"], settings.get("init_from")) for settings in trainings(calls)] == expected
    assert [name for name, _ in calls].count("report") == 1


def test_where_a_run_starts_is_the_same_when_a_study_is_repeated(tmp_path, calls):
    assert run(tmp_path, "pretrain; S0:8 = finetune, pose_head") == 0
    first = trainings(calls)
    calls.clear()
    assert run(tmp_path, "pretrain; S0:8 = finetune, pose_head") == 0
    assert trainings(calls) == first  # otherwise hand_tf.train refuses the folder


def test_the_report_can_be_left_out(tmp_path, calls):
    assert run(tmp_path, GRID, "--noreport") == 0
    assert "report" not in dict(calls)


def test_sizes_of_one_regime_follow_the_common_ones(tmp_path, calls):
    (tmp_path / "my.flags").write_text("--epochs=7\n--batch_size=6\n")
    (tmp_path / "my.supervised.flags").write_text("--epochs=9\n")
    assert run(tmp_path / "study", "pretrain; S0:8 = supervised", f"--sizes={tmp_path / 'my.flags'}") == 0
    assert [(settings["epochs"], settings["batch_size"]) for settings in trainings(calls)] == [(7, 6), (9, 6)]


# --- stopped and continued ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("victim", "at"), [("train", 4), ("evaluate", 1)])
def test_a_study_that_was_killed_continues(tmp_path, calls, monkeypatch, victim, at):
    module = getattr(study, victim)
    with monkeypatch.context() as patch, pytest.raises(Killed):

        def main(arguments, main=module.main):
            if len(folders(calls, victim)) == at:
                raise Killed
            main(arguments)

        patch.setattr(module, "main", main)
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


def test_a_finished_study_only_reports_again(tmp_path, calls):
    assert run(tmp_path) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    calls.clear()
    assert run(tmp_path) == 0
    assert folders(calls, "evaluate") == [] and calls[-1][0] == "report"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")} == before


def test_a_run_that_fails_stops_the_study(tmp_path, calls, monkeypatch, capsys):
    def main(_):
        raise ValueError("no S7 in the records")

    monkeypatch.setattr(study.train, "main", main)
    assert run(tmp_path) == 1
    assert "error: no S7 in the records" in capsys.readouterr().err and not calls
