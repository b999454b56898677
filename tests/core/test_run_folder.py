"""Whose a run folder is: first come, continued with the same settings, refused with others."""

import dataclasses

import pytest

from hand_tf.core import run_folder
from hand_tf.training.settings import MAY_CHANGE, TrainingSettings

DIGEST = "0123abcd"


def settings(folder, **changed):
    return TrainingSettings(**{"regime": "pretrain", "data_dir": "records", "workdir": str(folder)} | changed)


def claim(wanted, digest=DIGEST):
    return run_folder.claim_run_folder(wanted.workdir, wanted, digest, MAY_CHANGE)


def begin(folder):
    """As the first checkpoint of a run leaves the folder."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "epoch_00001.npz").touch()


def test_a_run_is_continued_with_the_same_settings_only(tmp_path):
    assert claim(settings(tmp_path)) is False
    begin(tmp_path)
    assert claim(settings(tmp_path)) is False
    assert claim(settings(tmp_path, pictures_every=9, checkpoint_every=3)) is False  # these may change
    with pytest.raises(ValueError, match=r"--num_points=200, asked for --num_points=9 \(1 flags differ\); use another"):
        claim(settings(tmp_path, num_points=9))
    with pytest.raises(ValueError, match="belongs to a run with --regime=pretrain, asked for --regime=supervised"):
        claim(settings(tmp_path, regime="supervised", scenario="S0"))
    with pytest.raises(ValueError, match="learned from other records"):
        claim(settings(tmp_path), "other")
    (tmp_path / "run.json").write_text("{}")
    assert claim(settings(tmp_path)) is True


def test_a_run_that_never_began_is_taken_over(tmp_path):
    claim(settings(tmp_path, num_points=9))
    assert claim(settings(tmp_path)) is False and "--num_points=200" in (tmp_path / "flags.txt").read_text()


def test_helping_processes_write_nothing(tmp_path):
    wanted = settings(tmp_path / "run")
    assert run_folder.look_at_run_folder(wanted.workdir, wanted, DIGEST, MAY_CHANGE) is False
    assert not (tmp_path / "run").exists()


def test_a_run_of_version_0_2_0_is_continued(tmp_path):
    """Its flags.txt writes truth values as --name and --noname, and knows nothing of flags that came later."""
    begin(tmp_path)
    labelled = {"regime": "supervised", "scenario": "S0"}
    later = {"validation_share", "validation_crops", "keep", "early_stopping"}
    lines = [f"# records {DIGEST}"]
    for field in dataclasses.fields(TrainingSettings):
        value = getattr(settings(tmp_path, **labelled), field.name)
        if field.name in later or value is None:
            continue
        if isinstance(value, bool):
            lines.append(f"--{field.name}" if value else f"--no{field.name}")
        else:
            lines.append(f"--{field.name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    (tmp_path / "flags.txt").write_text("\n".join(lines))
    assert claim(settings(tmp_path, **labelled)) is False
    with pytest.raises(ValueError, match=r"--validation_share=0\.0, asked for --validation_share=0\.1"):
        claim(settings(tmp_path, **labelled, validation_share=0.1))
