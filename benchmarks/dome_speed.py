"""How fast the dome is, and where its time goes.

    python -m benchmarks.dome_speed --output=docs/dome_speed.jsonl
    python -m benchmarks.dome_speed --total_crops=100000 --folder=/tmp/speed

Stages are timed one by one on one core, as medians over pictures and rounds; then whole crops on one core, by the very
function that the workers run. With --total_crops the command itself runs too, on all cores, into --folder.
"""

import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from absl import flags

from benchmarks import results
from hand_tf.core import command_line, crops, records_folder
from tfrecords_tools.dome import capture, records
from tfrecords_tools.dome.person import hand
from tfrecords_tools.dome.studio import render
from tfrecords_tools.records import crop_views

FLAGS = flags.FlagValues()
flags.DEFINE_enum("rig", "ring8", ["ring8", "panoptic31"], "Which cameras.", flag_values=FLAGS)
flags.DEFINE_integer("image_size", 256, "Width and height of the pictures, px.", flag_values=FLAGS)
flags.DEFINE_integer("crop_size", 128, "Side of a crop, px.", flag_values=FLAGS)
flags.DEFINE_integer("instants", 24, "Instants of each round.", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("total_crops", 0, "Also run the command for about this many crops.", flag_values=FLAGS)
flags.DEFINE_string("folder", None, "Where that run writes; removed afterwards.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)


class Clock:
    """Milliseconds of CPU time by stage; a stage called again is another sample."""

    def __init__(self):
        self.samples = {}

    def __call__(self, stage, function, *arguments):
        start = time.process_time()
        result = function(*arguments)
        self.samples.setdefault(stage, []).append(1e3 * (time.process_time() - start))
        return result


def _time_instant(clock, sequence, frame):
    """Poses everything of one instant and lights it, stage by stage; returns its lit mesh."""
    light = capture.light(sequence)
    (found,) = clock("skin: skinning and normals", capture.hands_at, sequence, frame)
    other = clock("person: posing", capture.person_at, sequence, frame, [found])
    vertices, normals = np.concatenate([found.vertices, other[0]]), np.concatenate([found.normals, other[1]])
    triangles = np.concatenate([found.triangles, other[2] + len(found.vertices)]).astype(np.int32)
    subject = slice(0, len(found.vertices))
    lit = clock("shadow map", render.shadows, vertices, normals, triangles, light, subject)
    colours = np.concatenate([found.colours, other[3]])
    return render.Mesh(vertices, triangles, clock("shading", render.shade, normals, colours, light, lit))


def _time_crop(clock, view, mesh, crop, key):
    """Draws, cuts and encodes one crop, stage by stage."""
    maps, window = clock("crop: window and maps", records.maps_of, crop)
    start = time.process_time()
    render.layer(mesh, view.camera, view.depth, window)
    layer = 1e3 * (time.process_time() - start)
    clock.samples.setdefault("raster: projection, triangles, supersampling", []).append(layer)
    image = clock("sensor", render.draw, view, mesh, key, window)
    clock.samples["sensor"][-1] -= layer
    left, top, width, height = window
    scene = np.ascontiguousarray(view.scene[top : top + height, left : left + width])
    cut = [clock("crop: warp, two pictures", crops.render, picture, maps, crop.size) for picture in (image, scene)]
    for picture in cut:
        clock("encode: JPEG, two pictures", crop_views.encode, picture, 95)


def measure(sequence, options, instants, rounds, folder):
    """Rows (stage, ms an instant or crop, ms a crop) and crops per second on one core."""
    cameras = range(len(capture.studio(sequence).cameras))
    for node in cameras:
        capture.write_scene(sequence, node, folder)
    views = [capture.load_view(sequence, node, folder) for node in cameras]
    shown, clock, rates = records.Instants(sequence), Clock(), []
    capture.instant(sequence, capture.FIRST_FRAME)
    for _ in range(rounds):
        for position in range(instants):
            mesh = _time_instant(clock, sequence, capture.FIRST_FRAME + position)
            for node, view in enumerate(views):
                crop = crop_views.crop_of(shown[position], view.camera, options.margin, options.crop_size)
                _time_crop(clock, view, mesh, crop, [0, node, position])
        start = time.process_time()
        records.draw_records(sequence, options, folder, range(instants), np.ones((len(views), instants), bool))
        rates.append(instants * len(views) / (time.process_time() - start))
    rows = []
    for stage, samples in clock.samples.items():
        once = statistics.median(samples)
        calls = len(samples) / (rounds * instants * len(views))
        rows.append({"stage": stage, "ms": round(once, 3), "ms_per_crop": round(once * calls, 3)})
    return rows, rates


def run_command(total, folder):
    """Seconds and crops of the whole command for about `total` crops on all cores."""
    views = 31 if FLAGS.rig == "panoptic31" else 8
    frames = math.ceil(total / views / 11)
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [f"--records={folder}", f"--frames={frames}", f"--rig={FLAGS.rig}", f"--crop_size={FLAGS.crop_size}"]
    arguments += [f"--image_size={FLAGS.image_size}"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "tfrecords_tools.dome", *arguments], check=True)
    seconds = time.monotonic() - start

    crop_count = sum(group.num_crops for group in records_folder.load_manifest(folder).groups)
    size = sum(path.stat().st_size for path in pathlib.Path(folder).glob("*.tfrecord"))
    shutil.rmtree(folder)
    return {"crops": crop_count, "seconds": round(seconds, 1), "bytes": size}


def main(_):
    """Prints the table and the headline."""
    if FLAGS.total_crops and not FLAGS.folder:
        raise ValueError("--total_crops needs --folder")
    cv2.setNumThreads(1)
    size = {"width": FLAGS.image_size, "height": FLAGS.image_size}
    (sequence,) = capture.plan(subjects=1, frames=FLAGS.instants, fps=2.0, rig=FLAGS.rig, **size)
    options = records.Options(pathlib.Path("."), FLAGS.crop_size)
    with tempfile.TemporaryDirectory() as folder:
        rows, rates = measure(sequence, options, FLAGS.instants, FLAGS.rounds, folder)
    print(f"{'stage':<50}{'ms':>8}{'ms a crop':>12}")
    for row in rows:
        print(f"{row['stage']:<50}{row['ms']:>8.2f}{row['ms_per_crop']:>12.2f}")
    triangles = len(hand.make_subject(0, 0).triangles), len(capture.instant(sequence, 100).mesh.triangles)
    headline = {
        "rig": FLAGS.rig,
        "image_size": FLAGS.image_size,
        "crop_size": FLAGS.crop_size,
        "triangles": {"hand": triangles[0], "all": triangles[1]},
        "crops_per_second_per_core": round(statistics.median(rates), 1),
        "range": [round(min(rates), 1), round(max(rates), 1)],
    }
    if FLAGS.total_crops:
        headline["command"] = run_command(FLAGS.total_crops, FLAGS.folder)
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
