"""Writes the boxes.csv of a recording from its joints, in place of those of a hand detector.

    python -m benchmarks.joint_boxes --sequence=two_view_rig

Each box is the tight one about the accepted joints of a hand in a camera's picture, for `build --crops_from=boxes`.
"""

import csv
import dataclasses
import pathlib

import numpy as np

from hand_tf.core import atomic, command_line, geometry
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dump import boxes, panoptic
from tfrecords_tools.dump.sequences import Selection
from tfrecords_tools.dump.skipped import Skipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointBoxesSettings:
    """The flags of this command."""

    sequence: str = setting("A sequence folder with joints; boxes.csv is written into it.")

    def __post_init__(self):
        check(self)


def main(settings: JointBoxesSettings) -> None:
    """Writes the boxes and prints how many there are."""
    folder, rows = pathlib.Path(settings.sequence), []
    cameras, subject_of = panoptic.read_cameras(folder), panoptic.read_subjects(folder)
    limits = (Selection.min_score, Selection.max_error)
    hands, _ = panoptic.read_hands(folder, *limits, subject_of, Skipped())
    for hand in hands:
        for camera in cameras:
            pixels = geometry.project(hand.joints[hand.accepted], camera)
            if np.isfinite(pixels).all():
                low, size = pixels.min(0), np.ptp(pixels, axis=0) + 1
                rows.append([hand.frame, camera.name, hand.person_id, hand.side, *np.round([*low, *size], 1)])
    with atomic.replacing(folder / "boxes.csv") as file:
        csv.writer(file, lineterminator="\n").writerows([boxes.COLUMNS, *rows])
    print(f"{folder / 'boxes.csv'}: {len(rows)} boxes of {len(hands)} hands")


if __name__ == "__main__":
    command_line.execute(main)
