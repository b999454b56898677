"""Crops without labels of their own, with the poses that all views of their instant agree on (`core.fusion`).

A table holds one fused pose per instant, in the world; a crop gets it turned into its own view. The stream is
infinite and a pure function of (seed, epoch), like all others.

    crop of view v:   pose = fused R_v^T,   joints_2d = K_v (pose - mean_k pose_k + (0, 0, d_v))

d_v is the distance of the camera from the hand's centre, the point that all virtual cameras of an instant look at.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hand_tf.core import schema
from hand_tf.core.records_folder import Records
from hand_tf.data import batching

RECORDS_TO_SHUFFLE, CROPS_TO_SHUFFLE, GROUPS_AT_ONCE = 16, 4096, 16
NEEDED = ("key", "crops", "backgrounds", "rotations", "intrinsics", "camera_centres")


@dataclasses.dataclass(frozen=True, eq=False)
class FusedPoses:
    """Fused poses of instants.

    Attributes:
        keys: of the records, [n] str.
        world: poses [n, 21, 3] mm relative to the wrist, in the frame of the world.
        weights: [n, 21], how much a joint of an instant counts; 0: not at all.
    """

    keys: np.ndarray
    world: np.ndarray
    weights: np.ndarray

    def without(self, joints: Sequence[int]) -> "FusedPoses":
        """The same, but `joints` do not count."""
        weights = self.weights.copy()
        weights[:, list(joints)] = 0
        return dataclasses.replace(self, weights=weights)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [21, 3] mm of these poses as if seen from all sides: alike in x, y and z."""
        squares = np.square(self.world).mean(-1) * self.weights
        squares = squares.sum(0) / np.maximum(self.weights.sum(0), 1e-9)
        return np.zeros(self.world.shape[1:]), np.repeat(np.sqrt(squares)[:, None], 3, axis=1)


def hand_centres(rotations: tf.Tensor, centres: tf.Tensor) -> tf.Tensor:
    """The point [3] mm nearest to the optical axes of the virtual cameras, rotations [V, 3, 3], centres [V, 3] mm.

    The cameras of an instant look at the hand, so all axes meet there.
    """
    axes = rotations[:, 2]
    across = tf.eye(3) - axes[:, :, None] * axes[:, None]
    right = tf.einsum("vij,vj->i", across, centres)
    return tf.linalg.solve(tf.reduce_sum(across, 0), right[:, None])[:, 0]


def _crops_with_poses(record, table, world, weights):
    """The crops of a parsed record with its fused pose in each view; images stay encoded."""
    row = table.lookup(record["key"])
    pose = tf.einsum("kc,vdc->vkd", tf.gather(world, row), record["rotations"])
    centre = hand_centres(record["rotations"], record["camera_centres"])
    distance = tf.norm(record["camera_centres"] - centre, axis=-1)
    placed = pose - tf.reduce_mean(pose, 1, keepdims=True) + distance[:, None, None] * [0.0, 0.0, 1.0]
    pixels = placed @ tf.linalg.matrix_transpose(record["intrinsics"])
    views = tf.shape(pose)[0]
    return tf.data.Dataset.from_tensor_slices(
        {
            "source": record["crops"],
            "source_background": record["backgrounds"],
            "pose": pose,
            "pose_weight": tf.tile(tf.gather(weights, row)[None], [views, 1]),
            "joints_2d": pixels[..., :2] / pixels[..., 2:],
            "intrinsics": record["intrinsics"],
        }
    )


def crops(
    records: Records, subjects: Sequence[str], fused: FusedPoses, *, count: int, seed: int, first_epoch: int = 0
) -> tf.data.Dataset:
    """The stream of single crops of `subjects` that have a fused pose, `count` an epoch, their images still encoded.

    Elements have the fields of `labelled_crops.training_batches`' labels.
    """
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(map(str, fused.keys)), list(range(len(fused.keys)))), -1
    )
    world, weights = tf.constant(fused.world, tf.float32), tf.constant(fused.weights, tf.float32)
    groups = [
        [str(records.folder / shard.file) for shard in group.shards]
        for group in records.manifest.groups
        if group.subject in subjects
    ]

    def of_group(files, seed):
        return (
            tf.data.Dataset.from_tensor_slices(files)
            .shuffle(1024, seed)
            .flat_map(lambda path: tf.data.TFRecordDataset(path, buffer_size=batching.READ_BYTES))
            .shuffle(RECORDS_TO_SHUFFLE, seed)
            .map(lambda serialized: schema.parse(serialized, NEEDED))
            .filter(lambda record: table.lookup(record["key"]) >= 0)
            .flat_map(lambda record: _crops_with_poses(record, table, world, weights))
        )

    def one_pass(seed, _):
        return (
            tf.data.Dataset.from_tensor_slices(tf.ragged.constant(groups))
            .enumerate()
            .shuffle(len(groups), seed)
            .interleave(
                lambda n, files: of_group(files, batching.mixed_seed(seed, n)),
                cycle_length=min(len(groups), GROUPS_AT_ONCE),
                num_parallel_calls=batching.AUTOTUNE,
                deterministic=True,
            )
            .shuffle(CROPS_TO_SHUFFLE, seed)
        )

    return batching.epochs(one_pass, count, seed, first_epoch)
