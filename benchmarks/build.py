"""How fast `hand-tf build` is, beside the least that it could cost: decoding the same videos.

    python -m benchmarks.build --output=docs/build.jsonl

Makes a small dump (a few 1080p cameras, two hands). Then it takes turns: it builds records from the dump, and only
decodes the videos, on the same cores and with as many processes. Decoders are OpenCV, with one thread per video or its
own choice of threads, and PyAV, both to BGR pictures; and PyAV to YUV planes, which is less than any build needs.

    floor_ratio     seconds of the fastest decoder to pictures over those of the build
    planes_ratio    the same for the decoder to planes
    cpu_ratio       floor_ratio in CPU seconds, which other work on the machine disturbs less
"""

import dataclasses
import json
import os
import pathlib
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from benchmarks import measurements
from hand_tf.core import command_line, skeleton
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools import build
from tfrecords_tools.records import workers

WIDTH, HEIGHT, FPS = 1920, 1080, 30
DECODERS = ("opencv", "opencv_threads", "av", "av_planes")
DISTANCE, FOCAL = 2800.0, 1500.0  # mm and px, about those of Panoptic's HD cameras


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildBenchmarkSettings:
    """The flags of this command."""

    cameras: int = setting("Number of 1080p cameras.", 4, low=2)
    frames: int = setting("Frames per camera.", 240, low=30)
    crop_size: int = setting("Side of a crop, px.", 128, low=16)
    rounds: int = setting("Rounds in which build and decoders take turns.", 5, low=1)
    workers: int = setting("Number of processes; 0: one per core.", 0, low=0)
    dump: str | None = setting("A sequence folder with videos to use instead of a made one.", None)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)


# --- a dump ---------------------------------------------------------------------------------------------------------


def _camera(node, count):
    """Calibration entry, in centimetres, of one of `count` cameras on a ring that look at the origin."""
    R = cv2.Rodrigues(np.array([0.0, 2 * np.pi * node / count, 0.0]))[0]
    K = [[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]
    entry = {"name": f"00_{node:02d}", "type": "hd", "resolution": [WIDTH, HEIGHT], "panel": 0, "node": node}
    return entry | {"K": K, "distCoef": [-0.25, 0.1, 0, 0, 0], "R": R.tolist(), "t": [[0], [0], [DISTANCE / 10]]}


def _hand(frame, side):
    """One hand entry: 21 joints around a centre that moves on a circle; centimetres."""
    angle = 0.05 * frame + (0 if side == "right" else np.pi)
    centre = 25 * np.array([np.cos(angle), 0.3 * np.sin(3 * angle), np.sin(angle)])
    joints = np.random.default_rng(skeleton.SIDES.index(side)).uniform(-5, 5, (skeleton.NUM_JOINTS, 3))
    # Without a palm of a plausible length, build would leave the hand out.
    joints[[skeleton.ROOT, skeleton.MIDDLE_KNUCKLE]] = [[0, 5, 0], [0, -4, 0]]
    count = skeleton.NUM_JOINTS
    scores = {"averageScore": [0.9] * count, "averageReproError": [1.0] * count, "validity": [1] * count}
    return {"landmarks": (joints + centre).ravel().tolist(), "visibility": [[0]] * count} | scores


def _pictures(node: int, count: int) -> Iterator[np.ndarray]:
    """BGR pictures: a still room with fine texture, a textured figure that walks through it, and sensor noise."""
    rng = np.random.default_rng(node)
    coarse = rng.integers(30, 220, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    room = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    figure = cv2.resize(rng.integers(0, 255, (60, 32, 3), dtype=np.uint8), (480, 900), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (2 * HEIGHT, 2 * WIDTH, 3)).round().astype(np.int8)
    for frame in range(count):
        picture = room.copy()
        x = int(700 + 400 * np.sin(0.05 * frame + node))
        picture[150:1050, x : x + 480] = figure
        y, x = rng.integers(HEIGHT), rng.integers(WIDTH)  # a different part of the noise in each frame
        yield cv2.add(picture, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)


def write_video(path: pathlib.Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float) -> None:
    """Writes `pictures` [height, width, 3] uint8 BGR as H.264, as in Panoptic; `size` is (width, height) px."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())


def write_dump(folder: pathlib.Path, cameras: int, frames: int) -> None:
    """Writes a sequence folder in Panoptic's layout."""
    (folder / "hdHand3d").mkdir(parents=True)
    (folder / "hdVideos").mkdir()
    entries = [_camera(node, cameras) for node in range(cameras)]
    (folder / f"calibration_{folder.name}.json").write_text(json.dumps({"cameras": entries}))
    for frame in range(frames):
        person = {"id": 0} | {f"{side}_hand": _hand(frame, side) for side in skeleton.SIDES}
        path = folder / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json"
        path.write_text(json.dumps({"version": 0.5, "people": [person]}))
    for node, entry in enumerate(entries):
        path = folder / "hdVideos" / f"hd_{entry['name']}.mp4"
        write_video(path, _pictures(node, frames), (WIDTH, HEIGHT), FPS)


# --- what is timed --------------------------------------------------------------------------------------------------


def decode(path: str, decoder: str) -> int:
    """Decodes a video with one of `DECODERS`; returns its number of frames."""
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
    """CPU seconds of this process and of its children that have ended."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in usage)


def _decode_all(paths, processes, decoder):
    """The floor: decodes all videos and does nothing else, in processes that are started as those of the build."""
    with workers.pool(min(processes, len(paths))) as run:
        return sum(run((decode, path, decoder) for path in paths))


def measure(dump: pathlib.Path, build_settings: build.BuildSettings, rounds: int) -> tuple[dict, dict]:
    """Times of the build and of each decoder, and the report of the last build.

    Returns:
        {"build" or decoder: [(seconds, CPU seconds) of each round]} and the report.
    """
    paths = [str(path) for path in sorted((dump / "hdVideos").glob("*.mp4"))]
    times = {name: [] for name in ("build", *DECODERS)}
    build.build(build_settings)  # loads TensorFlow
    for _ in range(rounds):
        for name in times:
            if name == "build":
                shutil.rmtree(build_settings.output)
            start = time.perf_counter(), _cpu_seconds()
            if name == "build":
                report = build.build(build_settings)
            else:
                _decode_all(paths, build_settings.workers, name)
            times[name].append((time.perf_counter() - start[0], _cpu_seconds() - start[1]))
    return times, report


def _ratios(times, floor, which):
    """The floor's time over the build's in each round: seconds (`which` 0) or CPU seconds (1)."""
    return [one[which] / other[which] for one, other in zip(times[floor], times["build"], strict=True)]


def summarize(times: dict, report: dict) -> dict:
    """The headline, without what only the command knows."""
    medians = {name: [statistics.median(column) for column in zip(*t, strict=True)] for name, t in times.items()}
    floor = min(DECODERS[:-1], key=medians.get)
    ratios = _ratios(times, floor, 0)
    print(f"{'':<20}{'s':>8}{'CPU s':>8}{'crops/s':>10}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:<20}{wall:>8.2f}{cpu:>8.2f}{report['views'] / wall:>10.0f}")
    return {
        "floor_ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "planes_ratio": round(statistics.median(_ratios(times, DECODERS[-1], 0)), 3),
        "cpu_ratio": round(statistics.median(_ratios(times, floor, 1)), 3),
        "floor": floor,
        "crops_per_second": round(report["views"] / medians["build"][0], 1),
        "cpu_ms_per_crop": round(1e3 * medians["build"][1] / report["views"], 3),
        "crops": report["views"],
    }


def main(settings: BuildBenchmarkSettings) -> None:
    """Prints the table and the headline."""
    processes = settings.workers or os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        dump = pathlib.Path(settings.dump or f"{folder}/made")
        if not settings.dump:
            print(f"making {settings.cameras} videos of {settings.frames} frames", flush=True)
            write_dump(dump, settings.cameras, settings.frames)
        size = sum(path.stat().st_size for path in (dump / "hdVideos").glob("*.mp4"))
        build_settings = build.BuildSettings(
            input=(str(dump),), output=f"{folder}/records", crop_size=settings.crop_size, workers=processes
        )
        times, report = measure(dump, build_settings, settings.rounds)
    headline = summarize(times, report) | {
        "crop_size": settings.crop_size,
        "processes": processes,
        "video_bytes": size,
        "record_bytes_per_crop": round(report["bytes"] / report["views"]),
    }
    rows = [{"what": name, "seconds_and_cpu": np.round(t, 3).tolist()} for name, t in times.items()]
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
