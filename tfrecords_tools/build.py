"""Builds records from camera dumps.

    python -m tfrecords_tools.build --input=DUMP --output=RECORDS

`--input` is a sequence folder in the layout of CMU Panoptic Studio (module `panoptic`) or a folder of such; give it
several times for more. Each camera is read once (crops wait in RECORDS/work), then records are put together in random
order: one a hand and instant, with all its views. A build that was stopped continues when started again with the same
flags. The last lines say what was kept, what was left out and why; the manifest holds the same report.
"""

import concurrent.futures.process
import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import time

from absl import flags
from tqdm import tqdm

from hand_tf import command, manifest
from tfrecords_tools import backgrounds, crops, panoptic, sequences, tally

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
    """One `crops.CameraJob` a camera of the sequence."""
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
            crops.CameraJob(
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


def claim_output(options, dumps):
    """Makes the output folder ours, or checks that an earlier run with the same settings began it.

    Raises ValueError if it was begun with other settings or holds something else.
    """
    settings = {name: value for name, value in flags_of(options).items() if name not in _FREE}
    settings["sequences"] = {sequence.name: sequences.digest(sequence) for sequence in dumps}
    path = options.output / "work" / "settings.json"
    if path.is_file():
        begun = panoptic.load_json(path)
        differ = sorted(name for name in settings | begun if settings.get(name) != begun.get(name))
        if differ:
            raise ValueError(
                f"{options.output}: begun with other {', '.join(differ)}; take another --output or delete it"
            )
        return
    if options.output.is_dir() and any(options.output.iterdir()):
        raise ValueError(f"{options.output}: not empty, and not begun by this command; take another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(path, json.dumps(settings, indent=1))


def flags_of(options):
    """The options as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=str))


def cut_crops(jobs, workers):
    """Runs all jobs on `workers` processes (0: one a core), each of which reads one camera at a time."""
    workers = min(workers or os.cpu_count(), len(jobs))
    bar = {"total": len(jobs), "desc": "cameras", "unit": "camera", "disable": None}
    if workers == 1:
        for job in tqdm(jobs, **bar):
            crops.run_job(job)
        return
    # Spawned, not forked: a fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = [pool.submit(crops.run_job, job) for job in jobs]
        try:
            for done in tqdm(concurrent.futures.as_completed(running), **bar):
                done.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise OSError("a worker died, perhaps for want of memory: take fewer --workers and start again") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _write_records(dumps, jobs, options, skipped):
    """Puts the records together from the spools; returns groups, index rows and background statistics."""
    from tfrecords_tools import shards  # brings TensorFlow, which the workers can do without

    groups, index, scenes = [], [], {}
    for sequence in dumps:
        spools = [crops.Spool(job.spool, len(sequence.instants)) for job in jobs[sequence.name]]
        for camera, spool in zip(sequence.cameras, spools, strict=True):
            skipped.merge(spool.skipped)
            scenes[f"{sequence.name}/{camera.name}"] = spool.background
        members = shards.group_instants(sequence, spools, options.min_views, skipped)
        total = sum(map(len, members.values()))
        with tqdm(total=total, desc=sequence.name, unit="record", disable=None) as progress:
            for name, positions in members.items():
                group, rows = shards.write_group(sequence, spools, name, positions, options, progress)
                groups.append(group)
                index += rows
        for spool in spools:
            spool.close()
    return groups, index, scenes


def _report(groups, scenes, dumps, skipped, seconds):
    """The closing report as plain JSON values."""
    shards = [shard for group in groups for shard in group.shards]
    return {
        "instants": sum(len(sequence.instants) for sequence in dumps),
        "records": sum(group.records for group in groups),
        "labelled": sum(group.labelled for group in groups),
        "views": sum(group.crops for group in groups),
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in shards),
        "seconds": round(seconds, 1),
        "skipped": {
            reason: {"count": n, "first": skipped.first[reason]} for reason, n in sorted(skipped.counts.items())
        },
        "backgrounds": scenes,
    }


def run(options):
    """Builds the records, unless they are there already; returns the manifest's report.

    Raises FileNotFoundError or ValueError with one line for input that cannot be used, OSError for a full disk.
    """
    start, skipped = time.monotonic(), tally.Tally()
    dumps = [sequences.read(path, options, skipped) for path in sequences.find(options.input)]
    rates = [sequence.fps for sequence in dumps]
    if max(rates) > 1.01 * min(rates):
        raise ValueError(f"--input: sequences differ in frames per second ({min(rates):g} and {max(rates):g})")
    claim_output(options, dumps)
    from hand_tf import schema  # brings TensorFlow, which the workers can do without

    if (options.output / manifest.MANIFEST).is_file():
        return manifest.load(options.output, schema.SCHEMA_VERSION).report
    jobs = {sequence.name: camera_jobs(sequence, options) for sequence in dumps}
    cut_crops([job for group in jobs.values() for job in group], options.workers)
    groups, index, scenes = _write_records(dumps, jobs, options, skipped)
    if not groups:
        raise ValueError("no instant is left: " + "; ".join(line.strip() for line in skipped.lines()))
    report = _report(groups, scenes, dumps, skipped, time.monotonic() - start)
    cameras = {sequence.name: [camera.name for camera in sequence.cameras] for sequence in dumps}
    content = manifest.Manifest(
        schema.SCHEMA_VERSION, options.crop_size, rates[0], cameras, flags_of(options), report, "", tuple(groups)
    )
    manifest.write(options.output, content, index)
    shutil.rmtree(options.output / "work" / "spool")
    return report


def _print(report, output):
    print("Left out:" if report["skipped"] else "Nothing was left out.")
    for reason, skip in sorted(report["skipped"].items(), key=lambda item: -item[1]["count"]):
        print(f"{skip['count']:>8}  {reason} (first: {skip['first']})")
    poor = [name for name, scene in report["backgrounds"].items() if scene["plain_median_share"] > 0]
    if poor:
        worst = max(poor, key=lambda name: report["backgrounds"][name]["plain_median_share"])
        share = report["backgrounds"][worst]["plain_median_share"]
        print(f"Backgrounds: {len(poor)} of {len(report['backgrounds'])} use the plain median somewhere", end=" ")
        print(f"(worst: {worst}, {share:.1%} of its pixels): a hand that rests there may show")
    print(
        f"Kept {report['records']} of {report['instants']} instants ({report['labelled']} with a pose), "
        f"{report['views']} views, in {report['shards']} shards, {report['bytes'] / 1e6:.1f} MB, {report['seconds']} s"
    )
    print(f"Next: python -m tfrecords_tools.inspect {output} --output=sheet.png")


def main(arguments):
    """The command."""
    if arguments:
        raise ValueError(f"unexpected argument {arguments[0]!r}: folders are given by --input")
    values = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Options)}
    values |= {"input": tuple(values["input"]), "cameras": tuple(values["cameras"])}
    options = Options(**values | {"output": pathlib.Path(values["output"])})
    _print(run(options), options.output)


if __name__ == "__main__":
    sys.exit(command.run(main, FLAGS))
