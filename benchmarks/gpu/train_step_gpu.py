"""The training step on a GPU: Keras on JAX beside PyTorch, eager and compiled, in float32 and bfloat16.

    KERAS_BACKEND=jax python -m benchmarks.gpu.train_step_gpu --output=train_step_gpu.jsonl
    KERAS_BACKEND=jax python -m benchmarks.gpu.train_step_gpu --miniature

Needs JAX and PyTorch, both of which see the GPU, and no TensorFlow; see README.md beside this file. Every line is
printed as soon as it is measured. `share` is the arithmetic of the convolutions and fully connected layers over what a
large matrix product of PyTorch reaches on the same machine in the same precision (float32: TF32 where the GPU has it).
`--miniature` does all of it in about a minute on a CPU, so that a GPU's first minute is not spent on a mistake.
"""

import dataclasses
import functools
import os
import statistics
import sys
import time

from absl import flags

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a CPU: sleeping threads leave it to the other side
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory too

import keras
import numpy as np
import torch

from benchmarks import results, steps
from hand_tf.core import command_line
from hand_tf.training import regimes

FLAGS = flags.FlagValues()
flags.DEFINE_list("regimes", list(regimes.REGIMES), "Regimes to time.", flag_values=FLAGS)
flags.DEFINE_list("precisions", ["float32", "mixed_bfloat16"], "Of all sides.", flag_values=FLAGS)
flags.DEFINE_list("batch_sizes", ["32", "256"], "Triplets, and as many labelled crops, a step.", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 5, "Rounds, in which the sides take turns.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("steps", 20, "Steps a turn.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_bool("compiled_peer", True, "Time torch.compile too, which takes a minute a regime.", flag_values=FLAGS)
flags.DEFINE_bool(
    "miniature", False, "Tiny networks, few steps, one regime of all parts: try the script.", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def peak(precision, size):
    """Operations a second of a product of two matrices of `size`."""
    dtype = torch.bfloat16 if precision == "mixed_bfloat16" else torch.float32
    a, b = torch.randn(2, size, size, device=DEVICE, dtype=dtype)
    seconds = []
    for _ in range(20):
        _wait()
        start = time.perf_counter()
        a @ b
        _wait()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _ours(mine):
    """Steps through `fit`, with the batch in the host's memory, as in training."""

    def batches():
        while True:
            yield mine.batch

    mine.model.jit_compile = True

    def run(count):
        history = mine.model.fit(batches(), steps_per_epoch=count, epochs=1, verbose=0, shuffle=False)
        return history.history["loss"][-1]

    return run


def _peer(regime, sizes, mine, precision, compiled):
    dtype = torch.bfloat16 if precision == "mixed_bfloat16" else None
    step, host = steps.peer(regime, sizes, mine, dtype)
    if steps.peer_flops(step, host) != steps.part_flops(mine):
        raise ValueError("not the same network: the operations of a forward pass differ")
    step = step.to(DEVICE, memory_format=torch.channels_last)
    if compiled:
        # On a CPU only the graph is captured: building C++ would take the miniature's minute.
        step.loss = torch.compile(step.loss, backend="inductor" if DEVICE == "cuda" else "aot_eager")
    to_device = functools.partial(torch.Tensor.to, device=DEVICE, non_blocking=True)

    def run(count):
        total = torch.zeros((), device=DEVICE)
        for _ in range(count):
            batch = {name: to_device(value) for name, value in host.items()}
            total += step(batch)
        return float(total) / count

    return run


def measure(regime, sizes, precision):
    """Seconds a step by side and round, and the operations of a step for one sample."""
    keras.utils.set_random_seed(0)
    mine = steps.ours(regime, sizes)
    sides = {"torch": _peer(regime, sizes, mine, precision, False)}
    if FLAGS.compiled_peer:
        sides["torch.compile"] = _peer(regime, sizes, mine, precision, True)
    sides["ours"] = _ours(mine)
    losses = {name: run(3) for name, run in sides.items()}  # compiles, and all start from the same weights
    if not np.allclose(list(losses.values()), losses["ours"], rtol=2e-2 if precision == "float32" else 1e-1):
        raise ValueError(f"{regime.name}: the mean losses of the first steps differ: {losses}")
    seconds = {name: [] for name in sides}
    for _ in range(FLAGS.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run(FLAGS.steps)
            seconds[name].append((time.perf_counter() - start) / FLAGS.steps)
    return seconds, steps.step_flops(regime, steps.part_flops(mine))


def _row(regime, sizes, precision, seconds, flops, limit):
    median = {name: statistics.median(each) for name, each in seconds.items()}
    row = {"regime": regime.name, "precision": precision, "batch": sizes.batch, "image": sizes.image}
    row |= {"ms": {name: round(1e3 * value, 2) for name, value in median.items()}}
    row |= {"samples_per_second": round(sizes.batch / median["ours"], 1)}
    row |= {"share": {name: round(sizes.batch * flops / value / limit, 4) for name, value in median.items()}}
    ratio = {name: np.array(each) / seconds["ours"] for name, each in seconds.items() if name != "ours"}
    return row | {"peer_ratio": {name: round(float(np.median(each)), 2) for name, each in ratio.items()}}


def main(_):
    """Prints a line a measurement, then the headline."""
    torch.set_float32_matmul_precision("high")  # TF32 as in the convolutions, and as JAX does
    chosen, batch_sizes = FLAGS.regimes, [int(size) for size in FLAGS.batch_sizes]
    form = steps.FULL
    if FLAGS.miniature:
        form, chosen, batch_sizes = steps.MINIATURE, ["semi_supervised"], [4]
        FLAGS.steps = FLAGS.rounds = 2
    rows, limits = [], {}
    for precision in FLAGS.precisions:
        keras.mixed_precision.set_global_policy(precision)
        limits[precision] = peak(precision, 512 if FLAGS.miniature else 8192)
        print(f"{precision}: a matrix product reaches {limits[precision] / 1e12:.3g} TFLOP/s", flush=True)
        for batch in batch_sizes:
            for name in chosen:
                regime, sizes = regimes.REGIMES[name], dataclasses.replace(form, batch=batch)
                seconds, flops = measure(regime, sizes, precision)
                rows.append(_row(regime, sizes, precision, seconds, flops, limits[precision]))
                print(rows[-1], flush=True)
                keras.utils.clear_session()
    headline = {"backend": keras.backend.backend(), "device": DEVICE, "torch": torch.__version__}
    if DEVICE == "cuda":
        headline["device"] = torch.cuda.get_device_name()
    headline["peak_tflops"] = {precision: round(value / 1e12, 3) for precision, value in limits.items()}
    keys = {f"{row['regime']} {row['precision']} {row['batch']}": row for row in rows}
    headline |= {key: {name: row[key] for name, row in keys.items()} for key in ("peer_ratio", "share")}
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
