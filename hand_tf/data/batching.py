"""What all streams of batches share: epochs that are pure functions of (seed, epoch), decoding, and damaged shards.

Batches are made of *encoded* samples and decoded as a whole, in one call: a call is scheduled once per batch, and
threads hand over batches, not pictures.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from hand_tf.core import records_folder, schema
from hand_tf.core.errors import InputError

AUTOTUNE = tf.data.AUTOTUNE
READ_BYTES = 1 << 18  # at a time from a shard


def mixed_seed(seed: int | tf.Tensor, *numbers: int | tf.Tensor) -> tf.Tensor:
    """A scalar int64 seed of its own for each sequence of `numbers`; all are integers or scalar int64 tensors."""
    state = tf.stack([tf.cast(seed, tf.int64), tf.constant(0, tf.int64)])
    for number in numbers:
        state = tf.random.experimental.stateless_fold_in(state, tf.cast(number, tf.int64))
    return tf.random.stateless_uniform([], state, 0, 2**31 - 1, tf.int64)


@contextlib.contextmanager
def damage_named(records: records_folder.Records) -> Iterator[None]:
    """Turns TensorFlow's DataLossError into a ValueError that names the damaged shards of `records`."""
    try:
        yield
    except tf.errors.DataLossError as error:
        names = ", ".join(records_folder.damaged(records.folder, records.manifest)) or "a shard"
        raise InputError(
            f"{records.folder}: {names} is damaged (its SHA-256 is not the manifest's); build again"
        ) from error


def epochs(
    one_pass: Callable[[tf.Tensor, tf.Tensor], tf.data.Dataset], count: int, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """The stream of epochs: each repeats `one_pass(seed of the pass, epoch)` until it has `count` elements."""

    def epoch(number):
        # The seed of this graph only. Shuffling mixes it in, and a user's global seed must not change the batches.
        tf.random.set_seed(1)
        passes = tf.data.Dataset.range(2**31).flat_map(lambda n: one_pass(mixed_seed(seed, number, n), number))
        return passes.take(count)

    return tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch)


def decode(
    batch: dict[str, tf.Tensor], names: Sequence[str], size: int, twins: Mapping[str, str] | None = None
) -> dict[str, tf.Tensor]:
    """`batch` with its encoded images `names` [batch] as uint8 [batch, size, size, 3].

    `twins` maps a name to an earlier one that often has the very same picture, which is then decoded once.
    """
    twins = twins or {}

    def pictures(sample):
        found = {}
        for name, encoded in sample.items():
            picture = functools.partial(schema.decode_image, encoded)
            if name in twins:
                twin = twins[name]
                found[name] = tf.cond(encoded == sample[twin], functools.partial(tf.identity, found[twin]), picture)
            else:
                found[name] = picture()
        return found

    # One loop over the samples. One loop per name takes longer: the loops compete for the threads.
    images = dict.fromkeys(names, tf.TensorSpec([size, size, 3], tf.uint8))
    encoded = {name: batch[name] for name in names}
    return batch | tf.map_fn(pictures, encoded, parallel_iterations=1, fn_output_signature=images)


def make_batches(
    stream: tf.data.Dataset, to_training: Callable, batch_size: int, seed: int, first_step: int
) -> tf.data.Dataset:
    """Batches of an endless stream of encoded samples, made by `to_training(encoded batch, seed)`.

    The seed, int64 [2], differs from batch to batch; `first_step` is the number of the first one.
    """
    steps = tf.data.Dataset.range(first_step, 2**62).map(lambda step: tf.stack([tf.cast(seed, tf.int64), step]))
    samples = tf.data.Dataset.zip(stream.batch(batch_size, drop_remainder=True), steps)
    return ready(samples.map(to_training, num_parallel_calls=AUTOTUNE, deterministic=True))


def ready(made: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset `made` of batches with the options that `fit` needs, prefetched."""
    options = tf.data.Options()
    # A batch is already whole. Splitting the files between replicas would halve the epoch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return made.with_options(options).prefetch(AUTOTUNE)
