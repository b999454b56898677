"""Does a model know how far off it is, and where there is no hand?

    python -m benchmarks.confidence --data_dir=RECORDS --subjects=S220..S239 --sequence=two_view_rig [--model=hands]

Prints, and appends to DOCS/confidence.jsonl:

    joints    expected and observed errors in mm (N-MPJPE's scale), from the surest tenth of the joints on, of `box2d`
              crops of people whom neither the estimator nor its confidence was trained on
    hands     AUROC of the mean expected error between crops of hands and crops without one: on the dome the empty
              scenes of the same crops, in SEQUENCE, real footage, boxes of the same size elsewhere in the picture
"""

import dataclasses
import pathlib

import numpy as np
import scipy.stats

from benchmarks import measurements
from hand_tf.core import command_line, records_folder
from hand_tf.core.crops import BOX_MARGIN
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

_TRIES = 50  # places that are tried for a box without a hand


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfidenceSettings:
    """The flags of this command."""

    data_dir: str = setting("Folder of records.")
    subjects: str = setting("People to measure on.")
    sequence: str | None = setting("Sequence folder of real footage, with joints.", None)
    model: str = setting("What `hand_tf.load_estimator` reads.", "hands")
    max_crops: int = setting("Number of crops, always the same ones; 0: all.", 4000, low=0)
    docs: str | None = setting("Folder of the measurements; None: print only.", "docs")

    def __post_init__(self):
        check(self)


def auroc(hands: np.ndarray, others: np.ndarray) -> float:
    """The share of pairs of a hand [n] and another crop [m] in which the expected error of the hand is smaller."""
    smaller = scipy.stats.mannwhitneyu(others, hands).statistic
    return float(smaller / (len(hands) * len(others)))


def on_the_dome(settings: ConfidenceSettings, estimator) -> tuple[list[dict], float]:
    """Bins of joints as from `evaluation.measure_confidence`, and the AUROC against empty scenes."""
    from hand_tf.data import augmentation, batching, labelled_crops
    from hand_tf.results import evaluation

    records = records_folder.open_records(settings.data_dir)
    chosen = evaluation.choose_crops(records, settings.subjects, settings.max_crops)
    names, found = ("pose", "pose_weight", "predicted", "joint_error", "empty_error"), []
    for batch in labelled_crops.crops_with_labels(records, chosen).batch(64):
        batch = batching.decode(batch, ("source", "source_background"), records.manifest.crop_size)
        empty = augmentation.crop_box2d(batch | {"source": batch["source_background"]}, BOX_MARGIN)["source"]
        batch = augmentation.crop_box2d(batch, BOX_MARGIN)
        seen, none = (estimator(np.asarray(images)) for images in (batch["source"], empty))
        if "joint_error" not in seen:
            raise InputError(f"--model={settings.model}: has no expected errors (train --regime=confidence)")
        found.append(
            [*(np.asarray(batch[name]) for name in names[:2]), seen["pose"], seen["joint_error"], none["joint_error"]]
        )
    crops = dict(zip(names, map(np.concatenate, zip(*found, strict=True)), strict=True))
    bins = evaluation.measure_confidence(crops)
    return bins, auroc(crops["joint_error"].mean(1), crops["empty_error"].mean(1))


def on_real_footage(settings: ConfidenceSettings, estimator) -> tuple[float, int]:
    """The AUROC between the hands of a sequence and boxes elsewhere in its pictures, and the number of each."""
    from benchmarks import real_hands
    from hand_tf.serving import box_crops

    random, hands, others = np.random.default_rng(0), [], []
    shown = real_hands.pictures(real_hands.RealHandsSettings(sequence=settings.sequence, model=(settings.model,)))
    size = estimator.shape[1]
    for each in shown:
        box = each["boxes"]["joints"].box
        elsewhere = _elsewhere(random, box, each["image"].shape)
        if elsewhere is not None:
            for place, kept in ((box, hands), (elsewhere, others)):
                kept.append(box_crops.cut(each["image"], place, size, BOX_MARGIN, None, 0.0)[0])
    errors = [estimator(np.stack(crops))["joint_error"].mean(1) for crops in (hands, others)]
    return auroc(*errors), len(hands)


def _elsewhere(random, box, shape):
    """A box of the same size somewhere else in the picture, whose crop does not touch that of `box`; None if there is
    no room.
    """
    (x, y, width, height), side = box, BOX_MARGIN * max(box[2:])
    for _ in range(_TRIES):
        left, top = random.uniform(0, shape[1] - width), random.uniform(0, shape[0] - height)
        if max(abs(left - x), abs(top - y)) > side:
            return left, top, width, height
    return None


def main(settings: ConfidenceSettings) -> None:
    """Measures and prints."""
    from hand_tf.serving import litert, model_files

    file = model_files.find_model(settings.model)
    if file.suffix != ".tflite":
        raise InputError(f"--model={settings.model}: expected a LiteRT model")
    estimator = litert.LiteRTModel(file.read_bytes())
    bins, dome = on_the_dome(settings, estimator)
    rows = [{name: round(value, 2) for name, value in each.items()} for each in bins]
    for row in rows:
        print(row)
    headline = {"model": settings.model, "subjects": settings.subjects, "auroc_dome": round(dome, 4)}
    if settings.sequence:
        real, count = on_real_footage(settings, estimator)
        headline |= {"auroc_real": round(real, 4), "real_hands": count}
    measurements.publish(headline, rows, pathlib.Path(settings.docs) / "confidence.jsonl" if settings.docs else None)


if __name__ == "__main__":
    command_line.execute(main)
