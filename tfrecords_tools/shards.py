"""From spools to records: groups, their random order, shards.

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

from hand_tf import geometry, manifest, schema, skeleton
from tfrecords_tools import crops


def _record(instant, cameras, pictures, margin, size):
    """The dict for `schema.encode` of one instant seen by `cameras`, with their (crop, background) `pictures`."""
    views = [crops.crop_of(instant, camera, margin, size) for camera in cameras]
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


def group_instants(sequence, spools, min_views, skipped):
    """{(sequence, subject, side): positions in `sequence.instants`} of those with enough views; others are counted."""
    views = np.sum([spool.shows for spool in spools], axis=0)
    groups = {}
    for position, instant in enumerate(sequence.instants):
        if views[position] < min_views:
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


def _serialized(sequence, spools, positions, margin, size):
    """Yields the serialised records of one shard."""
    for position in positions:
        seen_by = [
            (camera, spool) for camera, spool in zip(sequence.cameras, spools, strict=True) if spool.shows[position]
        ]
        pictures = [spool.pictures(position) for _, spool in seen_by]
        cameras = [camera for camera, _ in seen_by]
        yield schema.encode(_record(sequence.instants[position], cameras, pictures, margin, size))


def _index_rows(sequence, spools, file, positions):
    """One row of the index a record."""
    for position in positions:
        instant = sequence.instants[position]
        yield {
            "key": schema.record_key(instant.sequence, instant.subject, instant.side, instant.frame),
            "shard": file,
            "sequence": instant.sequence,
            "subject": instant.subject,
            "side": instant.side,
            "frame": instant.frame,
            "cameras": [c.name for c, spool in zip(sequence.cameras, spools, strict=True) if spool.shows[position]],
            "labelled": bool(instant.accepted[skeleton.ROOT]),
        }


def write_group(sequence, spools, name, positions, options, progress):
    """Writes those shards of one group that are not there yet; returns its `manifest.Group` and its index rows."""
    shards, index = [], []
    for file, part in shard_slices(name, positions, options.records_per_shard, options.seed):
        path = options.output / file
        if not path.is_file():
            try:
                schema.write_shard(str(path), _serialized(sequence, spools, part, options.margin, options.crop_size))
            except tf.errors.OpError as error:  # a full disk, in TensorFlow's words
                raise OSError(f"cannot write: {error.message}") from error
        shards.append(manifest.describe_shard(str(path), len(part)))
        index += _index_rows(sequence, spools, file, part)
        progress.update(len(part))
    views, labelled = sum(len(row["cameras"]) for row in index), sum(row["labelled"] for row in index)
    return manifest.Group(*name, len(index), views, labelled, tuple(shards)), index
