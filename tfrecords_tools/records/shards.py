"""Writes records: groups, their random order, shards, and the manifest.

    group = (sequence, subject, side)
    order = permutation of the group's instants by rng(seed, group)
    shard i of n = the i-th of n nearly equal slices of the order

The order is random because a shuffle buffer over video in order of time would make each reference a neighbour in time
of its source, and its appearance would reveal the pose. Each step depends on the input and the seed alone: a build that
was stopped ends with the same bytes, and shards that exist need not be written again.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from tqdm import tqdm

from hand_tf.core import geometry, records_folder, schema, skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dump.panoptic import HandInstant
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import crop_views
from tfrecords_tools.records.settings import RecordsSettings


class Views(Protocol):
    """The views of one sequence: read from spools (`spool.SpooledViews`) or rendered by the dome.

    Attributes:
        instants: the instants of the sequence; other methods take positions in it.
        shows: [cameras, instants] bool, which camera shows which instant.
    """

    instants: Sequence[HandInstant]
    shows: np.ndarray

    def cameras_of(self, position: int) -> list[geometry.Camera]:
        """The cameras that show an instant."""

    def pictures(self, positions: Sequence[int]) -> Iterable[list[tuple[bytes, bytes]]]:
        """Yields for each of `positions`, in order, the encoded (crop, background crop) of each of its cameras."""


def _record(instant, cameras, pictures, margin, size):
    """The dict for `schema.encode` of one instant, with the encoded (crop, background crop) `pictures` of `cameras`."""
    views = [crop_views.crop_of(instant, camera, margin, size) for camera in cameras]
    mirrored = instant.side == "left"
    return {
        "key": schema.record_key(instant.sequence, instant.subject, instant.side, instant.frame),
        "sequence": instant.sequence,
        "subject": instant.subject,
        "side": instant.side,
        "frame": instant.frame,
        "mirrored": int(mirrored),
        "cameras": [camera.name for camera in cameras],
        "crops": [crop for crop, _ in pictures],
        "backgrounds": [background for _, background in pictures],
        "rotations": np.stack([view.rotation for view in views]),
        "intrinsics": np.stack([view.K for view in views]),
        "camera_centres": np.stack([view.centre for view in views]),
        "joints": geometry.mirror_joints(instant.joints) if mirrored else instant.joints,
        "joint_validity": instant.accepted.astype(np.float32),
    }


def group_instants(
    instants: Sequence[HandInstant], shows: np.ndarray, min_views: int, skipped: Skipped
) -> dict[tuple[str, str, str], list[int]]:
    """{(sequence, subject, side): positions in `instants`} of those that `min_views` cameras show; others are counted.

    `shows` [cameras, instants] bool says which camera shows which instant.
    """
    groups = {}
    for position, (instant, views) in enumerate(zip(instants, np.sum(shows, axis=0), strict=True)):
        if views < min_views:
            skipped.add(f"instants: fewer than {min_views} views", instant.name)
        else:
            groups.setdefault((instant.sequence, instant.subject, instant.side), []).append(position)
    return dict(sorted(groups.items()))


def shard_slices(
    group: tuple[str, str, str], positions: Sequence[int], records_per_shard: int, seed: int
) -> list[tuple[str, np.ndarray]]:
    """[(file name, positions)] of one group: each position once, in the group's own random order."""
    digest = hashlib.sha256("/".join(group).encode()).digest()
    order = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")]).permutation(positions)
    count = math.ceil(len(order) / records_per_shard)
    stem = ".".join(group)
    return [(f"{stem}-{i:05d}-of-{count:05d}.tfrecord", part) for i, part in enumerate(np.array_split(order, count))]


def _serialized(views, positions, settings, progress):
    """Yields the serialised records of one shard."""
    for position, pictures in zip(positions, views.pictures(positions), strict=True):
        seen_by = views.cameras_of(position)
        record = _record(views.instants[position], seen_by, pictures, settings.margin, settings.crop_size)
        yield schema.encode(record)
        progress.update(1)


def _index_rows(views, file, positions):
    """Yields a row of the index per record."""
    for position in positions:
        instant = views.instants[position]
        yield {
            "key": schema.record_key(instant.sequence, instant.subject, instant.side, instant.frame),
            "shard": file,
            "sequence": instant.sequence,
            "subject": instant.subject,
            "side": instant.side,
            "frame": instant.frame,
            "cameras": [camera.name for camera in views.cameras_of(position)],
            "labelled": bool(instant.accepted[skeleton.ROOT]),
        }


def write_group(
    views: Views, group: tuple[str, str, str], positions: Sequence[int], settings: RecordsSettings, progress: tqdm
) -> tuple[records_folder.Group, list[dict]]:
    """Writes those shards of one group that do not exist yet; returns its `Group` and its rows of the index.

    `positions` in `views.instants` are those of the group. Raises OSError for a full disk.
    """
    shards, index = [], []
    for file, part in shard_slices(group, positions, settings.records_per_shard, settings.seed):
        path = settings.output / file
        if path.is_file():
            progress.update(len(part))
        else:
            schema.write_shard(path, _serialized(views, part, settings, progress))
        shards.append(records_folder.describe_shard(path, len(part)))
        index += _index_rows(views, file, part)
    num_crops = sum(len(row["cameras"]) for row in index)
    num_labelled = sum(row["labelled"] for row in index)
    return records_folder.Group(*group, len(index), num_crops, num_labelled, tuple(shards)), index


def write_groups(
    views: Views, name: str, settings: RecordsSettings, skipped: Skipped
) -> tuple[list[records_folder.Group], list[dict]]:
    """Writes all groups of the sequence called `name`; returns them and all rows of the index.

    Instants that fewer than `settings.min_views` cameras show are counted in `skipped`.
    """
    members = group_instants(views.instants, views.shows, settings.min_views, skipped)
    groups, index = [], []
    with tqdm(total=sum(map(len, members.values())), desc=name, unit="record", disable=None) as progress:
        for group, positions in members.items():
            written, rows = write_group(views, group, positions, settings, progress)
            groups.append(written)
            index += rows
    return groups, index


def check_left(groups: Sequence[records_folder.Group], skipped: Skipped) -> None:
    """Raises ValueError, which says what was left out, if no group is left."""
    if not groups:
        raise InputError("no instant is left: " + "; ".join(line.strip() for line in skipped.lines()))


def write_manifest(
    settings: RecordsSettings,
    fps: float,
    cameras: dict[str, Sequence[geometry.Camera]],
    build_flags: dict,
    report: dict,
    groups: Iterable[records_folder.Group],
    index: Iterable[dict],
) -> None:
    """Writes index and manifest, which completes a records folder; `cameras` maps sequence to its cameras."""
    names = {sequence: [camera.name for camera in each] for sequence, each in cameras.items()}
    manifest = records_folder.Manifest(
        schema_version=records_folder.SCHEMA_VERSION,
        crop_size=settings.crop_size,
        fps=fps,
        cameras=names,
        build_flags=build_flags,
        report=report,
        index_sha256="",
        groups=tuple(groups),
    )
    records_folder.write_manifest(settings.output, manifest, index)


def report(groups: Sequence[records_folder.Group], num_instants: int, skipped: Skipped, seconds: float) -> dict:
    """What was kept of `num_instants`, and what was left out, as plain JSON values."""
    files = [shard for group in groups for shard in group.shards]
    return {
        "instants": num_instants,
        "records": sum(group.num_records for group in groups),
        "labelled": sum(group.num_labelled for group in groups),
        "views": sum(group.num_crops for group in groups),
        "shards": len(files),
        "bytes": sum(shard.bytes for shard in files),
        "seconds": round(seconds, 1),
        "skipped": {
            reason: {"count": count, "first": skipped.first[reason]} for reason, count in sorted(skipped.counts.items())
        },
    }


def print_report(report: dict, output: str) -> None:
    """Prints the last lines of a command that wrote records to the folder `output`."""
    print("Left out:" if report["skipped"] else "Nothing was left out.")
    for reason, skip in sorted(report["skipped"].items(), key=lambda item: -item[1]["count"]):
        print(f"{skip['count']:>8}  {reason} (first: {skip['first']})")
    print(
        f"Kept {report['records']} of {report['instants']} instants ({report['labelled']} with a pose), "
        f"{report['views']} views, in {report['shards']} shards, {report['bytes'] / 1e6:.1f} MB, "
        f"{report['seconds']} s"
    )
    print(f"next: hand-tf inspect {output} --output=sheet.png")
