"""Training in several processes, on one machine or on several: Keras on JAX, data parallel.

    process p of P reads   batch_size / P rows of every batch, from a stream whose seed is mixed from (seed, p)
    all processes hold     the same weights, and average the gradients over the whole batch
    process 0 writes       the workdir, which all processes read when a run continues: it lies in a shared folder

Every process draws from all records, not from a P-th of the shards: so a batch mixes the same subjects for any number
of processes, a group may have fewer shards than there are processes, and nothing is read that is not used. With P = 1
this is the stream of `seed`.
"""

import keras
import numpy as np

from hand_tf.core.errors import InputError


def seed_of(seed: int, number: int) -> int:
    """The seed of the batches of process `number`; process 0 keeps `seed`, as a run in one process does."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def join(count: int, number: int, coordinator: str | None) -> None:
    """Waits for the other processes; from then on, what Keras computes is shared among all `count` processes.

    Call it before anything is computed. With `count` 1 it does nothing.

    Args:
        count, number: how many processes there are, and which one this is, from 0.
        coordinator: host:port at which process 0 can be reached; the same for all.

    Raises ValueError on another backend than JAX, and if the coordinator cannot be reached.
    """
    if count == 1:
        return
    if keras.backend.backend() != "jax":
        raise InputError("--processes: several processes need Keras on JAX; set KERAS_BACKEND=jax")
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # for machines without accelerators
    try:
        jax.distributed.initialize(coordinator, count, number)
    except RuntimeError as error:
        raise InputError(f"--coordinator={coordinator}: {str(error).splitlines()[0]}") from error
    # Every process brings its own rows, so Keras must not split them again.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
