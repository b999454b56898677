"""One training in several processes, each on a machine of its own or on one: Keras on JAX, data parallel.

    process p of P reads   batch_size / P rows of every batch, from a stream whose seed is mixed from (seed, p)
    all processes hold     the same weights, and average the gradients over the whole batch
    process 0 writes       the workdir, which the others read where a run continues: it lies in a shared folder

Every process draws from all records rather than from a P-th of the shards: so a batch mixes the same subjects however
many processes there are, a group may have fewer shards than there are processes, and nothing is read that is not used.
P = 1 is the plain stream of `seed`.
"""

import keras
import numpy as np


def seed_of(seed, number):
    """The seed of the data of process `number`; process 0 keeps `seed`, so that one process is none at all."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def rows(batch_size, count):
    """Rows of a batch that each of `count` processes reads. Raises ValueError if they cannot be shared equally."""
    if batch_size % count:
        raise ValueError(f"--batch_size={batch_size}: not a multiple of --processes={count}")
    return batch_size // count


def join(count, number, coordinator):
    """Waits for the other processes and makes everything that Keras computes from here on a work of all `count`.

    Call it before anything is computed. Raises ValueError for processes that cannot work together.

    Args:
        count, number: how many processes there are, and which one this is, from 0.
        coordinator: host:port at which process 0 can be reached; the same for all.
    """
    if count == 1:
        return
    if keras.backend.backend() != "jax":
        raise ValueError("--processes: several machines need Keras on JAX; set KERAS_BACKEND=jax")
    if not coordinator or not number < count:
        raise ValueError(f"--processes={count}: needs --coordinator=host:port and a --process_id below {count}")
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # for machines without accelerators
    try:
        jax.distributed.initialize(coordinator, count, number)
    except RuntimeError as error:
        raise ValueError(f"--coordinator={coordinator}: {str(error).splitlines()[0]}") from error
    # Every process brings its own rows: Keras is not to split them once more.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
