"""From pictures to records: groups, their random order, shards.

    group = (sequence, subject, side)
    order = permutation of the group's instants by rng(seed, group)
    shard i of n = the i-th of n nearly equal slices of the order

The order is random because a shuffle buffer over time-ordered video would make every reference a neighbour in time of
its source, and appearance would leak the pose. Each step is a pure function of the input and the seed: a build that
was interrupted ends with the same bytes, and shards that are already there need not be written again.
"""

import hashlib
import math

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hand_tf.core import geometry, records_folder, schema, skeleton
from tfrecords_tools.records import crop_views


def _record(instant, cameras, pictures, margin, size):
    """The dict for `schema.encode` of one instant seen by `cameras`, with their (crop, background) `pictures`."""
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


def group_instants(instants, shows, min_views, skipped):
    """{(sequence, subject, side): positions in `instants`} of those with enough views; others are counted.

    `shows` [cameras, instants] bool says which camera shows which instant.
    """
    groups = {}
    for position, (instant, views) in enumerate(zip(instants, np.sum(shows, axis=0), strict=True)):
        if views < min_views:
            skipped.add(f"instants: fewer than {min_views} views", instant.name)
        else:
            groups.setdefault((instant.sequence, instant.subject, instant.side), []).append(position)
    return dict(sorted(groups.items()))


def shard_slices(name, positions, records_per_shard, seed):
    """[(file name, positions)] of one group: all positions once, in the group's own random order."""
    digest = hashlib.sha256("/".join(name).encode()).digest()
    order = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")]).permutation(positions)
    count = math.ceil(len(order) / records_per_shard)
    stem = "{}.{}.{}".format(*name)
    return [(f"{stem}-{i:05d}-of-{count:05d}.tfrecord", part) for i, part in enumerate(np.array_split(order, count))]


def _serialized(views, positions, options, progress):
    """Yields the serialised records of one shard."""
    for position, pictures in zip(positions, views.pictures(positions), strict=True):
        seen_by = views.cameras_of(position)
        record = _record(views.instants[position], seen_by, pictures, options.margin, options.crop_size)
        yield schema.encode(record)
        progress.update(1)


def _index_rows(views, file, positions):
    """One row of the index a record."""
    for instant, position in ((views.instants[position], position) for position in positions):
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


def write_group(views, name, positions, options, progress):
    """Writes those shards of one group that are not there yet; returns its `records_folder.Group` and its index rows.

    Args:
        views: has `instants`; `cameras_of(position)`, the cameras that show one of them; and `pictures(positions)`,
            which yields for each position, in order, the encoded (crop, background) pairs of these cameras.
        options: has `output`, `crop_size`, `margin`, `records_per_shard` and `seed`.
    """
    shards, index = [], []
    for file, part in shard_slices(name, positions, options.records_per_shard, options.seed):
        path = options.output / file
        if path.is_file():
            progress.update(len(part))
        else:
            try:
                schema.write_shard(str(path), _serialized(views, part, options, progress))
            except tf.errors.OpError as error:  # a full disk, in TensorFlow's words
                raise OSError(f"cannot write: {error.message}") from error
        shards.append(records_folder.describe_shard(str(path), len(part)))
        index += _index_rows(views, file, part)
    seen, labelled = sum(len(row["cameras"]) for row in index), sum(row["labelled"] for row in index)
    return records_folder.Group(*name, len(index), seen, labelled, tuple(shards)), index


def write_groups(views, name, options, skipped):
    """Writes all groups of a sequence called `name`; returns their `records_folder.Group`s and all index rows.

    `views` as in `write_group`, with `shows` as in `group_instants`; `options` has `min_views` too.
    """
    members = group_instants(views.instants, views.shows, options.min_views, skipped)
    groups, index = [], []
    with tqdm(total=sum(map(len, members.values())), desc=name, unit="record", disable=None) as progress:
        for member, positions in members.items():
            group, rows = write_group(views, member, positions, options, progress)
            groups.append(group)
            index += rows
    return groups, index


def check_left(groups, skipped):
    """Raises ValueError, with what was left out, if no group is left."""
    if not groups:
        raise ValueError("no instant is left: " + "; ".join(line.strip() for line in skipped.lines()))


def write_manifest(options, fps, cameras, settings, content, groups, index):
    """Completes a records folder: `settings` made it, `content` is its report, `cameras` maps sequence to cameras."""
    names = {name: [camera.name for camera in each] for name, each in cameras.items()}
    described = records_folder.Manifest(
        records_folder.SCHEMA_VERSION, options.crop_size, fps, names, settings, content, "", tuple(groups)
    )
    records_folder.write_manifest(options.output, described, index)


def report(groups, instants, skipped, seconds):
    """What was kept and what was left out, as plain JSON values; `instants` counts what there was."""
    files = [shard for group in groups for shard in group.shards]
    return {
        "instants": instants,
        "records": sum(group.num_records for group in groups),
        "labelled": sum(group.num_labelled for group in groups),
        "views": sum(group.num_crops for group in groups),
        "shards": len(files),
        "bytes": sum(shard.bytes for shard in files),
        "seconds": round(seconds, 1),
        "skipped": {
            reason: {"count": n, "first": skipped.first[reason]} for reason, n in sorted(skipped.counts.items())
        },
    }


def print_report(content, output):
    """Prints the last lines of a command that wrote records."""
    print("Left out:" if content["skipped"] else "Nothing was left out.")
    for reason, skip in sorted(content["skipped"].items(), key=lambda item: -item[1]["count"]):
        print(f"{skip['count']:>8}  {reason} (first: {skip['first']})")
    print(
        f"Kept {content['records']} of {content['instants']} instants ({content['labelled']} with a pose), "
        f"{content['views']} views, in {content['shards']} shards, {content['bytes'] / 1e6:.1f} MB, "
        f"{content['seconds']} s"
    )
    print(f"Next: python -m tfrecords_tools.inspect {output} --output=sheet.png")
