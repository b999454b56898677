"""How fast `tfrecords_tools.build` is, against the least that it could cost: decoding the same videos.

    python -m benchmarks.build --output=docs/build.jsonl

Makes a small dump (a few 1080p cameras, two hands), then in turns builds records from it and only decodes its videos
on the same cores and with as many processes: to BGR pictures by OpenCV, with one thread a video or its own threads, or
by PyAV; or by PyAV to planes of brightness and colours, which no one can use yet. `floor_ratio` is the seconds of the
fastest decoder to pictures over the build's, `planes_ratio` those of the decoder to planes. `cpu_ratio` is the first in
CPU seconds, which other work on the machine disturbs less.
"""

import json
import os
import pathlib
import resource
import shutil
import statistics
import sys
import tempfile
import time

import av
import cv2
import numpy as np
from absl import flags
from av.video.reformatter import VideoReformatter

from benchmarks import results
from hand_tf.core import command_line, skeleton
from tfrecords_tools import build
from tfrecords_tools.records import workers

FLAGS = flags.FlagValues()
flags.DEFINE_integer("cameras", 4, "1080p cameras.", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_integer("frames", 240, "Frames of each.", lower_bound=30, flag_values=FLAGS)
flags.DEFINE_integer("crop_size", 128, "Side of a crop, px.", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("workers", 0, "Processes; 0: one a core.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("dump", None, "A sequence folder with videos to use instead of a made one.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)

WIDTH, HEIGHT, FPS = 1920, 1080, 30
DECODERS = ("opencv", "opencv_threads", "av", "av_planes")
DISTANCE, FOCAL = 2800.0, 1500.0  # mm and px, about those of Panoptic's HD cameras


# --- a dump ---------------------------------------------------------------------------------------------------------


def _camera(node, count):
    """Calibration entry, in centimetres, of a camera on a ring that looks at the origin."""
    R = cv2.Rodrigues(np.array([0.0, 2 * np.pi * node / count, 0.0]))[0]
    K = [[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]
    entry = {"name": f"00_{node:02d}", "type": "hd", "resolution": [WIDTH, HEIGHT], "panel": 0, "node": node}
    return entry | {"K": K, "distCoef": [-0.25, 0.1, 0, 0, 0], "R": R.tolist(), "t": [[0], [0], [DISTANCE / 10]]}


def _hand(frame, side):
    """One hand entry: 21 joints within a palm's reach of a centre that moves on a circle; centimetres."""
    turn = 0.05 * frame + (0 if side == "right" else np.pi)
    centre = 25 * np.array([np.cos(turn), 0.3 * np.sin(3 * turn), np.sin(turn)])
    joints = np.random.default_rng(skeleton.SIDES.index(side)).uniform(-5, 5, (skeleton.NUM_JOINTS, 3))
    # A palm's length, or the hand is left out.
    joints[[skeleton.ROOT, skeleton.MIDDLE_KNUCKLE]] = [[0, 5, 0], [0, -4, 0]]
    count = skeleton.NUM_JOINTS
    scores = {"averageScore": [0.9] * count, "averageReproError": [1.0] * count, "validity": [1] * count}
    return {"landmarks": (joints + centre).ravel().tolist(), "visibility": [[0]] * count} | scores


def _pictures(node, count):
    """Yields BGR pictures: a still room with fine texture, a textured figure that walks through it, sensor noise."""
    rng = np.random.default_rng(node)
    coarse = rng.integers(30, 220, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    room = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    figure = cv2.resize(rng.integers(0, 255, (60, 32, 3), dtype=np.uint8), (480, 900), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (2 * HEIGHT, 2 * WIDTH, 3)).round().astype(np.int8)
    for frame in range(count):
        picture = room.copy()
        x = int(700 + 400 * np.sin(0.05 * frame + node))
        picture[150:1050, x : x + 480] = figure
        y, x = rng.integers(HEIGHT), rng.integers(WIDTH)  # another part of the noise each time
        yield cv2.add(picture, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)


def _write_video(path, pictures):
    """H.264, as in Panoptic."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())


def write_dump(folder, cameras, frames):
    """Writes a sequence folder."""
    (folder / "hdHand3d").mkdir(parents=True)
    (folder / "hdVideos").mkdir()
    entries = [_camera(node, cameras) for node in range(cameras)]
    (folder / f"calibration_{folder.name}.json").write_text(json.dumps({"cameras": entries}))
    for frame in range(frames):
        person = {"id": 0} | {f"{side}_hand": _hand(frame, side) for side in skeleton.SIDES}
        path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
        path.write_text(json.dumps({"version": 0.5, "people": [person]}))
    for node, entry in enumerate(entries):
        _write_video(folder / "hdVideos" / f"hd_{entry['name']}.mp4", _pictures(node, frames))


# --- what is timed --------------------------------------------------------------------------------------------------


def decode(path, decoder):
    """Decodes a video with one of `DECODERS`; returns how many frames it has."""
    count = 0
    if decoder.startswith("av"):
        reformatter = VideoReformatter()
        with av.open(path) as container:
            container.streams.video[0].thread_type = "NONE"
            for frame in container.decode(video=0):
                if decoder == "av":
                    reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray()
                count += 1
        return count
    settings = [cv2.CAP_PROP_N_THREADS, 1] if decoder == "opencv" else []
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG, settings)
    while video.read()[0]:
        count += 1
    return count


def _cpu_seconds():
    """Of this process and of its children that have ended."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in usage)


def _build(dump, output, processes):
    """Builds records; returns the report."""
    shutil.rmtree(output, ignore_errors=True)
    return build.run(build.Options((str(dump),), output, crop_size=FLAGS.crop_size, workers=processes))


def _decode_all(paths, processes, decoder):
    """The floor: nothing but decoding, on processes started as the build's."""
    with workers.pool(min(processes, len(paths))) as run:
        return sum(run((decode, path, decoder) for path in paths))


def measure(dump, output, processes, rounds):
    """{"build" or the decoder's name: [(seconds, CPU seconds) of each round]}, and the report of the last build."""
    paths = [str(path) for path in sorted((dump / "hdVideos").glob("*.mp4"))]
    seconds = {name: [] for name in ("build", *DECODERS)}
    report = _build(dump, output, processes)  # loads TensorFlow
    for _ in range(rounds):
        for name, times in seconds.items():
            start = time.perf_counter(), _cpu_seconds()
            if name == "build":
                report = _build(dump, output, processes)
            else:
                _decode_all(paths, processes, name)
            times.append((time.perf_counter() - start[0], _cpu_seconds() - start[1]))
    return seconds, report


def _ratios(seconds, floor, which):
    """Of each round: the floor's over the build's seconds (`which` 0) or CPU seconds (1)."""
    return [one[which] / other[which] for one, other in zip(seconds[floor], seconds["build"], strict=True)]


def main(_):
    """Prints the table and the headline."""
    processes = FLAGS.workers or os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        dump = pathlib.Path(FLAGS.dump or f"{folder}/made")
        if not FLAGS.dump:
            print(f"making {FLAGS.cameras} videos of {FLAGS.frames} frames", flush=True)
            write_dump(dump, FLAGS.cameras, FLAGS.frames)
        size = sum(path.stat().st_size for path in (dump / "hdVideos").glob("*.mp4"))
        seconds, report = measure(dump, pathlib.Path(folder) / "records", processes, FLAGS.rounds)
    middle = {name: [statistics.median(column) for column in zip(*t, strict=True)] for name, t in seconds.items()}
    floor = min(DECODERS[:-1], key=middle.get)
    ratios = _ratios(seconds, floor, 0)
    print(f"{'':<20}{'s':>8}{'CPU s':>8}{'crops/s':>10}")
    for name, (wall, cpu) in middle.items():
        print(f"{name:<20}{wall:>8.2f}{cpu:>8.2f}{report['views'] / wall:>10.0f}")
    headline = {
        "floor_ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "planes_ratio": round(statistics.median(_ratios(seconds, DECODERS[-1], 0)), 3),
        "cpu_ratio": round(statistics.median(_ratios(seconds, floor, 1)), 3),
        "floor": floor,
        "crops_per_second": round(report["views"] / middle["build"][0], 1),
        "cpu_ms_per_crop": round(1e3 * middle["build"][1] / report["views"], 3),
        "crops": report["views"],
        "crop_size": FLAGS.crop_size,
        "processes": processes,
        "video_bytes": size,
        "record_bytes_per_crop": round(report["bytes"] / report["views"]),
    }
    rows = [{"what": name, "seconds_and_cpu": np.round(times, 3).tolist()} for name, times in seconds.items()]
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
