"""Training settings that contradict each other are refused before any framework loads."""

import subprocess
import sys

import pytest

from hand_tf.core.setting_fields import SettingError
from hand_tf.training import regimes
from hand_tf.training.settings import TrainingSettings

NEEDED = {"data_dir": "records", "workdir": "run"}
SUPERVISED = {"regime": "supervised", "scenario": "S0"}
SHARED = SUPERVISED | {"validation_share": 0.1, "processes": 2, "coordinator": "a:1"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"regime": "pose_head", "scenario": "S0"}, "--regime=pose_head starts from an earlier run: .* --init_from"),
        ({"regime": "supervised"}, "--regime=supervised learns from labels: expected --scenario"),
        ({"scale_jitter": (1.2, 0.6)}, "--scale_jitter=1.2,0.6: expected the smaller number first"),
        (SUPERVISED | {"keep": "best"}, "--keep=best needs a validation set: expected --validation_share above 0"),
        (SUPERVISED | {"early_stopping": 3}, "--early_stopping=3 needs a validation set"),
        ({"validation_share": 0.1, "keep": "best"}, "--regime=pretrain has no labels to validate on"),
        ({"batch_size": 3}, "--encode_once: expected an even --batch_size per process, not 3"),
        (SHARED | {"batch_size": 6}, "--encode_once: expected an even --batch_size per process, not 3"),
        ({"points": "sparse"}, "--points=sparse: expected one of dense, heatmaps"),
        ({"head_ridge": 0.0}, "--head_ridge=0.0: expected above 0"),
        ({"label_share": 1.0}, "--label_share=1.0: expected"),
        ({"scenario": "S0:64"}, "--regime=pretrain learns without labels: expected no --scenario"),
        ({"probe_crops": 1}, "--probe_crops=1: expected 0, or at least 2"),
        ({"workdir": ""}, "--workdir=: expected a value"),
        (SHARED | {"keep": "best"}, "--keep=best works in one process only: expected --processes=1, not 2"),
        (SHARED | {"early_stopping": 3}, "--early_stopping=3 works in one process only"),
        ({"processes": 3, "coordinator": "a:1"}, "--batch_size=32: expected a multiple of --processes=3"),
        ({"process_id": 1}, "--process_id=1: expected less than --processes=1"),
        ({"processes": 2}, "--processes=2: expected --coordinator"),
        ({"regime": "unsupervised"}, "--regime=unsupervised: expected one of supervised, pretrain"),
        ({"learning_rate": float("nan")}, "--learning_rate=nan: expected a finite number"),
        ({"learning_rate": -1.0}, "--learning_rate=-1.0: expected above 0"),
        ({"same_view_share": 1.1}, "--same_view_share=1.1: expected at least 0 and at most 1"),
        ({"encoder_width": 0}, "--encoder_width=0: expected at least 1"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    with pytest.raises(SettingError, match=message):
        TrainingSettings(**{"regime": "pretrain"} | NEEDED | changed)


@pytest.mark.parametrize("regime", regimes.REGIMES.values(), ids=lambda regime: regime.name)
def test_a_regime_asks_for_what_it_needs(regime):
    given = {"scenario": "S0"} if regime.labelled else {}
    given |= {"init_from": "earlier"} if regime.needs_init else {}
    assert TrainingSettings(regime=regime.name, **NEEDED, **given).regime == regime.name


def test_wrong_settings_fail_before_a_framework_loads():
    code = (
        "import sys; from hand_tf import train; from hand_tf.core import command_line\n"
        "status = command_line.run(train.main, ['--flagfile=pose_head', '--data_dir=a', '--workdir=b'])\n"
        "print(status, {'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"
