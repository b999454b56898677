"""Labelled crops: those of a scenario as an endless stream of batches to train on, and chosen ones once, to evaluate.

A batch to train on is x = {source}, y = {pose, joints_2d}, w = {pose, joints_2d}: 1 for accepted joints, 0 for others.
"""

import math

import numpy as np
import tensorflow as tf

from hand_tf.core import records_folder, schema, skeleton
from hand_tf.core.crops import BOX_MARGIN, CROP_RULES
from hand_tf.core.errors import InputError
from hand_tf.data import augmentation, batching

# Fields of a labelled crop that training uses.
TRAINED_ON = ("source", "source_background", "pose", "pose_weight", "joints_2d", "intrinsics")


def _crops_of_record(record):
    """A parsed record as a dataset of its crops, one element per view; images stay encoded.

    `source`, `source_background`, `pose` [21, 3] mm, `pose_weight` [21], `joints_2d` [21, 2] px in the crop,
    `intrinsics` [3, 3] px, `rotation` [3, 3] (world to virtual camera).
    """
    relative = record["joints"] - record["joints"][skeleton.ROOT]
    rays = tf.einsum("vkc,vdc->vkd", record["joints"] - record["camera_centres"][:, None], record["rotations"])
    pixels = rays @ tf.linalg.matrix_transpose(record["intrinsics"])
    views = tf.shape(record["crops"])[0]
    return tf.data.Dataset.from_tensor_slices(
        {
            "source": record["crops"],
            "source_background": record["backgrounds"],
            "pose": tf.einsum("kc,vdc->vkd", relative, record["rotations"]),
            "pose_weight": tf.tile(record["joint_validity"][None], [views, 1]),
            "joints_2d": pixels[..., :2] / pixels[..., 2:],
            "intrinsics": record["intrinsics"],
            "rotation": record["rotations"],
            "camera": record["cameras"],
            **{name: tf.repeat(record[name], views) for name in ("key", "subject", "side")},
        }
    )


def crops_with_labels(records: records_folder.Records, chosen: list[tuple[str, str]]) -> tf.data.Dataset:
    """The crops `chosen` (record key, camera name) of a folder, still encoded, in the order of the shards."""
    keys = {key for key, _ in chosen}
    shards = sorted({row["shard"] for row in records.index if row["key"] in keys})
    names = [f"{key}\n{camera}" for key, camera in chosen]
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, [1] * len(names)), 0)
    files = [str(records.folder / shard) for shard in shards]
    return (
        tf.data.TFRecordDataset(files, buffer_size=batching.READ_BYTES)
        .map(schema.parse, num_parallel_calls=batching.AUTOTUNE, deterministic=True)
        .flat_map(_crops_of_record)
        .filter(lambda crop: table.lookup(crop["key"] + "\n" + crop["camera"]) > 0)
    )


def load_labels(records: records_folder.Records, chosen: list[tuple[str, str]]) -> dict[str, np.ndarray]:
    """The labels of a scenario in memory: a dict of arrays, images still encoded (a few kilobytes each).

    Raises ValueError if a label the index promises is not in the records.
    """
    crops = list(crops_with_labels(records, chosen).as_numpy_iterator())
    if len(crops) != len(chosen):
        raise InputError(
            f"{records.folder}: the index promises {len(chosen)} labels, the shards hold {len(crops)} of them"
        )
    return {name: np.stack([crop[name] for crop in crops]) for name in crops[0]}


def pose_statistics(labels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [21, 3] (mm) of the labels' poses, over accepted joints only."""
    weight = labels["pose_weight"][..., None]
    count = np.maximum(weight.sum(0), 1)
    mean = (labels["pose"] * weight).sum(0) / count
    return mean, np.sqrt((weight * (labels["pose"] - mean) ** 2).sum(0) / count)


def training_batches(
    labels: dict[str, np.ndarray],
    crop_size: int,
    *,
    batch_size: int,
    steps: int,
    seed: int,
    in_plane_degrees: float,
    scale_jitter: tuple[float, float],
    centre_jitter: float,
    colour_strength: float,
    swap_background_share: float,
    foreground_threshold: float,
    first_epoch: int = 0,
    others: tf.data.Dataset | None = None,
    share: float = 1.0,
    empty_share: float | None = None,
) -> tf.data.Dataset:
    """Labelled crops, repeated without end. Paired with a larger stream, this is minority oversampling.

    Args:
        labels: from `load_labels`, or None if there are only `others`; crop_size: px.
        batch_size, steps, seed, first_epoch, in_plane_degrees, colour_strength: see `triplets.unlabelled`.
        scale_jitter, centre_jitter: see `augmentation.recrop`.
        swap_background_share, foreground_threshold: see `augmentation.swap_background`.
        others: a stream of crops that come with poses from elsewhere, see `fused_labels.crops`.
        share: of the crops of a batch that come from the labels, the others from `others`.
        empty_share: of the crops that show their empty scene instead, see `_with_judged`; None: there is no `judged`.

    Returns:
        A dataset of (x, y, sample_weight).
    """

    images = ("source", "source_background") if swap_background_share or empty_share else ("source",)

    def to_training(batch, batch_seed):
        batch = batching.decode(batch, images, crop_size)
        if swap_background_share:
            batch = augmentation.swap_background(batch, batch_seed, swap_background_share, foreground_threshold)
        if empty_share:
            batch = augmentation.empty_scenes(batch, batch_seed, empty_share)
        if in_plane_degrees or centre_jitter or tuple(scale_jitter) != (1.0, 1.0):
            batch = augmentation.recrop(batch, batch_seed, in_plane_degrees, scale_jitter, centre_jitter)
        if colour_strength:
            batch = augmentation.colour(batch, ("source",), batch_seed, colour_strength)
        weights = dict.fromkeys(("pose", "joints_2d"), batch["pose_weight"])
        if empty_share is not None:
            batch, weights = _with_judged(batch, weights)
        return {"source": batch["source"]}, {name: batch[name] for name in weights}, weights

    if labels is None:
        stream = others
    else:
        count = batch_size * steps
        stream = _repeated(labels, count if others is None else num_labelled(count, share), seed, first_epoch)
        stream = stream if others is None else _mixed(stream, others, count, share)
    return batching.make_batches(stream, to_training, batch_size, seed, first_epoch * steps)


def _with_judged(batch, weights):
    """Adds what the loss of a confidence reads: `judged` [batch, 21, 4], the pose (mm) and 1 where no hand is."""
    empty = batch.get("empty", tf.zeros([tf.shape(batch["source"])[0]]))
    column = tf.tile(empty[:, None, None], [1, skeleton.NUM_JOINTS, 1])
    judged = tf.concat([batch["pose"], column], -1)
    hand = 1 - empty[:, None]
    weights = {name: weight * hand for name, weight in weights.items()}
    return batch | {"judged": judged}, weights | {"judged": weights["pose"] + empty[:, None]}


def _repeated(labels, count, seed, first_epoch):
    """The labels without end, `count` an epoch, in a new order on every pass."""
    # Tensors made here are captured by the function below; arrays would be copied into its graph.
    crops = {name: tf.constant(labels[name]) for name in TRAINED_ON}

    def one_pass(pass_seed, _):
        return tf.data.Dataset.from_tensor_slices(crops).shuffle(len(labels["pose"]), pass_seed)

    return batching.epochs(one_pass, count, seed, first_epoch)


def num_labelled(count: int, share: float) -> int:
    """How many of `count` crops come from the labels where they are the `share` of a mixture."""
    return math.floor(count * share)


def _mixed(stream, others, count, share):
    """Two streams in turns, so that every replica's part of a batch has its `share` of the first one.

    The turns start anew with every epoch of `count` crops, so that a resumed run sees what it would have seen.
    """
    steps = np.floor(np.arange(count + 1) * share)
    turns = tf.data.Dataset.from_tensor_slices((steps[1:] == steps[:-1]).astype(np.int64)).repeat()
    return tf.data.Dataset.choose_from_datasets([stream, others], turns)


def evaluation(
    records: records_folder.Records,
    chosen: list[tuple[str, str]],
    *,
    batch_size: int,
    crop: str = "joints3d",
    box_margin: float = BOX_MARGIN,
) -> tf.data.Dataset:
    """Every chosen crop once, in a fixed order, without augmentation; the last batch may be smaller.

    Args:
        crop: `joints3d`, the crops as they were built, or `box2d`, cut again about the joints' tight 2D box.
        box_margin: side of a `box2d` crop over the longer side of that box.

    Returns:
        A dataset of batches: `source` uint8, and the fields of `_crops_of_record`.
    """
    if crop not in CROP_RULES:
        raise InputError(f"crop {crop!r}: expected {' or '.join(CROP_RULES)}")

    def to_evaluate(batch):
        batch = batching.decode(batch, ("source",), records.manifest.crop_size)
        return augmentation.crop_box2d(batch, box_margin) if crop == "box2d" else batch

    encoded = crops_with_labels(records, chosen).batch(batch_size)
    return batching.ready(encoded.map(to_evaluate, num_parallel_calls=batching.AUTOTUNE, deterministic=True))
