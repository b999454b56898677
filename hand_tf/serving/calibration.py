"""Crops that set the ranges of an integer model, and crops that measure how far it is from the float model."""

import dataclasses
import os

import numpy as np

from hand_tf.core import crops
from hand_tf.core.records_folder import Records
from hand_tf.data import labelled_crops, scenarios
from hand_tf.training import runs

NUM_CROPS = 256  # that set the ranges; as many others measure the difference


@dataclasses.dataclass(frozen=True, eq=False)
class CalibrationCrops:
    """Two sets of crops without a common one, uint8 [n, size, size, 3] RGB, and the subjects in them (`S0..S2+S4`)."""

    calibration: np.ndarray
    held_out: np.ndarray
    subjects: str


def training_crops(run: str | os.PathLike, records: Records, box_margin: float) -> CalibrationCrops:
    """Crops of the subjects that a run has seen.

    Half of each set are crops as they were built. The other half are cut again around the box, as `predict` does.

    Args:
        run: the folder of a finished run.
        records: those that the run learned from.
        box_margin: side of a crop over the longer side of the hand's box.

    Raises FileNotFoundError or ValueError for a run that has not finished, and for records without labels of them.
    """
    seen = runs.subjects_seen(runs.describe(run), records.manifest.subjects)
    subjects = scenarios.in_words([name for name in records.manifest.subjects if name in seen])
    chosen = scenarios.choose_labels(f"{subjects}:all", records.index, records.manifest.subjects)[: 2 * NUM_CROPS]
    images = []
    for position, rule in enumerate(crops.CROP_RULES):
        part = chosen[position :: len(crops.CROP_RULES)]
        batches = labelled_crops.evaluation(records, part, batch_size=64, crop=rule, box_margin=box_margin)
        images += [batch["source"] for batch in batches.as_numpy_iterator()]
    images = np.concatenate(images)
    return CalibrationCrops(images[::2], images[1::2], subjects)
