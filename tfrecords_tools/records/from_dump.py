"""Cuts records out of camera dumps.

    each camera, once and in order --camera_pass--> RECORDS/work/spool, RECORDS/work/backgrounds
    spools of all cameras, in random order --shards--> RECORDS/<shard>.tfrecord, index.csv, manifest.json

A build that was stopped continues where it was: cameras whose spool is finished are not read again, and shards that
exist are not written again.
"""

import dataclasses
import shutil
import time
from collections.abc import Sequence

from tqdm import tqdm

from hand_tf.core.errors import InputError
from hand_tf.core.processors import usable_cores
from tfrecords_tools.dump import frames, sequences
from tfrecords_tools.dump.sequences import DumpSequence, Selection
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import backgrounds, camera_pass, work_folder, workers
from tfrecords_tools.records.settings import RecordsSettings
from tfrecords_tools.records.spool import SpooledViews

# Flags that may differ between two runs that write the same records into one folder.
MAY_CHANGE = ("input", "output", "workers")


def write(
    inputs: Sequence[str], selection: Selection, settings: RecordsSettings, build_flags: dict, processes: int
) -> dict:
    """Writes the records of the dumps in the folders `inputs`, unless they are complete.

    Args:
        build_flags: all flags of the command as plain values, for the manifest; those that are not in `MAY_CHANGE` must
            be the same when a stopped build continues.
        processes: number of processes that read cameras; 0 for one per core.

    Returns the report that the manifest holds. Raises FileNotFoundError or ValueError if an input cannot be used or the
    output belongs to something else, OSError for a full disk.
    """
    start, skipped = time.monotonic(), Skipped()
    dumps = [sequences.read(path, selection, skipped) for path in sequences.find(inputs)]
    _check_file_names(instant for sequence in dumps for instant in sequence.instants)
    rates = [sequence.fps for sequence in dumps]
    if max(rates) > 1.01 * min(rates):
        raise InputError(f"--input: sequences differ in frames per second ({min(rates):g} and {max(rates):g})")
    identity = {name: value for name, value in build_flags.items() if name not in MAY_CHANGE}
    if identity["crops_from"] == Selection.crops_from:
        del identity["crops_from"]  # which builds that 0.2.0 began do not have
    identity["sequences"] = {sequence.name: sequences.digest(sequence) for sequence in dumps}
    identity["pictures"] = {sequence.name: sequences.fingerprint(sequence) for sequence in dumps}
    with work_folder.claimed(settings.output, identity) as finished:
        if finished:
            return finished.report
        return _write_records(dumps, settings, build_flags, processes, skipped, start)


def _write_records(dumps, settings, build_flags, processes, skipped, start):
    """Writes the records of `dumps` into a folder that is this build's; returns the report."""
    from tfrecords_tools.records import shards  # imports TensorFlow, which the workers do not need

    jobs = {sequence.name: camera_jobs(sequence, settings) for sequence in dumps}
    cut_crops([job for group in jobs.values() for job in group], processes)
    groups, index, scenes = _write_shards(dumps, jobs, settings, skipped)
    shards.check_left(groups, skipped)
    num_instants = sum(len(sequence.instants) for sequence in dumps)
    report = shards.report(groups, num_instants, skipped, time.monotonic() - start) | {"backgrounds": scenes}
    cameras = {sequence.name: sequence.cameras for sequence in dumps}
    shards.write_manifest(settings, dumps[0].fps, cameras, build_flags, report, groups, index)
    shutil.rmtree(settings.output / "work" / "spool")
    return report


def _check_file_names(instants):
    """Raises ValueError if the records of two groups would be written to one file: names may have dots in them."""
    groups = {}
    for group in dict.fromkeys((instant.sequence, instant.subject, instant.side) for instant in instants):
        other = groups.setdefault(".".join(group), group)
        if other != group:
            raise InputError(
                f"{'.'.join(group)}-*.tfrecord: sequence {other[0]} with subject {other[1]}, and sequence {group[0]}"
                f" with subject {group[1]}, would share these files; rename one of them"
            )


def camera_jobs(sequence: DumpSequence, settings: RecordsSettings) -> list[camera_pass.CameraJob]:
    """One job per camera of the sequence."""
    work = settings.output / "work"
    frames_with_hands = {*sequence.occupied, *sequence.boxes}
    jobs = []
    for camera in sequence.cameras:
        samples = {
            frame: backgrounds.hand_rectangles(
                camera, sequence.occupied.get(frame, ()), sequence.boxes.get(frame, {}).get(camera.name, ())
            )
            for frame in backgrounds.sample_frames(frames_with_hands, camera)
        }
        job = camera_pass.CameraJob(
            camera=camera,
            source=sequence.sources[camera.name],
            clock=sequence.clocks.get(camera.name),
            instants=sequence.instants,
            samples=samples,
            crop_size=settings.crop_size,
            margin=settings.margin,
            jpeg_quality=settings.jpeg_quality,
            spool=work / "spool" / sequence.name / f"{camera.name}.bin",
            background=work / "backgrounds" / sequence.name / f"{camera.name}.png",
        )
        jobs.append(job)
    return jobs


def cut_crops(jobs: Sequence[camera_pass.CameraJob], processes: int) -> None:
    """Runs all jobs on `processes` processes (0 for one per core), each of which reads one camera at a time."""
    processes = min(processes or usable_cores(), len(jobs))
    # With fewer cameras than cores, threads of the decoder use the other cores. With more, they only cost time.
    threads = max(1, usable_cores() // processes)
    jobs = [dataclasses.replace(job, threads=threads) for job in jobs]
    with workers.pool(processes) as run:
        results = run((camera_pass.run_job, job) for job in jobs)
        for _ in tqdm(results, total=len(jobs), desc="cameras", unit="camera", disable=None):
            pass


def _write_shards(dumps, jobs, settings, skipped):
    """Puts the records together from the spools.

    Returns the groups, the rows of the index, and {"sequence/camera": what is known of its background}.
    """
    from tfrecords_tools.records import shards

    groups, index, scenes = [], [], {}
    for sequence in dumps:
        views = SpooledViews(sequence.instants, sequence.cameras, [job.spool for job in jobs[sequence.name]])
        for camera, spool in zip(sequence.cameras, views.spools, strict=True):
            skipped.merge(spool.skipped)
            scenes[f"{sequence.name}/{camera.name}"] = spool.background
        frames.check_measured(
            {
                f"{sequence.name} camera {camera.name}": spool.measured
                for camera, spool in zip(sequence.cameras, views.spools, strict=True)
            }
        )
        written, rows = shards.write_groups(views, sequence.name, settings, skipped)
        groups += written
        index += rows
        views.close()
    return groups, index, scenes
