"""Do novel views show the hand? A fixed estimator looks at predicted and at true views of people nobody trained on.

    hand-tf train --flagfile=pretrain ... --workdir=long
    hand-tf train --flagfile=multi_view_teacher ... --workdir=student
    python -m benchmarks.novel_views --data_dir=RECORDS --run=long --estimator=student

Draws OUTPUT/novel_views_sheet.jpg, one triplet per row, and appends one line to OUTPUT/novel_views.jsonl: the errors of
the estimator on predicted and on true target views (N-MPJPE, mm), and how often the number of extended fingers that
the estimator finds agrees with that of the labels. A finger is extended if its tip is further from its base than
`STRAIGHT` of the length of its bones. The estimator errs on true views too, so its counts there are the reference.
"""

import dataclasses
import pathlib

import numpy as np

from benchmarks import measurements
from hand_tf.core import command_line, drawing, reading, records_folder, schema, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting
from hand_tf.data import labelled_crops, scenarios
from hand_tf.nets import metrics
from hand_tf.nets.parts import load_estimator, load_part
from hand_tf.training import sheets

STRAIGHT, BATCH = 0.9, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class NovelViewsSettings:
    """The flags of this command."""

    data_dir: str = setting("Folder of records.")
    run: str = setting("Run that learned novel views.")
    estimator: str = setting("Run that estimates poses.")
    subjects: str = setting("Subjects whose views are predicted.", "S9+S10")
    rows: int = setting("Triplets on the sheet.", 32, low=1)
    triplets: int = setting("Triplets to measure, at least those of the sheet.", 960, low=1)
    seed: int = setting("Seed of the triplets.", 0, low=0)
    output: str = setting("Folder of the measurements and pictures.", "docs")

    def __post_init__(self):
        check(self)


def extended_fingers(poses: np.ndarray) -> np.ndarray:
    """How many of the five fingers of each pose [n, 21, 3] are extended, [n]."""
    counts = np.zeros(len(poses), int)
    for joints in skeleton.FINGERS.values():
        finger = poses[:, list(joints)]
        bones = np.linalg.norm(np.diff(finger, axis=1), axis=-1).sum(1)
        counts += np.linalg.norm(finger[:, -1] - finger[:, 0], axis=-1) > STRAIGHT * bones
    return counts


def draw_triplets(settings: NovelViewsSettings, records: records_folder.Records) -> dict[str, np.ndarray]:
    """The triplets to measure, i != j.

    Images `source`, `target`, `reference` and `background` uint8 [n, size, size, 3], `rotation` [n, 3, 3], and of the
    target `pose` [n, 21, 3] mm and `pose_weight` [n, 21]. Raises ValueError if the subjects have too few views.
    """
    chosen = scenarios.choose_labels(f"{settings.subjects}:all", records.index, records.manifest.subjects)
    crops = labelled_crops.load_labels(records, chosen)
    random, keys, groups = np.random.default_rng(settings.seed), crops["key"].astype(str), crops["subject"]
    sources = random.permutation(len(keys))[: max(settings.triplets, settings.rows)]
    targets, references = [], []
    for source in sources:
        same = keys == keys[source]
        others = np.flatnonzero(same & (np.arange(len(keys)) != source))
        elsewhere = np.flatnonzero((groups == groups[source]) & ~same)
        if not (len(others) and len(elsewhere)):
            raise InputError(f"{records.folder}: {keys[source]}: expected a second view, and a second instant")
        targets.append(random.choice(others))
        references.append(random.choice(elsewhere))

    def pictures(name, rows):
        return np.stack([schema.decode_image(crops[name][row]).numpy() for row in rows])

    return {
        "source": pictures("source", sources),
        "target": pictures("source", targets),
        "reference": pictures("source", references),
        "background": pictures("source_background", targets),
        "rotation": crops["rotation"][targets] @ crops["rotation"][sources].swapaxes(1, 2),
        "pose": crops["pose"][targets],
        "pose_weight": crops["pose_weight"][targets],
    }


def predict_views(run: str, size: int, drawn: dict[str, np.ndarray]) -> np.ndarray:
    """The novel views that a run gives for all triplets, uint8 [n, size, size, 3]."""
    parts = {name: load_part(run, name, size) for name in ("encoder", "decoder")}
    batches = [
        {name: value[first : first + BATCH] for name, value in drawn.items()}
        for first in range(0, len(drawn["source"]), BATCH)
    ]
    return np.concatenate([sheets.predict_views(parts, batch)["predicted"] for batch in batches])


def measure(poses: dict[str, np.ndarray], true: np.ndarray, weights: np.ndarray, rows: int) -> list[dict]:
    """One row per kind of view: the estimator's error in mm, and the shares of agreeing counts of extended fingers.

    Args:
        poses: [n, 21, 3] that the estimator gives for each kind of view.
        true: the labels' poses; weights: 1 for accepted joints.
        rows: triplets of the sheet, the first ones.
    """
    wanted = extended_fingers(true)
    found = []
    for name, each in poses.items():
        agrees = extended_fingers(each) == wanted
        error = float(np.mean(metrics.n_mpjpe(true, each, weights)))
        row = {"views": name, "n_mpjpe": round(error, 1), "agreeing": round(float(agrees.mean()), 3)}
        found.append(row | {"agreeing_on_sheet": int(agrees[:rows].sum())})
    return found


def sheet(drawn: dict[str, np.ndarray], poses: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """The first triplets: source, target, predicted view, and the estimator's skeletons, with counts of fingers."""
    counts = {"labels": extended_fingers(drawn["pose"])} | {
        name: extended_fingers(each) for name, each in poses.items()
    }
    size, lines = drawn["source"].shape[1], []
    for n in range(rows):
        cells = [("source", drawn["source"][n]), (f"target: {counts['labels'][n]}", drawn["target"][n])]
        cells.append(("predicted", drawn["predicted"][n]))
        for name, each in poses.items():
            blank = np.full((size, size, 3), 24, np.uint8)
            skeleton_of = drawing.draw_joints(blank, drawing.weak_perspective(each[n], size))
            cells.append((f"{name}: {counts[name][n]}", skeleton_of))
        lines.append([drawing.caption(drawing.enlarge(image, max(1, 96 // size)), text) for text, image in cells])
    half = -(-rows // 2)  # two triplets side by side
    return drawing.grid(
        [one + other for one, other in zip(lines[:half], lines[half:] + [[]] * (rows % 2), strict=True)]
    )


def main(settings: NovelViewsSettings) -> None:
    """Writes the sheet and the line of numbers."""
    records = records_folder.open_records(settings.data_dir)
    size = records.manifest.crop_size
    estimator = load_estimator(settings.estimator, size)
    drawn = draw_triplets(settings, records)
    drawn["predicted"] = predict_views(settings.run, size, drawn)
    poses = {
        name: np.asarray(estimator.predict({"source": drawn[view]}, batch_size=BATCH, verbose=0)["pose"])
        for name, view in (("true", "target"), ("predicted", "predicted"))
    }
    output = pathlib.Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    drawing.save(output / "novel_views_sheet.jpg", sheet(drawn, poses, settings.rows))
    rows = measure(poses, drawn["pose"], drawn["pose_weight"], settings.rows)
    for row in rows:
        print(row)
    headline = {"test": settings.subjects, "triplets": len(drawn["pose"]), "rows": settings.rows, "seed": settings.seed}
    steps = reading.read_json_object(pathlib.Path(settings.run) / "run.json", ["steps", "batch_size"])
    headline["trained_triplets"] = steps["steps"] * steps["batch_size"]
    measurements.publish(headline, rows, output / "novel_views.jsonl")


if __name__ == "__main__":
    command_line.execute(main)
