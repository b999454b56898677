"""What is read about finished runs: their configuration, the runs before them, and the subjects they have seen."""

import json

import pytest

from hand_tf.training import runs

SUBJECTS = ("S0", "S1", "S2", "S9")


def write_run(folder, regime, init_from=None, scenario=None, **flags):
    """A run folder with nothing but its run.json."""
    folder.mkdir()
    flags = {"regime": regime, "in_plane_degrees": "0.0", "subjects": "S0..S1"} | flags
    summary = {"regime": regime, "scenario": scenario, "labels": 4, "init_from": init_from, "steps": 5, "flags": flags}
    summary |= {"batch_size": 2, "seconds": 1.5, "backend": "tensorflow", "keras": "3"}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


def test_configuration_follows_the_runs_before(tmp_path):
    write_run(tmp_path / "plain", "pretrain")
    write_run(tmp_path / "turned", "pretrain", in_plane_degrees="180.0")
    head = write_run(tmp_path / "head", "pose_head", init_from=str(tmp_path / "plain"))
    assert runs.describe(head)["configuration"] == "pose_head on pretrain"
    moved = write_run(tmp_path / "aug", "finetune", init_from="elsewhere/turned")
    assert runs.describe(moved)["configuration"] == "finetune on pretrain_aug"
    chain = write_run(tmp_path / "chain", "finetune", init_from=str(tmp_path / "head"))
    assert runs.describe(chain)["configuration"] == "finetune on pose_head on pretrain"
    lost = write_run(tmp_path / "lost", "finetune", init_from="elsewhere/gone")
    assert runs.describe(lost)["configuration"] == "finetune on gone"
    assert runs.describe(lost)["before"] is None


@pytest.mark.parametrize(
    ("regime", "name"),
    [
        ("semi_supervised", "semi_supervised_aug"),
        ("supervised", "supervised"),
        ("finetune_joint", "finetune_joint_aug"),
    ],
)
def test_in_plane_rotations_count_only_where_there_are_unlabelled_views(regime, name):
    assert runs.training_name({"regime": regime, "in_plane_degrees": "20.0"}) == name
    assert runs.training_name({"regime": regime, "in_plane_degrees": "0.0"}) == regime


def test_a_summary_holds_what_run_json_says(tmp_path):
    run = runs.describe(write_run(tmp_path / "run", "supervised", scenario="S0:10%", head_width="32"))
    assert (run["name"], run["scenario"], run["labels"], run["flags"]["head_width"]) == ("run", "S0:10%", 4, "32")
    assert "init_from" not in run and run["before"] is None


def test_subjects_seen_are_those_of_the_whole_chain(tmp_path):
    write_run(tmp_path / "pretrain", "pretrain")
    run = runs.describe(write_run(tmp_path / "head", "pose_head", str(tmp_path / "pretrain"), "S2:10%", subjects="S9"))
    assert runs.subjects_seen(run, SUBJECTS) == {"S0", "S1", "S2"}  # a pose head reads no unlabelled crops of S9
    every = runs.describe(write_run(tmp_path / "every", "semi_supervised", scenario="S0", subjects="*"))
    assert runs.subjects_seen(every, SUBJECTS) == set(SUBJECTS)


def test_what_is_no_finished_run_is_one_clear_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.json: no such file; is .* the workdir of a finished run"):
        runs.describe(tmp_path)
    path = tmp_path / "run.json"
    for content, message in (
        ("{}", "field regime: missing"),
        ("{", "not valid JSON"),
        ("[]", "a JSON object expected"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"run.json: {message}"):
            runs.describe(tmp_path)
