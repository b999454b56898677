"""Records to batches of triplets without labels, alone or together with labelled crops.

A triplet is (source, target, reference): views i and j of one instant t, and any view k of another instant t' of the
same hand. Two records of one group are two such instants, so t != t' holds by construction, and only the crops that a
triplet uses are decoded. Every stream is infinite, cut into epochs of `steps` batches, and a pure function of
(seed, epoch): a resumed run sees exactly what the uninterrupted one saw.

With `partners`, the two triplets that are drawn together stand side by side in the batch, and each is the reference
of the other: triplet 2 m that of 2 m + 1, and the other way round. There is no `reference` then, because the encoder
sees it as the source of the partner: every picture is decoded, augmented and encoded once for two roles.

    unlabelled   x = {source, reference, rotation, placement, background}; with `partners` no reference
                 y = {image, features}: the target, {mask}: where it differs from the background
                 w = {image}: foreground weights, {mask}: weights of places
    joint        the above and `labelled_crops.training_batches`, whose image becomes x["labelled"]
"""

from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from hand_tf.core import schema
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.data import augmentation, batching

RECORDS_TO_SHUFFLE, TRIPLETS_TO_SHUFFLE, GROUPS_AT_ONCE = 16, 4096, 16
# Least share of pairs of instants that lie far enough apart: pairs are drawn at random, and the others thrown away.
MIN_PAIRS = 0.01
# What a triplet needs of a record; the parser copies nothing else.
NEEDED = ("key", "frame", "crops", "backgrounds", "rotations", "intrinsics")
IMAGES = ("source", "target", "reference", "background")


def usable_groups(records: Records, subjects: Sequence[str], min_time_gap: float) -> list[list[str]]:
    """Paths of the shards of each group of `subjects` in which two instants lie `min_time_gap` seconds apart.

    Raises ValueError if there is none, or if hardly any pair of instants lies that far apart.
    """
    frames, fps, shares = {}, records.manifest.fps, []
    least = min_frames(min_time_gap, fps)
    for row in records.index:
        frames.setdefault((row["sequence"], row["subject"], row["side"]), []).append(row["frame"])
    groups, longest = [], 0
    for group in records.manifest.groups:
        numbers = frames.get((group.sequence, group.subject, group.side), [])
        if group.subject not in subjects or not numbers:
            continue
        span = max(numbers) - min(numbers)
        longest = max(longest, span)
        if span >= least:
            groups.append([str(records.folder / shard.file) for shard in group.shards])
            shares.append(_share_of_pairs(numbers, least))
    if not groups:
        raise InputError(
            f"{records.folder}: a triplet needs two instants of one hand --min_time_gap={min_time_gap:g} s apart; the"
            f" longest group of {', '.join(subjects)} spans {longest / fps:.2g} s: record for longer, or take a smaller"
            " --min_time_gap"
        )
    if np.mean(shares) < MIN_PAIRS:
        raise InputError(
            f"{records.folder}: a triplet needs two instants of one hand --min_time_gap={min_time_gap:g} s apart, and"
            f" only 1 in {1 / np.mean(shares):.0f} pairs of {', '.join(subjects)} is; take a smaller --min_time_gap"
        )
    return groups


def _share_of_pairs(numbers, least):
    """The share of the pairs of frame `numbers` that lie at least `least` apart."""
    numbers = np.sort(numbers)
    apart = len(numbers) - np.searchsorted(numbers, numbers + least)
    return apart.sum() / (len(numbers) * (len(numbers) - 1) / 2)


def min_frames(min_time_gap: float, fps: float) -> int:
    """The least difference of frame numbers between t and t': at least 1, or reference and source would be one."""
    return max(round(min_time_gap * fps), 1)


def _parse_pair(pair):
    return schema.parse(pair[0], NEEDED), schema.parse(pair[1], NEEDED)


def _draw(now, other, count, seed, same_view_share):
    """`count` undecoded triplets: source and target from the parsed record `now`, the reference from `other`."""
    views, other_views = (tf.cast(tf.shape(record["crops"])[0], tf.float32) for record in (now, other))
    draws = tf.random.stateless_uniform([4, count], seed)
    i = tf.cast(draws[0] * views, tf.int32)
    step = 1 + tf.cast(draws[1] * (views - 1), tf.int32)
    j = tf.where(draws[2] < same_view_share, i, (i + step) % tf.cast(views, tf.int32))
    k = tf.cast(draws[3] * other_views, tf.int32)
    from_source, to_target = tf.gather(now["rotations"], i), tf.gather(now["rotations"], j)
    return {
        "source": tf.gather(now["crops"], i),
        "target": tf.gather(now["crops"], j),
        "reference": tf.gather(other["crops"], k),
        "background": tf.gather(now["backgrounds"], j),
        "source_background": tf.gather(now["backgrounds"], i),
        "rotation": tf.matmul(to_target, from_source, transpose_b=True),
        "intrinsics": tf.gather(now["intrinsics"], i),
    }


def _draw_both(first, second, seed, same_view_share, partners):
    """Undecoded triplets of a pair of parsed records; each record holds the other's references.

    Elements are triplets, with `partners` two of them at a time: [count, 2].

    There are as many as views: for every rig, a crop that was read serves one or two triplets. With fewer, crops would
    be read and not used; with more, neighbours in the shuffle buffer would be alike.
    """
    half = (tf.shape(first["crops"])[0] + 1) // 2
    one = _draw(first, second, half, tf.stack([seed, tf.constant(0, tf.int64)]), same_view_share)
    two = _draw(second, first, half, tf.stack([seed, tf.constant(1, tf.int64)]), same_view_share)
    if partners:
        return {name: tf.stack([one[name], two[name]], 1) for name in one if name != "reference"}
    return {name: tf.concat([one[name], two[name]], 0) for name in one}


def _triplets_of_group(files, seed, least, same_view_share, partners, held_out):
    """Undecoded triplets of one group, from two instants at a time; `held_out` maps keys of records to 1."""

    def may_pair(first, second):
        held = held_out.lookup(first["key"]) + held_out.lookup(second["key"])
        return (tf.abs(first["frame"] - second["frame"]) >= least) & (held == 0)

    files = tf.data.Dataset.from_tensor_slices(files).shuffle(1024, seed)
    return (
        files.flat_map(lambda path: tf.data.TFRecordDataset(path, buffer_size=batching.READ_BYTES))
        .shuffle(RECORDS_TO_SHUFFLE, seed)
        .batch(2, drop_remainder=True)
        .map(_parse_pair)
        .filter(may_pair)
        .enumerate()
        .map(lambda n, pair: _draw_both(*pair, batching.mixed_seed(seed, n), same_view_share, partners))
    )


def _one_pass(groups, least, same_view_share, partners, held_out, seed):
    """One pass over the records of all groups as undecoded triplets; `seed` is a scalar tensor."""
    # Groups are interleaved, so that a batch mixes subjects whatever the sizes of the groups; each group is read in a
    # thread of its own.
    triplets = (
        tf.data.Dataset.from_tensor_slices(tf.ragged.constant(groups))
        .enumerate()
        .shuffle(len(groups), seed)
        .interleave(
            lambda n, files: _triplets_of_group(
                files, batching.mixed_seed(seed, n), least, same_view_share, partners, held_out
            ),
            cycle_length=min(len(groups), GROUPS_AT_ONCE),
            num_parallel_calls=batching.AUTOTUNE,
            deterministic=True,
        )
    )
    # Shuffled before decoding: a buffer of encoded crops is twelve times smaller.
    shuffled = triplets.unbatch().shuffle(TRIPLETS_TO_SHUFFLE, seed)
    return shuffled.unbatch() if partners else shuffled


def undecoded(
    records: Records,
    subjects: Sequence[str],
    *,
    count: int,
    seed: int,
    min_time_gap: float,
    same_view_share: float,
    partners: bool = False,
    last_same_view_share: float | None = None,
    epochs: int = 1,
    held_out: Collection[str] = (),
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """The stream of triplets, `count` an epoch, their images `IMAGES` still encoded; see `unlabelled`."""
    groups, least = usable_groups(records, subjects, min_time_gap), min_frames(min_time_gap, records.manifest.fps)
    last = same_view_share if last_same_view_share is None else last_same_view_share
    keys = ["", *held_out]  # a table may not be empty, and no key is
    held = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, [1] * len(keys)), default_value=0)

    def one_pass(seed, epoch):
        progress = tf.minimum(tf.cast(epoch, tf.float32) / max(epochs - 1, 1), 1.0)
        share = same_view_share + (last - same_view_share) * progress
        return _one_pass(groups, least, share, partners, held, seed)

    return batching.epochs(one_pass, count, seed, first_epoch)


def unlabelled(
    records: Records,
    subjects: Sequence[str],
    *,
    batch_size: int,
    steps: int,
    seed: int,
    min_time_gap: float,
    same_view_share: float,
    in_plane_degrees: float,
    scale_jitter: tuple[float, float],
    centre_jitter: float,
    colour_strength: float,
    swap_background_share: float,
    foreground_weight: float,
    foreground_threshold: float,
    centre_sigma: float,
    equal_weights: bool,
    shuffle_rotation: bool,
    partners: bool = False,
    last_same_view_share: float | None = None,
    epochs: int = 1,
    held_out: Collection[str] = (),
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Triplets of novel views, for `pretrain` and the unlabelled half of joint training.

    Args:
        records: folder of records; subjects: names of those to use.
        batch_size, steps: triplets per batch and batches per epoch.
        seed, first_epoch: see the module's docstring.
        min_time_gap: seconds between t and t'.
        same_view_share: share of triplets with i = j, plain auto-encoding, in the first epoch.
        partners: pairs of triplets that are each other's references; see the module's docstring.
        last_same_view_share: that of the last of `epochs` epochs, with a straight line between; None: the same.
        held_out: keys of records that no triplet uses.
        in_plane_degrees: source, target and reference rotate independently by up to this angle (`pretrain_aug`).
        scale_jitter, centre_jitter: other boxes for the sources; see `augmentation.rotate_triplet`.
        colour_strength: see `augmentation.colour`.
        swap_background_share: share of the sources before another scene; see `augmentation.swap_background`.
        foreground_weight: of the pixels in which target and background differ by more than foreground_threshold
            (of 0..1); the rest weigh 1.
        centre_sigma: the weights of image and mask fall off from the centre; see `augmentation.centre_weights`.
        equal_weights: bring the image weights of every crop, and those of the mask, to a mean of 1.
        shuffle_rotation: control experiment: gives each triplet the rotation of another one of its batch.

    Returns:
        A dataset of (x, y, sample_weight); images uint8 [batch, size, size, 3].

    Raises:
        ValueError: see `usable_groups`; an odd batch_size with `partners`.
    """
    if partners and batch_size % 2:
        raise InputError(f"batch_size {batch_size}: pairs of partners fill only even batches")
    images = [name for name in IMAGES if not (partners and name == "reference")]
    decoded, twins = images, {"target": "source"}
    if swap_background_share:
        decoded, twins = [*images, "source_background"], twins | {"source_background": "background"}
    count, size = batch_size * steps, records.manifest.crop_size
    # Captured constants: made once.
    as_meant = tf.tile([[0.0, 0.0, 1.0]], [batch_size, 1])
    near = augmentation.centre_weights(size, centre_sigma)
    near_batch = tf.tile((near / tf.reduce_mean(near) if equal_weights else near)[None], [batch_size, 1, 1])

    def to_training(batch, batch_seed):
        batch = batching.decode(batch, decoded, size, twins)
        if swap_background_share:
            batch = augmentation.swap_background(batch, batch_seed, swap_background_share, foreground_threshold)
        batch["placement"] = as_meant
        if in_plane_degrees or centre_jitter or tuple(scale_jitter) != (1.0, 1.0):
            batch = augmentation.rotate_triplet(batch, batch_seed, in_plane_degrees, scale_jitter, centre_jitter)
        if colour_strength:
            batch = augmentation.colour(batch, images, batch_seed, colour_strength)
        if shuffle_rotation:
            batch = batch | {"rotation": tf.roll(batch["rotation"], 1, 0)}
        # Choice: most of a crop is background, which compositing reproduces without learning anything; unweighted, the
        # hand would hardly count in the loss. The predicted mask never weights it: the mask would learn to shrink.
        mask, weights = augmentation.foreground(
            batch["target"], batch["background"], foreground_threshold, foreground_weight, near, equal_weights
        )
        x = {name: batch[name] for name in ("rotation", "placement", *images) if name != "target"}
        y = {"image": batch["target"], "features": batch["target"], "mask": mask[..., None]}
        return x, y, {"image": weights, "features": tf.ones([batch_size]), "mask": near_batch}

    stream = undecoded(
        records,
        subjects,
        count=count,
        seed=seed,
        min_time_gap=min_time_gap,
        same_view_share=same_view_share,
        partners=partners,
        last_same_view_share=last_same_view_share,
        epochs=epochs,
        held_out=held_out,
        first_epoch=first_epoch,
    )
    return batching.make_batches(stream, to_training, batch_size, seed, first_epoch * steps)


def joint(unlabelled_batches: tf.data.Dataset, labelled_batches: tf.data.Dataset) -> tf.data.Dataset:
    """Pairs the two streams: every batch, and every replica's part of it, holds as many labels as triplets.

    # Paper: Sec. 2.3, random minority oversampling: the labelled stream repeats as often as needed.
    """

    def merge(triplets, labels):
        (x, y, w), (label_x, label_y, label_w) = triplets, labels
        return x | {"labelled": label_x["source"]}, y | label_y, w | label_w

    return batching.ready(tf.data.Dataset.zip(unlabelled_batches, labelled_batches).map(merge))
