"""The training step on a GPU: Keras on JAX beside PyTorch, eager and compiled, in float32 and bfloat16.

    KERAS_BACKEND=jax python -m benchmarks.gpu.train_step_gpu --output=train_step_gpu.jsonl
    KERAS_BACKEND=jax python -m benchmarks.gpu.train_step_gpu --miniature

Needs JAX and PyTorch, both with access to the GPU, and no TensorFlow; see README.md beside this file. Each row is
printed as soon as it is measured. `share` is the arithmetic of the convolutions and fully connected layers, relative to
what a large matrix product of PyTorch reaches on the same machine in the same precision (float32: TF32 where the GPU
has it). `--miniature` runs all of it in about a minute on a CPU, to find mistakes before a GPU is needed.
"""

import dataclasses
import functools
import os
import statistics
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a CPU: waiting threads leave the cores to the other side
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory too

import keras
import numpy as np
import torch

from benchmarks import measurements, steps
from hand_tf.core import command_line
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.training import regimes

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuTrainStepSettings:
    """The flags of this command."""

    regimes: tuple[str, ...] = setting("Regimes to time.", tuple(regimes.REGIMES), choices=tuple(regimes.REGIMES))
    precisions: tuple[str, ...] = setting("Precisions of all sides.", PRECISIONS, choices=PRECISIONS)
    batch_sizes: tuple[str, ...] = setting("Triplets per step, and as many labelled crops.", ("32", "256"))
    rounds: int = setting("Rounds in which the sides take turns.", 5, low=1)
    steps: int = setting("Steps per round.", 20, low=1)
    compiled_peer: bool = setting("Time torch.compile too, which takes a minute per regime.", True)
    miniature: bool = setting("Tiny networks, few steps, one regime with all parts: to try the script.", False)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)
        if not all(size.isdecimal() and int(size) > 1 for size in self.batch_sizes):
            raise SettingError(f"--batch_sizes={','.join(self.batch_sizes)}: expected numbers above 1")


def _wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def peak(precision: str, size: int) -> float:
    """Operations per second of the product of two square matrices of `size`."""
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
    """A function that trains some steps through `fit`, with the batch in the host's memory, as in training."""

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
        raise InputError("not the same network: the operations of a forward pass differ")
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


def measure(regime: regimes.Regime, sizes: steps.Sizes, precision: str, settings: GpuTrainStepSettings):
    """Seconds per step by side and round, and the operations of a step for one sample."""
    keras.utils.set_random_seed(0)
    mine = steps.ours(regime, sizes)
    sides = {"torch": _peer(regime, sizes, mine, precision, False)}
    if settings.compiled_peer:
        sides["torch.compile"] = _peer(regime, sizes, mine, precision, True)
    sides["ours"] = _ours(mine)
    losses = {name: run(3) for name, run in sides.items()}  # compiles; all start from the same weights
    if not np.allclose(list(losses.values()), losses["ours"], rtol=2e-2 if precision == "float32" else 1e-1):
        raise InputError(f"{regime.name}: the mean losses of the first steps differ: {losses}")
    seconds = {name: [] for name in sides}
    for _ in range(settings.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run(settings.steps)
            seconds[name].append((time.perf_counter() - start) / settings.steps)
    return seconds, steps.step_flops(regime, steps.part_flops(mine), sizes.settings.encode_once)


def _row(regime, sizes, precision, seconds, flops, limit):
    median = {name: statistics.median(each) for name, each in seconds.items()}
    row = {"regime": regime.name, "precision": precision, "batch": sizes.batch, "image": sizes.image}
    row |= {"ms": {name: round(1e3 * value, 2) for name, value in median.items()}}
    row |= {"samples_per_second": round(sizes.batch / median["ours"], 1)}
    row |= {"share": {name: round(sizes.batch * flops / value / limit, 4) for name, value in median.items()}}
    ratio = {name: np.array(each) / seconds["ours"] for name, each in seconds.items() if name != "ours"}
    return row | {"peer_ratio": {name: round(float(np.median(each)), 2) for name, each in ratio.items()}}


def main(settings: GpuTrainStepSettings) -> None:
    """Prints a line per measurement, then the headline."""
    torch.set_float32_matmul_precision("high")  # TF32 as in the convolutions, and as JAX does
    name = "full"
    if settings.miniature:
        name = "miniature"
        settings = dataclasses.replace(settings, regimes=("semi_supervised",), batch_sizes=("4",), steps=2, rounds=2)
    rows, limits = [], {}
    for precision in settings.precisions:
        keras.mixed_precision.set_global_policy(precision)
        limits[precision] = peak(precision, 512 if settings.miniature else 8192)
        print(f"{precision}: a matrix product reaches {limits[precision] / 1e12:.3g} TFLOP/s", flush=True)
        for batch_size in settings.batch_sizes:
            for regime in (regimes.REGIMES[each] for each in settings.regimes):
                sizes = steps.sizes_of(name, int(batch_size))
                seconds, flops = measure(regime, sizes, precision, settings)
                rows.append(_row(regime, sizes, precision, seconds, flops, limits[precision]))
                print(rows[-1], flush=True)
                keras.utils.clear_session()
    headline = {"backend": keras.backend.backend(), "device": DEVICE, "torch": torch.__version__}
    if DEVICE == "cuda":
        headline["device"] = torch.cuda.get_device_name()
    headline["peak_tflops"] = {precision: round(value / 1e12, 3) for precision, value in limits.items()}
    keys = {f"{row['regime']} {row['precision']} {row['batch']}": row for row in rows}
    headline |= {column: {key: row[column] for key, row in keys.items()} for column in ("peer_ratio", "share")}
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
