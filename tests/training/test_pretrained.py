"""Trainings that start from the estimator that comes with the package, on records of other people."""

import json

import numpy as np
import pytest
from smoke_runs import run, weights

from hand_tf.core import pretrained, records_folder
from hand_tf.training import runs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_replica")]


@pytest.fixture(scope="module")
def records(dump, tmp_path_factory):
    """Records of crops as large as the model's."""
    from tfrecords_tools import build

    folder = tmp_path_factory.mktemp("records64")
    settings = {"crop_size": 64, "fps": 5.0, "workers": 1, "records_per_shard": 6}
    build.build(build.BuildSettings(input=(str(dump),), output=str(folder), **settings))
    return folder


def test_a_teacher_without_any_label_starts_from_it(records, tmp_path):
    flags = ["--init_from=hands", "--subjects=S0..S4"]
    assert run(records, tmp_path / "student", "multi_view_teacher", *flags) == 0
    content = json.loads((tmp_path / "student" / "run.json").read_text())
    assert content["init_from"] == "hands" and content["labels"] == 0
    found = runs.describe(tmp_path / "student")
    assert found["configuration"].startswith("multi_view_teacher on ")
    known = records_folder.open_records(records).manifest.subjects
    assert runs.subjects_seen(found, known) == {"S0", "S1", "S2", "S3", "S4"}  # its own S5 is another person


def test_a_pose_head_over_its_encoder_leaves_the_encoder_as_it_is(records, tmp_path):
    assert run(records, tmp_path, "pose_head", "--init_from=hands", "--scenario=S0:12") == 0
    for a, b in zip(weights(pretrained.located("hands"), "encoder"), weights(tmp_path, "encoder"), strict=True):
        np.testing.assert_array_equal(a, b)
