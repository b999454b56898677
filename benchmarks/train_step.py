"""How fast a training step is, and where its time goes; beside the same network in plain PyTorch.

    python -m benchmarks.train_step --output=docs/train_step.jsonl
    python -m benchmarks.train_step --full --regimes=pretrain,supervised
    python -m benchmarks.train_step --profile

Times the compiled step of each regime on a batch in memory. If PyTorch is installed (`pip install torch`), the peer of
`benchmarks.torch_peer` takes turns with it, in both memory layouts, of which the faster one counts. Before timing, both
sides must count the same weights and the same arithmetic, and their losses must agree over the first steps.

`peer_ratio` is our throughput over the peer's, the median over the rounds. Each side runs in a process of its own, with
the defaults of its framework except for the number of threads. In one process they would disturb each other: threads of
PyTorch that wait keep their core busy.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import multiprocessing
import os
import statistics
import time

# Before TensorFlow and PyTorch are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks import measurements, steps
from hand_tf.core import command_line
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting
from hand_tf.training import regimes

CHECKED_STEPS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainStepSettings:
    """The flags of this command."""

    regimes: tuple[str, ...] = setting("Regimes to time.", tuple(regimes.REGIMES), choices=tuple(regimes.REGIMES))
    full: bool = setting("128 px, ResNet-18 and the feature loss, as in the regimes' flagfiles; not the demo's.", False)
    threads: int = setting("Threads of each side; 0: one per core.", 0, low=0)
    rounds: int = setting("Rounds in which the sides take turns.", 5, low=1)
    steps: int = setting("Steps per round; 0: four, or one with --full.", 0, low=0)
    precision: str = setting("Precision of both sides.", "float32", choices=("float32", "mixed_bfloat16"))
    profile: bool = setting("Time the stages of a step instead.", False)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)


def _tensors(batch):
    return tuple({name: tf.constant(value) for name, value in part.items()} for part in batch)


def _peer_step(regime, sizes, mine, layout, threads, precision):
    """A function that takes one step of the peer and returns its loss; it starts from the weights of `mine`."""
    import torch

    torch.set_num_threads(threads)
    layout = getattr(torch, {"channels first": "contiguous_format", "channels last": "channels_last"}[layout])
    step, batch = steps.peer(regime, sizes, mine, torch.bfloat16 if precision == "mixed_bfloat16" else None)
    step = step.to(memory_format=layout)
    batch = {key: x.contiguous(memory_format=layout) if x.ndim == 4 else x for key, x in batch.items()}
    here, there = steps.part_flops(mine), steps.peer_flops(step, batch)
    if here != there:
        raise InputError(f"operations of a forward pass {here} here, {there} in PyTorch: not the same network")
    return lambda: float(step(batch))


def _side(pipe, *arguments):
    """The process of a side; sends an error that stops it."""
    try:
        _answer(pipe, *arguments)
    except ValueError as error:
        pipe.send(error)


def _answer(pipe, name, regime, sizes, threads, precision):
    """Sends the losses of the first steps and the operations of a step; then times as many steps as it is asked to.

    All sides draw the same weights, from the same Keras seed.
    """
    _set_threads(threads)
    keras.mixed_precision.set_global_policy(precision)
    keras.utils.set_random_seed(0)
    mine = steps.ours(regime, sizes, jit_compile=False)
    if name == "ours":
        batch = _tensors(mine.batch)
        step = lambda: float(mine.model.train_on_batch(*batch, return_dict=True)["loss"])  # noqa: E731
    else:
        step = _peer_step(regime, sizes, mine, name, threads, precision)
    pipe.send(
        (
            [step() for _ in range(CHECKED_STEPS)],
            steps.step_flops(regime, steps.part_flops(mine), sizes.settings.encode_once),
        )
    )
    while True:  # until the process is killed
        count = pipe.recv()
        step()  # refills the caches, which the other side has used
        start = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        stop = time.perf_counter(), time.process_time()
        pipe.send([(after - before) / count for before, after in zip(start, stop, strict=True)])


@contextlib.contextmanager
def _sides(names, *settings):
    """Starts one process per side; yields the pipes to them by name."""
    context, pipes, started = multiprocessing.get_context("spawn"), {}, []
    try:
        for name in names:
            pipes[name], there = context.Pipe()
            started.append(context.Process(target=_side, args=(there, name, *settings), daemon=True))
            started[-1].start()
            there.close()
        yield pipes
    finally:
        for process in started:
            process.kill()
            process.join()


def _told(pipes, name):
    """What the side `name` sends next. Raises ValueError if that is an error or the process has died."""
    try:
        answer = pipes[name].recv()
    except EOFError as error:
        raise InputError(f"{name}: its process died") from error
    if isinstance(answer, ValueError):
        raise answer
    return answer


def _check_losses(regime, losses, precision):
    """Raises ValueError unless all sides have the same losses.

    They start from the same weights, so equal losses over a few steps imply equal outputs, gradients and updates.
    """
    tolerance = 1e-2 if precision == "float32" else 5e-2
    for name, found in losses.items():
        if not np.allclose(found, losses["ours"], rtol=tolerance):
            raise InputError(f"{regime.name}: losses {losses['ours']} here, {found} in PyTorch, {name}")


def measure(regime: regimes.Regime, sizes: steps.Sizes, count: int, names: list, settings: TrainStepSettings):
    """Times the sides `names`, `count` steps per round.

    Returns:
        {side: [(wall, CPU) seconds per step of each round]}, and the operations of a step for one sample.
    """
    threads = settings.threads or os.cpu_count()
    with _sides(names, regime, sizes, threads, settings.precision) as pipes:
        told = {name: _told(pipes, name) for name in names}
        _check_losses(regime, {name: losses for name, (losses, _) in told.items()}, settings.precision)
        seconds = {name: [] for name in names}
        for number in range(settings.rounds):
            first = number % len(names)  # so that no side always follows the same other one
            for name in names[first:] + names[:first]:
                pipes[name].send(count)
                seconds[name].append(_told(pipes, name))
    return seconds, told["ours"][1]


def _row(regime, sizes, seconds, flops):
    wall = {name: statistics.median(each[0] for each in rounds) for name, rounds in seconds.items()}
    cpu = {name: statistics.median(each[1] for each in rounds) for name, rounds in seconds.items()}
    row = {"regime": regime.name, "samples_per_second": round(sizes.batch / wall["ours"], 1)}
    row |= {"ms": {name: round(1e3 * value, 1) for name, value in wall.items()}}
    row |= {"cpu_ms": {name: round(1e3 * value, 1) for name, value in cpu.items()}}  # PyTorch's waits too
    row["gflops_per_second"] = round(sizes.batch * flops / wall["ours"] / 1e9, 1)
    best = min((name for name in wall if name != "ours"), key=wall.get, default=None)
    if best:
        ratios = np.array(seconds[best])[:, 0] / np.array(seconds["ours"])[:, 0]
        row |= {"peer": best, "peer_ratio": round(float(np.median(ratios)), 2)}
        row |= {"range": [round(float(each), 2) for each in (ratios.min(), ratios.max())]}
    return row


def _print(rows):
    titles = f"{'regime':<18}{'samples/s':>10}{'ms':>9}{'GFLOP/s':>9}"
    print(titles + f"{'peer ms':>9}{'ratio':>7}  range over rounds")
    for row in rows:
        text = f"{row['regime']:<18}{row['samples_per_second']:>10.1f}{row['ms']['ours']:>9.1f}"
        text += f"{row['gflops_per_second']:>9.1f}"
        if "peer" in row:
            text += f"{row['ms'][row['peer']]:>9.1f}{row['peer_ratio']:>7.2f}"
            text += f"  {row['range']} ({row['peer']})"
        print(text)


def _stages(mine, sizes):
    """The stages of a step of `semi_supervised`, in order: {name: function without arguments}."""
    (x, y, weight), parts, model = _tensors(mine.batch), mine.parts, mine.model
    latent = {"points": tf.random.normal([sizes.batch, sizes.settings.num_points, 3])}
    latent["appearance"] = tf.random.normal([sizes.batch, sizes.settings.appearance_size])
    latent["background"] = x["background"]
    outputs = model(x, training=False)
    splat, normalize = parts["decoder"].get_layer("splat"), parts["encoder"].get_layer("normalize")

    def gradients():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True), weight)
        return tape.gradient(loss, model.trainable_variables)

    stages = {
        "one encoder, forward": lambda: parts["encoder"](x["source"], training=True),
        "  of which normalised bytes": lambda: normalize(x["source"]),
        "rotation and splat, forward": lambda: splat(tf.matmul(latent["points"], x["rotation"], transpose_b=True)),
        "decoder with splat, forward": lambda: parts["decoder"](latent, training=True),
        "pose head, forward": lambda: parts["pose_head"](latent["points"], training=True),
        "losses, forward": lambda: model.compute_loss(x, y, outputs, weight),
        "all, forward": lambda: model.compute_loss(x, y, model(x, training=True), weight),
        "all, forward and backward": gradients,
    }
    compiled = {name: tf.function(function, autograph=False) for name, function in stages.items()}
    return compiled | {"the step: and optimiser, metrics": lambda: model.train_on_batch(x, y, weight)}


def profile(sizes: steps.Sizes, rounds: int) -> list[dict]:
    """Rows (stage, ms) of a step of `semi_supervised`, the regime with all stages."""
    stages = _stages(steps.ours(regimes.REGIMES["semi_supervised"], sizes, jit_compile=False), sizes)
    samples = {name: [] for name in stages}
    for number in range(rounds + 2):
        for name, stage in stages.items():
            start = time.perf_counter()
            stage()
            if number >= 2:  # the first round traces and compiles
                samples[name].append(1e3 * (time.perf_counter() - start))
    rows = [{"stage": name, "ms": round(statistics.median(each), 2)} for name, each in samples.items()]
    for row in rows:
        print(f"{row['stage']:<36}{row['ms']:>9.2f} ms  {100 * row['ms'] / rows[-1]['ms']:5.1f} %")
    return rows


def _set_threads(count):
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def compare(sizes: steps.Sizes, sides: list[str], settings: TrainStepSettings) -> list[dict]:
    """One row per regime."""
    rows = []
    for name in settings.regimes:
        regime = regimes.REGIMES[name]
        seconds, flops = measure(regime, sizes, settings.steps or (1 if settings.full else 4), sides, settings)
        rows.append(_row(regime, sizes, seconds, flops))
        print(f"{name}: {rows[-1]['ms']}", flush=True)
    return rows


def main(settings: TrainStepSettings) -> None:
    """Prints the table and the headline."""
    name = "full" if settings.full else "demo"
    sizes, threads = steps.sizes_of(name), settings.threads or os.cpu_count()
    headline = {"sizes": name, "batch_size": sizes.batch, "image_size": sizes.image}
    headline |= {"threads": threads, "precision": settings.precision}
    if settings.profile:
        _set_threads(threads)
        keras.mixed_precision.set_global_policy(settings.precision)
        rows = profile(sizes, settings.rounds)
        measurements.publish(headline | {"step_ms": rows[-1]["ms"]}, rows, settings.output)
        return
    sides = ["ours"]
    if importlib.util.find_spec("torch"):
        sides += ["channels first", "channels last"]
    else:
        print("no peer: PyTorch is not installed (pip install torch)")
    rows = compare(sizes, sides, settings)
    _print(rows)
    headline["samples_per_second"] = {row["regime"]: row["samples_per_second"] for row in rows}
    if len(sides) > 1:
        headline["peer_ratio"] = {row["regime"]: row["peer_ratio"] for row in rows}
        headline["torch"] = importlib.metadata.version("torch")
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
