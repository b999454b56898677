"""Writes boxes that a hand detector would give for pictures of the dome, for `hand-tf predict --boxes`.

    python -m benchmarks.dome_boxes --dump=demo/dump/dome_pose3 --output=boxes.csv --count=6

Picks instants spread over the sequence, each from another camera, and writes the tight boxes of the projected joints:
file, x, y, width, height (px).
"""

import csv
import dataclasses
import pathlib

import numpy as np

from hand_tf.core import atomic, command_line, geometry, reading
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dump import panoptic


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomeBoxesSettings:
    """The flags of this command."""

    dump: str = setting("A sequence folder with hdImgs.")
    output: str = setting("The CSV file to write.")
    count: int = setting("Number of pictures.", 6, low=1)

    def __post_init__(self):
        check(self)


def main(settings: DomeBoxesSettings) -> None:
    """Writes the boxes and prints the paths of the pictures, one per line."""
    dump = pathlib.Path(settings.dump)
    cameras = panoptic.read_cameras(dump)
    files = panoptic.hand_files(dump)
    rows = []
    for n, pick in enumerate(np.linspace(0, len(files) - 1, settings.count).astype(int)):
        camera, (frame, path) = cameras[n % len(cameras)], files[pick]
        hand = reading.read_json(path)["people"][0]["right_hand"]
        pixels = geometry.project(10.0 * np.reshape(hand["landmarks"], (21, 3)), camera)
        low, size = pixels.min(0), np.ptp(pixels, axis=0)
        picture = dump / "hdImgs" / camera.name / f"{camera.name}_{frame:08d}.jpg"
        rows.append([picture.resolve(), *np.round([*low, *size], 1)])
    with atomic.replacing(settings.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "x", "y", "width", "height"])
        writer.writerows(rows)
    print("\n".join(str(row[0]) for row in rows))


if __name__ == "__main__":
    command_line.execute(main)
