"""The poses that an estimator predicts for crops of a folder of records, beside what the records say."""

import keras
import numpy as np
from tqdm import tqdm

from hand_tf.core.crops import BOX_MARGIN
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.data import batching, labelled_crops

# What the result calls the outputs of an estimator, where it has them.
_OUTPUTS = {"predicted": "pose", "predicted_2d": "joints_2d", "joint_error": "joint_error", "points": "points"}


def predict(
    estimator: keras.Model,
    records: Records,
    chosen: list[tuple[str, str]],
    *,
    rule: str = "joints3d",
    box_margin: float = BOX_MARGIN,
    batch_size: int = 256,
    title: str | None = None,
) -> dict[str, np.ndarray]:
    """The true and predicted poses of all `chosen` crops (record key, camera), in the order of the shards.

    Args:
        estimator: from `models.pose_estimator`; it may have `points` as a further output.
        rule: crop rule, of `crops.CROP_RULES`.
        box_margin: for `box2d`, side of the crop over the longer side of the joints' box.
        batch_size: crops per step; does not affect the results.
        title: of the progress bar; by default the rule.

    Returns a dict: `pose` and `predicted` [n, 21, 3] mm, `joints_2d` and, if the pose head has it, `predicted_2d`
    [n, 21, 2] px, `joint_error` [n, 21] mm and `points` if they are outputs, `pose_weight` [n, 21], `rotation`
    [n, 3, 3], `key` and `subject` [n] str.

    Raises ValueError if the records are damaged or lack some of the crops.
    """
    batches = labelled_crops.evaluation(records, chosen, batch_size=batch_size, crop=rule, box_margin=box_margin)
    columns = {name: [] for name in ("pose", "joints_2d", "pose_weight", "rotation", "key", "subject")}
    columns |= {name: [] for name, output in _OUTPUTS.items() if output in estimator.output}
    bar = tqdm(total=len(chosen), desc=title or rule, unit="crop", disable=None)
    with bar, batching.damage_named(records):
        for batch in batches.as_numpy_iterator():
            found = estimator.predict_on_batch({"source": batch["source"]})
            batch |= {name: found.get(output) for name, output in _OUTPUTS.items()}
            for name, column in columns.items():
                column.append(np.asarray(batch[name]))
            bar.update(len(batch["pose"]))
    crops = {name: np.concatenate(column) for name, column in columns.items()}
    if len(crops["pose"]) != len(chosen):
        raise InputError(
            f"{records.folder}: the index promises {len(chosen)} crops, the shards hold {len(crops['pose'])}"
        )
    return crops | {name: crops[name].astype(str) for name in ("key", "subject")}
