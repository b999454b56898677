"""Builds records from camera dumps.

    python -m tfrecords_tools.build --input=DUMP --output=RECORDS

`--input` is a sequence folder in the layout of CMU Panoptic Studio (module `panoptic`) or a folder of such; give it
several times for more. Each camera is read once (crops wait in RECORDS/work), then records are put together in random
order: one a hand and instant, with all its views. A build that was stopped continues when started again with the same
flags. The last lines say what was kept, what was left out and why; the manifest holds the same report.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import time

from absl import flags
from tqdm import tqdm

from hand_tf.core import command_line, records_folder
from tfrecords_tools.dump import sequences
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import backgrounds, camera_pass, work_folder, workers
from tfrecords_tools.records.spool import SpooledViews

FLAGS = flags.FlagValues()
_ours = {"flag_values": FLAGS}
flags.DEFINE_multi_string("input", None, "sequence folder, or folder of sequence folders", required=True, **_ours)
flags.DEFINE_string("output", None, "records folder to write", required=True, **_ours)
flags.DEFINE_integer("crop_size", 128, "side of a crop, px", lower_bound=16, **_ours)
flags.DEFINE_float("margin", 1.3, "side of a crop over twice the radius of the hand", lower_bound=1.05, **_ours)
flags.DEFINE_enum("hands", "both", ["both", "left", "right"], "left ones are stored mirrored", **_ours)
flags.DEFINE_float("fps", 29.97, "of image folders (videos state their own)", lower_bound=0.1, **_ours)
flags.DEFINE_float("min_score", 0.5, "accept joints from this averageScore on", **_ours)
flags.DEFINE_float("max_error", 20.0, "accept joints up to this averageReproError, px", **_ours)
flags.DEFINE_integer("min_views", 2, "leave out instants that fewer cameras see", lower_bound=2, **_ours)
flags.DEFINE_integer("frame_stride", 1, "use frames whose number this divides", lower_bound=1, **_ours)
flags.DEFINE_integer("jpeg_quality", 95, "of the stored pictures", lower_bound=1, upper_bound=100, **_ours)
flags.DEFINE_integer("records_per_shard", 1000, "at most", lower_bound=1, **_ours)
flags.DEFINE_integer("workers", 0, "processes that cut crops; 0: one a core", lower_bound=0, **_ours)
flags.DEFINE_integer("seed", 0, "of the random order of records", lower_bound=0, **_ours)
flags.DEFINE_list("cameras", [], "only these cameras, such as 00_03,00_07; all by default", **_ours)

# What may change between two runs into one folder without changing a byte of the records.
_FREE = ("input", "output", "workers")


@dataclasses.dataclass(frozen=True)
class Options:
    """The command's flags, under the same names."""

    input: tuple[str, ...]
    output: pathlib.Path
    crop_size: int = 128
    margin: float = 1.3
    hands: str = "both"
    fps: float = 29.97
    min_score: float = 0.5
    max_error: float = 20.0
    min_views: int = 2
    frame_stride: int = 1
    jpeg_quality: int = 95
    records_per_shard: int = 1000
    workers: int = 0
    seed: int = 0
    cameras: tuple[str, ...] = ()


def camera_jobs(sequence, options):
    """One `camera_pass.CameraJob` a camera of the sequence."""
    known = {*sequence.occupied, *sequence.boxes}
    work = options.output / "work"
    jobs = []
    for camera in sequence.cameras:
        hidden = {
            frame: backgrounds.hand_rectangles(
                camera, sequence.occupied.get(frame, ()), sequence.boxes.get(frame, {}).get(camera.name, ())
            )
            for frame in backgrounds.sample_frames(known, camera)
        }
        jobs.append(
            camera_pass.CameraJob(
                camera,
                sequence.sources[camera.name],
                sequence.instants,
                hidden,
                options.crop_size,
                options.margin,
                options.jpeg_quality,
                work / "spool" / sequence.name / f"{camera.name}.bin",
                work / "backgrounds" / sequence.name / f"{camera.name}.png",
            )
        )
    return jobs


def flags_of(options):
    """The options as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=str))


def cut_crops(jobs, processes):
    """Runs all jobs on `processes` processes (0: one a core), each of which reads one camera at a time."""
    processes = min(processes or os.cpu_count(), len(jobs))
    # Where cameras are fewer than cores, the decoder's own threads use the rest; elsewhere they only cost.
    threads = max(1, os.cpu_count() // processes)
    jobs = [dataclasses.replace(job, threads=threads) for job in jobs]
    with workers.pool(processes) as run:
        bar = {"total": len(jobs), "desc": "cameras", "unit": "camera", "disable": None}
        for _ in tqdm(run((camera_pass.run_job, job) for job in jobs), **bar):
            pass


def _write_records(dumps, jobs, options, skipped):
    """Puts the records together from the spools; returns groups, index rows and background statistics."""
    from tfrecords_tools.records import shards  # brings TensorFlow, which the workers can do without

    groups, index, scenes = [], [], {}
    for sequence in dumps:
        paths = [job.spool for job in jobs[sequence.name]]
        views = SpooledViews(sequence.instants, sequence.cameras, paths)
        for camera, spool in zip(sequence.cameras, views.spools, strict=True):
            skipped.merge(spool.skipped)
            scenes[f"{sequence.name}/{camera.name}"] = spool.background
        more, rows = shards.write_groups(views, sequence.name, options, skipped)
        groups, index = groups + more, index + rows
        views.close()
    return groups, index, scenes


def run(options):
    """Builds the records, unless they are there already; returns the manifest's report.

    Raises FileNotFoundError or ValueError with one line for input that cannot be used, OSError for a full disk.
    """
    start, skipped = time.monotonic(), Skipped()
    dumps = [sequences.read(path, options, skipped) for path in sequences.find(options.input)]
    rates = [sequence.fps for sequence in dumps]
    if max(rates) > 1.01 * min(rates):
        raise ValueError(f"--input: sequences differ in frames per second ({min(rates):g} and {max(rates):g})")
    settings = {name: value for name, value in flags_of(options).items() if name not in _FREE}
    settings["sequences"] = {sequence.name: sequences.digest(sequence) for sequence in dumps}
    work_folder.claim(options.output, settings)
    from tfrecords_tools.records import shards

    if (options.output / records_folder.MANIFEST).is_file():
        return records_folder.load_manifest(options.output).report
    jobs = {sequence.name: camera_jobs(sequence, options) for sequence in dumps}
    cut_crops([job for group in jobs.values() for job in group], options.workers)
    groups, index, scenes = _write_records(dumps, jobs, options, skipped)
    shards.check_left(groups, skipped)
    instants = sum(len(sequence.instants) for sequence in dumps)
    report = shards.report(groups, instants, skipped, time.monotonic() - start) | {"backgrounds": scenes}
    cameras = {sequence.name: sequence.cameras for sequence in dumps}
    shards.write_manifest(options, rates[0], cameras, flags_of(options), report, groups, index)
    shutil.rmtree(options.output / "work" / "spool")
    return report


def _print(report, output):
    from tfrecords_tools.records import shards

    poor = [name for name, scene in report["backgrounds"].items() if scene["plain_median_share"] > 0]
    if poor:
        worst = max(poor, key=lambda name: report["backgrounds"][name]["plain_median_share"])
        share = report["backgrounds"][worst]["plain_median_share"]
        print(f"Backgrounds: {len(poor)} of {len(report['backgrounds'])} use the plain median somewhere", end=" ")
        print(f"(worst: {worst}, {share:.1%} of its pixels): a hand that rests there may show")
    shards.print_report(report, output)


def main(arguments):
    """The command."""
    if arguments:
        raise ValueError(f"unexpected argument {arguments[0]!r}: folders are given by --input")
    values = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Options)}
    values |= {"input": tuple(values["input"]), "cameras": tuple(values["cameras"])}
    options = Options(**values | {"output": pathlib.Path(values["output"])})
    _print(run(options), options.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
