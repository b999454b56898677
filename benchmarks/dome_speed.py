"""How fast the dome is, and where its time goes.

    python -m benchmarks.dome_speed --output=docs/dome_speed.jsonl
    python -m benchmarks.dome_speed --total_crops=100000 --folder=/tmp/speed

Each stage is timed on one core, as the median over pictures and rounds; then whole crops on one core, by the same
function that the workers run. With --total_crops the command itself runs too, on all cores, into --folder.
"""

import dataclasses
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

from benchmarks import measurements
from hand_tf.core import command_line, crops, records_folder
from hand_tf.core.setting_fields import SettingError, check, setting
from tfrecords_tools.dome import capture, records
from tfrecords_tools.dome.person import hand
from tfrecords_tools.dome.studio import render
from tfrecords_tools.records import crop_views
from tfrecords_tools.records.settings import RecordsSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomeSpeedSettings:
    """The flags of this command."""

    rig: str = setting("Arrangement of the cameras.", "ring8", choices=("ring8", "panoptic31"))
    image_size: int = setting("Width and height of the pictures, px.", 256, low=32)
    crop_size: int = setting("Side of a crop, px.", 128, low=16)
    instants: int = setting("Instants per round.", 24, low=2)
    rounds: int = setting("Number of rounds.", 5, low=1)
    total_crops: int = setting("Also run the command for about this many crops.", 0, low=0)
    folder: str | None = setting("Where that run writes; removed afterwards.", None)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)
        if self.total_crops and not self.folder:
            raise SettingError("--total_crops: expected --folder too, for the records of that run")


class Clock:
    """Collects samples of CPU time (ms) by stage; each call adds one."""

    def __init__(self):
        self.samples = {}

    def __call__(self, stage, function, *arguments):
        start = time.process_time()
        result = function(*arguments)
        self.samples.setdefault(stage, []).append(1e3 * (time.process_time() - start))
        return result


def _time_instant(clock, sequence, frame):
    """Poses and lights everything of one instant, stage by stage; returns the lit mesh."""
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
    """Renders, cuts and encodes one crop, stage by stage."""
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


def measure(
    sequence: capture.CaptureSequence, settings: RecordsSettings, instants: int, rounds: int, folder: str
) -> tuple[list[dict], list[float]]:
    """Rows (stage, ms per call, ms per crop), and the crops per second on one core of each round."""
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
                crop = crop_views.crop_of(shown[position], view.camera, settings.margin, settings.crop_size)
                _time_crop(clock, view, mesh, crop, [0, node, position])
        start = time.process_time()
        records.draw_records(sequence, settings, folder, range(instants), np.ones((len(views), instants), bool))
        rates.append(instants * len(views) / (time.process_time() - start))
    rows = []
    for stage, samples in clock.samples.items():
        once = statistics.median(samples)
        calls = len(samples) / (rounds * instants * len(views))
        rows.append({"stage": stage, "ms": round(once, 3), "ms_per_crop": round(once * calls, 3)})
    return rows, rates


def run_command(settings: DomeSpeedSettings) -> dict:
    """Crops, seconds and bytes of the whole command for about `total_crops` crops on all cores."""
    views = 31 if settings.rig == "panoptic31" else 8
    folder, frames = pathlib.Path(settings.folder), math.ceil(settings.total_crops / views / 11)
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [f"--records={folder}", f"--frames={frames}", f"--rig={settings.rig}"]
    arguments += [f"--crop_size={settings.crop_size}", f"--image_size={settings.image_size}"]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "tfrecords_tools.dome", *arguments], check=True)
    seconds = time.monotonic() - start
    num_crops = sum(group.num_crops for group in records_folder.load_manifest(folder).groups)
    size = sum(path.stat().st_size for path in folder.glob("*.tfrecord"))
    shutil.rmtree(folder)
    return {"crops": num_crops, "seconds": round(seconds, 1), "bytes": size}


def main(settings: DomeSpeedSettings) -> None:
    """Prints the table and the headline."""
    cv2.setNumThreads(1)
    size = {"width": settings.image_size, "height": settings.image_size}
    (sequence,) = capture.plan(subjects=1, frames=settings.instants, fps=2.0, rig=settings.rig, **size)
    records_settings = RecordsSettings(output=pathlib.Path("."), crop_size=settings.crop_size)
    with tempfile.TemporaryDirectory() as folder:
        rows, rates = measure(sequence, records_settings, settings.instants, settings.rounds, folder)
    print(f"{'stage':<50}{'ms':>8}{'ms per crop':>14}")
    for row in rows:
        print(f"{row['stage']:<50}{row['ms']:>8.2f}{row['ms_per_crop']:>14.2f}")
    triangles = len(hand.make_subject(0, 0).triangles), len(capture.instant(sequence, 100).mesh.triangles)
    headline = {
        "rig": settings.rig,
        "image_size": settings.image_size,
        "crop_size": settings.crop_size,
        "triangles": {"hand": triangles[0], "all": triangles[1]},
        "crops_per_second_per_core": round(statistics.median(rates), 1),
        "range": [round(min(rates), 1), round(max(rates), 1)],
    }
    if settings.total_crops:
        headline["command"] = run_command(settings)
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
