"""How far off is an estimator on people of the dome, by skin, size and direction of their hands?

    python -m benchmarks.model_card --data_dir=RECORDS --subjects=S220..S239 [--model=hands]

RECORDS were made by `hand-tf dome`, so that the people's traits follow from the seed. Prints N-MPJPE and PA-MPJPE in mm
on `box2d` crops of the subjects, and the same of a constant pose, the mean of these very crops, and appends them to
DOCS/model_card.jsonl. Groups of fewer than 50 crops are left out.

Directions are those of the middle metacarpal in the crop: towards or away from the camera if it is within 45 degrees of
the optical axis, else up, down or sideways.
"""

import dataclasses
import pathlib

import numpy as np

from benchmarks import measurements
from hand_tf.core import command_line, records_folder, skeleton
from hand_tf.core.crops import BOX_MARGIN
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting

_LEAST = 50  # crops of a group


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCardSettings:
    """The flags of this command."""

    data_dir: str = setting("Folder of records that `hand-tf dome` made.")
    subjects: str = setting("People to measure on, whom the model was not trained on.")
    model: str = setting("What `hand_tf.load_estimator` reads.", "hands")
    max_crops: int = setting("Number of crops, always the same ones; 0: all.", 6000, low=0)
    docs: str | None = setting("Folder of the measurements; None: print only.", "docs")

    def __post_init__(self):
        check(self)


def measured(settings: ModelCardSettings, records: records_folder.Records) -> dict[str, np.ndarray]:
    """True and predicted poses [n, 21, 3] mm, `pose_weight` [n, 21] and the names of the subjects [n]."""
    from hand_tf.data import labelled_crops
    from hand_tf.results import evaluation
    from hand_tf.serving.estimator import load_estimator

    estimator, found = load_estimator(settings.model), []
    chosen = evaluation.choose_crops(records, settings.subjects, settings.max_crops)
    batches = labelled_crops.evaluation(records, chosen, batch_size=64, crop="box2d", box_margin=BOX_MARGIN)
    for batch in batches.as_numpy_iterator():
        names = np.array([name.decode() for name in batch["subject"]])
        found.append((batch["pose"], batch["pose_weight"], names, estimator.estimate(batch["source"])))
    names = ("pose", "pose_weight", "subject", "predicted")
    return dict(zip(names, map(np.concatenate, zip(*found, strict=True)), strict=True))


def groups_of(poses: np.ndarray, subjects: np.ndarray, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """{heading: {group: crops of it [n] bool}} of `poses` [n, 21, 3] mm of the dome's `subjects` [n]."""
    from tfrecords_tools.dome.person import people

    traits = [people.traits(seed, int(name[1:])) for name in subjects]
    tone, length = (np.array([getattr(each, name) for each in traits]) for name in ("tone", "length"))
    axis = poses[:, skeleton.FINGERS["middle"][0]] - poses[:, skeleton.ROOT]
    x, y, z = (axis / np.linalg.norm(axis, axis=1, keepdims=True)).T
    facing = np.abs(z) > np.sqrt(0.5)
    tall = np.abs(y) > np.abs(x)
    return {
        "skin (Monk scale)": {
            "1 to 3": tone < 2.5 / 9,
            "4 to 7": (tone >= 2.5 / 9) & (tone < 6.5 / 9),
            "8 to 10": tone >= 6.5 / 9,
        },
        "hand length": {
            "below 168 mm": length < 168,
            "168 to 182 mm": (length >= 168) & (length < 182),
            "182 mm and more": length >= 182,
        },
        "hand points": {
            "up": ~facing & tall & (y < 0),
            "down": ~facing & tall & (y > 0),
            "sideways": ~facing & ~tall,
            "towards the camera": facing & (z < 0),
            "away from the camera": facing & (z > 0),
        },
    }


def main(settings: ModelCardSettings) -> None:
    """Measures and prints."""
    from hand_tf.nets import metrics

    records = records_folder.open_records(settings.data_dir)
    try:
        seed = records.manifest.build_flags["sequences"][0]["seed"]
    except (KeyError, TypeError):
        raise InputError(f"--data_dir={settings.data_dir}: not made by hand-tf dome --records") from None
    found = measured(settings, records)
    true, weights = found["pose"], found["pose_weight"]
    constant = np.broadcast_to((true * weights[..., None]).sum(0) / weights.sum(0)[:, None], true.shape)
    errors = {
        f"{name}{suffix}": np.asarray(metric(true, poses, weights), float)
        for suffix, poses in (("", found["predicted"]), ("_constant", constant))
        for name, metric in (("n_mpjpe", metrics.n_mpjpe), ("pa_mpjpe", metrics.pa_mpjpe))
    }
    groups = {"all": {"": np.ones(len(true), bool)}} | groups_of(true, found["subject"], seed)
    rows = []
    for heading, each in groups.items():
        for group, own in each.items():
            if own.sum() >= _LEAST:
                means = {name: round(float(values[own].mean()), 2) for name, values in errors.items()}
                rows.append({"heading": heading, "group": group, "crops": int(own.sum()), **means})
                print(rows[-1], flush=True)
    headline = {"model": settings.model, "subjects": settings.subjects, "crops": len(true)}
    headline["people"] = len(set(found["subject"].tolist()))
    measurements.publish(headline, rows, pathlib.Path(settings.docs) / "model_card.jsonl" if settings.docs else None)


if __name__ == "__main__":
    command_line.execute(main)
