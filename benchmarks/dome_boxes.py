"""Boxes that a hand detector would give for pictures of the dome, for `hand_tf.predict --boxes`.

    python -m benchmarks.dome_boxes --dump=demo/dump/dome_pose3 --output=boxes.csv --count=6

Picks `count` instants spread over the sequence, each from another camera, and writes the tight box of the projected
joints: file, x, y, width, height (px).
"""

import csv
import pathlib
import sys

import numpy as np
from absl import flags

from hand_tf.core import command_line, geometry
from tfrecords_tools.dump import panoptic

FLAGS = flags.FlagValues()
flags.DEFINE_string("dump", None, "A sequence folder with hdImgs.", required=True, flag_values=FLAGS)
flags.DEFINE_string("output", None, "The CSV file to write.", required=True, flag_values=FLAGS)
flags.DEFINE_integer("count", 6, "How many pictures.", lower_bound=1, flag_values=FLAGS)


def main(_):
    """Writes the boxes and prints the pictures' paths, one a line."""
    dump = pathlib.Path(FLAGS.dump)
    cameras = panoptic.read_cameras(dump)
    files = panoptic.hand_files(dump)
    rows = []
    for n, pick in enumerate(np.linspace(0, len(files) - 1, FLAGS.count).astype(int)):
        camera, (frame, path) = cameras[n % len(cameras)], files[pick]
        hand = panoptic.load_json(path)["people"][0]["right_hand"]
        pixels = geometry.project(10.0 * np.reshape(hand["landmarks"], (21, 3)), camera)
        low, size = pixels.min(0), np.ptp(pixels, axis=0)
        picture = dump / "hdImgs" / camera.name / f"{camera.name}_{frame:08d}.jpg"
        rows.append([picture.resolve(), *np.round([*low, *size], 1)])
    with open(FLAGS.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "x", "y", "width", "height"])
        writer.writerows(rows)
    print("\n".join(str(row[0]) for row in rows))


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
