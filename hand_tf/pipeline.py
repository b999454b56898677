"""Records to batches: triplets without labels, crops with labels, and both side by side.

A triplet is (source, target, reference): views i and j of one instant t, and any view k of another instant t' of the
same hand. Two records of one group are two such instants, so t != t' holds by construction, and only the crops that a
triplet uses are decoded. Every stream is infinite, cut into epochs of `steps` batches, and a pure function of
(seed, epoch): a resumed run sees exactly what the uninterrupted one saw.

    unlabelled   x = {source, reference, rotation, background}
                 y = {image, features}: the target, {mask}: where it differs from the background
                 w = {image}: foreground weights
    labelled     x = {source}     y = {pose}                w = {pose}: accepted joints
    joint        both, the labelled image as x["labelled"]
"""

import contextlib
import pathlib

import numpy as np
import tensorflow as tf

from hand_tf import augment, manifest, schema, skeleton

AUTOTUNE = tf.data.AUTOTUNE
READ_BYTES = 1 << 20  # at a time from a shard
# A second look at the same pair of instants costs no reading; more would make neighbours in the shuffle buffer alike.
TRIPLETS_PER_PAIR = 8
RECORDS_TO_SHUFFLE, TRIPLETS_TO_SHUFFLE, GROUPS_AT_ONCE = 32, 1024, 16


def _salted(seed, *salts):
    """A scalar int64 seed that mixes `seed` with `salts` (integers or scalar int64 tensors)."""
    state = tf.stack([tf.cast(seed, tf.int64), tf.constant(0, tf.int64)])
    for salt in salts:
        state = tf.random.experimental.stateless_fold_in(state, tf.cast(salt, tf.int64))
    return tf.random.stateless_uniform([], state, 0, 2**31 - 1, tf.int64)


@contextlib.contextmanager
def damage_named(records, data):
    """Turns TensorFlow's DataLossError into a ValueError that names the damaged shards of `records`."""
    try:
        yield
    except tf.errors.DataLossError as error:
        names = ", ".join(manifest.damaged(records, data)) or "a shard"
        raise ValueError(f"{records}: {names} is damaged (its SHA-256 is not the manifest's); build again") from error


# --- triplets -------------------------------------------------------------------------------------------------------


def usable_groups(records, data, subjects, min_frames):
    """Paths of the shards of each group of `subjects` in which two instants lie `min_frames` apart.

    Raises ValueError if there is none.
    """
    frames = {}
    for row in manifest.read_index(records):
        frames.setdefault((row["sequence"], row["subject"], row["side"]), []).append(row["frame"])
    groups = []
    for group in data.groups:
        numbers = frames.get((group.sequence, group.subject, group.side), [])
        if group.subject in subjects and numbers and max(numbers) - min(numbers) >= max(min_frames, 1):
            groups.append([str(pathlib.Path(records) / shard.file) for shard in group.shards])
    if not groups:
        raise ValueError(f"{records}: no group of subjects {', '.join(subjects)} has two instants far enough apart")
    return groups


def _pairs_of_group(files, seed):
    """Pairs [2] of serialised records of one group, in a random order: two instants of the same hand."""
    files = tf.data.Dataset.from_tensor_slices(files).shuffle(1024, seed)
    records = files.flat_map(lambda path: tf.data.TFRecordDataset(path, buffer_size=READ_BYTES))
    return records.shuffle(RECORDS_TO_SHUFFLE, seed).batch(2, drop_remainder=True)


def _far_apart(first, second, min_frames):
    return tf.abs(first["frame"] - second["frame"]) >= max(min_frames, 1)


def _draw(first, second, seed, same_view_share):
    """Undecoded triplets of a pair of parsed records: each in turn gives source and target, the other the reference."""
    triplets = []
    for n in range(TRIPLETS_PER_PAIR):
        now, other = (first, second) if n % 2 == 0 else (second, first)
        views, other_views = tf.shape(now["crops"])[0], tf.shape(other["crops"])[0]
        draws = tf.random.stateless_uniform([4], tf.stack([seed, tf.constant(n, tf.int64)]))
        i = tf.cast(draws[0] * tf.cast(views, tf.float32), tf.int32)
        step = 1 + tf.cast(draws[1] * tf.cast(views - 1, tf.float32), tf.int32)
        j = tf.where(draws[2] < same_view_share, i, (i + step) % views)
        k = tf.cast(draws[3] * tf.cast(other_views, tf.float32), tf.int32)
        triplets.append(
            {
                "source": now["crops"][i],
                "target": now["crops"][j],
                "reference": other["crops"][k],
                "background": now["backgrounds"][j],
                "rotation": now["rotations"][j] @ tf.transpose(now["rotations"][i]),
                "intrinsics": now["intrinsics"][i],
            }
        )
    return {name: tf.stack([triplet[name] for triplet in triplets]) for name in triplets[0]}


def _undecoded_triplets(groups, min_frames, same_view_share, seed):
    """One pass over the records of all groups as undecoded triplets; `seed` is a scalar tensor."""
    # Groups side by side, so that a batch mixes subjects however large the groups are.
    pairs = (
        tf.data.Dataset.from_tensor_slices(tf.ragged.constant(groups))
        .shuffle(len(groups), seed)
        .interleave(
            lambda files: _pairs_of_group(files, seed),
            cycle_length=min(len(groups), GROUPS_AT_ONCE),
            num_parallel_calls=1,
            deterministic=True,
        )
        .map(lambda pair: (schema.parse(pair[0]), schema.parse(pair[1])))
        .filter(lambda first, second: _far_apart(first, second, min_frames))
    )
    triplets = pairs.enumerate().map(
        lambda n, pair: _draw(*pair, _salted(seed, n), same_view_share), num_parallel_calls=2, deterministic=True
    )
    # Shuffled before decoding: a buffer of encoded crops is twenty times smaller.
    return triplets.unbatch().shuffle(TRIPLETS_TO_SHUFFLE, seed)


def _epochs(one_pass, count, seed, first_epoch):
    """The stream of epochs: each repeats `one_pass(seed of the pass)` until it has `count` elements."""

    def epoch(number):
        # The seed of this graph only: shuffling mixes it in, and a user's global seed must not change the data.
        tf.random.set_seed(1)
        passes = tf.data.Dataset.range(2**31).flat_map(lambda turn: one_pass(_salted(seed, number, turn)))
        return passes.take(count)

    return tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch)


def _decode(sample, names, size):
    images = {name: tf.io.decode_jpeg(sample[name], channels=3) for name in names}
    return sample | {name: tf.ensure_shape(image, [size, size, 3]) for name, image in images.items()}


def _batches(stream, names, size, batch_size, seed, first_step):
    """Decoded batches, each with its own seed: (batch, seed)."""
    batches = stream.map(lambda sample: _decode(sample, names, size), num_parallel_calls=AUTOTUNE, deterministic=True)
    batches = batches.batch(batch_size, drop_remainder=True)
    steps = tf.data.Dataset.range(first_step, 2**62).map(lambda step: tf.stack([tf.cast(seed, tf.int64), step]))
    return tf.data.Dataset.zip(batches, steps)


def unlabelled(
    records,
    data,
    subjects,
    *,
    batch_size,
    steps,
    seed,
    first_epoch=0,
    min_time_gap=1.0,
    same_view_share=0.3,
    in_plane_degrees=0.0,
    scale_jitter=(1.0, 1.0),
    centre_jitter=0.0,
    colour_strength=0.0,
    foreground_weight=6.0,
    foreground_threshold=0.04,
    shuffle_rotation=False,
):
    """Triplets of novel views, for `pretrain` and the unlabelled half of joint training.

    Args:
        records: folder of records; `data` its `manifest.Manifest`; `subjects` names to use.
        batch_size, steps: triplets a batch and batches an epoch.
        seed, first_epoch: see the module's docstring.
        min_time_gap: seconds between t and t'.
        same_view_share: share of triplets with i = j, plain auto-encoding.
        in_plane_degrees: source, target and reference turn independently by up to this angle (`pretrain_aug`).
        scale_jitter, centre_jitter: other boxes for the sources; see `augment.turn_triplet`.
        colour_strength: see `augment.colour`.
        foreground_weight: of the pixels in which target and background differ by more than foreground_threshold
            (of 0..1); the rest weigh 1.
        shuffle_rotation: control only: gives each triplet the rotation of another one of its batch.

    Returns:
        A dataset of (x, y, sample_weight); images uint8 [batch, size, size, 3].
    """
    min_frames = round(min_time_gap * data.fps)
    groups = usable_groups(records, data, subjects, min_frames)
    images = ("source", "target", "reference", "background")

    def to_training(batch, batch_seed):
        if in_plane_degrees or centre_jitter or tuple(scale_jitter) != (1.0, 1.0):
            batch = augment.turn_triplet(batch, batch_seed, in_plane_degrees, scale_jitter, centre_jitter)
        if colour_strength:
            batch = augment.colour(batch, images, batch_seed, colour_strength)
        if shuffle_rotation:
            batch = batch | {"rotation": tf.roll(batch["rotation"], 1, 0)}
        moved = augment.moved(batch["target"], batch["background"], foreground_threshold)
        x = {name: batch[name] for name in ("source", "reference", "rotation", "background")}
        y = {"image": batch["target"], "features": batch["target"], "mask": tf.cast(moved, tf.uint8)[..., None]}
        # Choice: most of a crop is background, which the composite gives for free; unweighted, the hand would be a
        # rounding error of the loss. Never weighted by the predicted mask, which would learn to shrink.
        weights = 1.0 + (foreground_weight - 1.0) * tf.cast(moved, tf.float32)
        return x, y, {"image": weights, "features": tf.ones([batch_size]), "mask": tf.ones_like(weights)}

    stream = _epochs(
        lambda turn: _undecoded_triplets(groups, min_frames, same_view_share, turn),
        batch_size * steps,
        seed,
        first_epoch,
    )
    batches = _batches(stream, images, data.crop_size, batch_size, seed, first_epoch * steps)
    return _ready(batches.map(to_training, num_parallel_calls=AUTOTUNE, deterministic=True))


# --- labels ---------------------------------------------------------------------------------------------------------


def _crops_of_record(record):
    """A parsed record as a dataset of its crops, one element a view; images stay encoded.

    `pose` [21, 3] mm, `pose_weight` [21], `joints_2d` [21, 2] px in the crop, `intrinsics` [3, 3] px.
    """
    relative = record["joints"] - record["joints"][skeleton.ROOT]
    rays = tf.einsum("vkc,vdc->vkd", record["joints"] - record["camera_centres"][:, None], record["rotations"])
    pixels = rays @ tf.linalg.matrix_transpose(record["intrinsics"])
    views = tf.shape(record["crops"])[0]
    return tf.data.Dataset.from_tensor_slices(
        {
            "source": record["crops"],
            "pose": tf.einsum("kc,vdc->vkd", relative, record["rotations"]),
            "pose_weight": tf.tile(record["joint_validity"][None], [views, 1]),
            "joints_2d": pixels[..., :2] / pixels[..., 2:],
            "intrinsics": record["intrinsics"],
            "camera": record["cameras"],
            **{name: tf.repeat(record[name], views) for name in ("key", "subject", "side")},
        }
    )


def crops_with_labels(records, chosen, index):
    """The crops `chosen` (record key, camera name) of a folder, still encoded, in the order of the shards."""
    keys = {key for key, _ in chosen}
    shards = sorted({row["shard"] for row in index if row["key"] in keys})
    names = [f"{key}\n{camera}" for key, camera in chosen]
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, [1] * len(names)), 0)
    return (
        tf.data.TFRecordDataset([str(pathlib.Path(records) / shard) for shard in shards], buffer_size=READ_BYTES)
        .map(schema.parse, num_parallel_calls=AUTOTUNE, deterministic=True)
        .flat_map(_crops_of_record)
        .filter(lambda crop: table.lookup(crop["key"] + "\n" + crop["camera"]) > 0)
    )


def load_labels(records, chosen, index):
    """The labels of a scenario in memory: a dict of arrays, images still encoded (a few kilobytes each).

    Raises ValueError if a label the index promises is not in the records.
    """
    crops = list(crops_with_labels(records, chosen, index).as_numpy_iterator())
    if len(crops) != len(chosen):
        raise ValueError(f"{records}: the index promises {len(chosen)} labels, the shards hold {len(crops)} of them")
    return {name: np.stack([crop[name] for crop in crops]) for name in crops[0]}


def pose_statistics(labels):
    """Mean and standard deviation [21, 3] (mm) of the labels' poses, over accepted joints only."""
    weight = labels["pose_weight"][..., None]
    count = np.maximum(weight.sum(0), 1)
    mean = (labels["pose"] * weight).sum(0) / count
    return mean, np.sqrt((weight * (labels["pose"] - mean) ** 2).sum(0) / count)


def labelled(
    labels,
    crop_size,
    *,
    batch_size,
    steps,
    seed,
    first_epoch=0,
    in_plane_degrees=0.0,
    colour_strength=0.0,
    scale_jitter=(1.0, 1.0),
    centre_jitter=0.0,
):
    """Labelled crops, repeated without end: minority oversampling comes from pairing this stream with a larger one.

    Args:
        labels: from `load_labels`; crop_size: px.
        batch_size, steps, seed, first_epoch, in_plane_degrees, colour_strength: see `unlabelled`.
        scale_jitter, centre_jitter: see `augment.recrop`.

    Returns:
        A dataset of (x, y, sample_weight).
    """
    names = ("source", "pose", "pose_weight", "intrinsics")
    # Tensors made here are captured by the functions below; arrays would be copied into their graphs.
    crops = {name: tf.constant(labels[name]) for name in names}
    count = len(labels["pose"])

    def to_training(batch, batch_seed):
        if in_plane_degrees or centre_jitter or tuple(scale_jitter) != (1.0, 1.0):
            batch = augment.recrop(batch, batch_seed, in_plane_degrees, scale_jitter, centre_jitter)
        if colour_strength:
            batch = augment.colour(batch, ("source",), batch_seed, colour_strength)
        return {"source": batch["source"]}, {"pose": batch["pose"]}, {"pose": batch["pose_weight"]}

    stream = _epochs(
        lambda turn: tf.data.Dataset.from_tensor_slices(crops).shuffle(count, turn),
        batch_size * steps,
        seed,
        first_epoch,
    )
    batches = _batches(stream, ("source",), crop_size, batch_size, seed, first_epoch * steps)
    return _ready(batches.map(to_training, num_parallel_calls=AUTOTUNE, deterministic=True))


def joint(unlabelled_batches, labelled_batches):
    """Pairs the two streams, so that every batch, and every replica's part of it, holds as many labels as triplets.

    # Paper: Sec. 2.3, random minority oversampling: the labelled stream repeats as often as the other one needs.
    """

    def merge(triplets, labels):
        (x, y, w), (label_x, label_y, label_w) = triplets, labels
        return x | {"labelled": label_x["source"]}, y | label_y, w | label_w

    return _ready(tf.data.Dataset.zip(unlabelled_batches, labelled_batches).map(merge))


def evaluation(records, data, chosen, index, *, batch_size, crop="joints3d", box_margin=1.5):
    """Every chosen crop once, in a fixed order, without augmentation; the last batch may be smaller.

    Args:
        crop: `joints3d`, the crops as they were built, or `box2d`, cut again about the joints' tight 2D box.
        box_margin: side of a `box2d` crop over the longer side of that box.

    Returns:
        A dataset of batches: `source` uint8, `pose` mm, `pose_weight`, `key`, `subject`, `side`, `camera`.
    """
    batches = (
        crops_with_labels(records, chosen, index)
        .map(
            lambda sample: _decode(sample, ("source",), data.crop_size), num_parallel_calls=AUTOTUNE, deterministic=True
        )
        .batch(batch_size)
    )
    if crop == "box2d":
        batches = batches.map(lambda batch: augment.crop_box2d(batch, box_margin), num_parallel_calls=AUTOTUNE)
    elif crop != "joints3d":
        raise ValueError(f"crop {crop!r}: expected joints3d or box2d")
    return _ready(batches)


def _ready(batches):
    options = tf.data.Options()
    # A batch is already whole; files are not to be split between replicas, which would halve the epoch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options).prefetch(AUTOTUNE)
