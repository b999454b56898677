"""How fast exported networks are, beside MediaPipe's hand landmark models, and what 8-bit integers cost.

    python -m benchmarks.latency --mediapipe=WHEEL --output=docs/latency.jsonl
    python -m benchmarks.latency --runs=RUN1,RUN2 --data_dir=RECORDS --mediapipe=WHEEL

Without --runs, the networks of --networks are new ones, with crops and heads of full size: what they predict is noise,
but their speed is that of trained ones. With --runs, the runs are exported, and each format is also scored on
--subjects of --data_dir.

    latency       one image on one thread, ms: median and 90th percentile
    throughput    images per second on all cores: LiteRT with one interpreter per core, the SavedModel in batches
    N-MPJPE       mm, on the crops as they were built

Each model is loaded in a process of its own, and all take turns, round by round. Ratios are medians of the ratios
within a round. MediaPipe's models come from the last of its wheels that contains them:

    pip download --no-deps mediapipe==0.10.9

The wheel is not installed. Its models run on the same LiteRT runtime as ours, at their own 224 px and without their
tracking.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np

from benchmarks import measurements
from hand_tf.core import command_line, records_folder
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.serving import litert, model_files
from hand_tf.training.settings import TrainingSettings

FORMATS = ("savedmodel", "litert", "litert_int8")
MEDIAPIPE = ("hand_landmark_full", "hand_landmark_lite")
GET_MEDIAPIPE = "pip download --no-deps mediapipe==0.10.9"
BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """The flags of this command."""

    runs: tuple[str, ...] = setting("Folders of finished runs with a pose head. Default: new networks.", ())
    mediapipe: str | None = setting("A wheel of MediaPipe, or a folder with its models.", None)
    data_dir: str | None = setting("Records that the runs learned from.", None)
    subjects: str = setting("Subjects to score the runs on.", "S9+S10")
    max_crops: int = setting("Crops to score on; 0: all.", 1000, low=0)
    networks: tuple[str, ...] = setting(
        "New networks, ENCODER:WIDTH each.", ("resnet18:64", "resnet18:32", "mobile:64")
    )
    image_size: int = setting("Crop size of new networks, px.", 128, low=32)
    rounds: int = setting("Rounds in which the models take turns.", 15, low=1)
    repeats: int = setting("Images per round, one by one.", 10, low=1)
    seconds: float = setting("Seconds per round to measure throughput.", 0.25, above=0)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)
        if self.runs and not self.data_dir:
            raise SettingError(
                "--runs: expected --data_dir too; integer models are calibrated on crops that the runs learned from"
            )
        for network in self.networks:
            if not network.partition(":")[2].isdecimal():
                raise SettingError(f"--networks={network}: expected ENCODER:WIDTH, such as resnet18:64")
        names = [pathlib.Path(run).name for run in self.runs]
        if len(set(names)) < len(names) or any(" " in name for name in names):
            raise SettingError(f"--runs={','.join(self.runs)}: expected different folder names, no blanks")


# --- models ---------------------------------------------------------------------------------------------------------


def new_networks(settings: LatencySettings, folder: pathlib.Path) -> dict[str, dict[str, pathlib.Path]]:
    """Freshly initialised networks, exported below `folder`: {network: {format: path}}."""
    from hand_tf.nets import models
    from hand_tf.serving import calibration, export_model
    from hand_tf.training import networks, regimes

    exported, size = {}, settings.image_size
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, size, size, 3), np.uint8)
    crops = calibration.CalibrationCrops(*noise, "noise")
    for network in settings.networks:
        backbone, _, width = network.partition(":")
        training = TrainingSettings(
            regime="supervised",
            scenario="*",
            data_dir="-",
            workdir="-",
            encoder=backbone,
            encoder_width=int(width),
        )
        parts = networks.make_parts(training, regimes.REGIMES["supervised"], size)
        model = models.pose_estimator(parts["encoder"], parts["pose_head"])
        (folder / network).mkdir()
        exported[network] = {kind: folder / network / kind for kind in FORMATS}
        for kind, path in exported[network].items():
            export_model.export_model(model, path, model_files.describe_model(size, 1.5, {}), kind, crops)
    return exported


def exported_runs(settings: LatencySettings, folder: pathlib.Path) -> dict[str, dict[str, pathlib.Path]]:
    """The runs, exported below `folder` by the command: {name: {format: path}}."""
    from hand_tf import export

    exported = {}
    for run in settings.runs:
        name = pathlib.Path(run).name
        exported[name] = {kind: folder / name / kind for kind in FORMATS}
        for kind, path in exported[name].items():
            arguments = [f"--run={run}", f"--output={path}", f"--format={kind}", f"--data_dir={settings.data_dir}"]
            if command_line.run(export.main, arguments):
                raise InputError(f"{run}: cannot be exported as {kind}")
    return exported


def mediapipe_models(source: str | None, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Paths of MediaPipe's models by name; those in a wheel are extracted into `folder`."""
    if not source:
        print(f"MediaPipe is left out; {GET_MEDIAPIPE} and pass the file as --mediapipe")
        return {}
    searched = pathlib.Path(source)
    if zipfile.is_zipfile(searched):
        with zipfile.ZipFile(searched) as wheel:
            wanted = [name for name in wheel.namelist() if pathlib.Path(name).stem in MEDIAPIPE]
            wheel.extractall(folder, wanted)
        searched = folder
    paths = {path.stem: path for path in searched.rglob("*.tflite") if path.stem in MEDIAPIPE}
    if len(paths) < len(MEDIAPIPE):
        raise InputError(f"--mediapipe={source}: expected {' and '.join(MEDIAPIPE)}, found {sorted(paths)}")
    return paths


# --- a process that answers -----------------------------------------------------------------------------------------


def _litert_calls(path, count):
    """`count` functions, each of which runs one image through an interpreter of its own."""
    calls, content = [], pathlib.Path(path).read_bytes()
    for _ in range(count):
        model = litert.interpreter(content)
        model.allocate_tensors()
        (image,) = model.get_input_details()
        value = np.random.default_rng(0).integers(0, 256, image["shape"]).astype(image["dtype"])
        value = value if image["dtype"] == np.uint8 else value / np.float32(255)

        def call(model=model, index=image["index"], value=value):
            model.set_tensor(index, value)
            model.invoke()

        calls.append(call)
    return calls


def _saved_model_call(path, threads, batch):
    """A function that runs a batch through a SavedModel on `threads` threads."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    size = model_files.read_description(path)["image_size"]
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8))
    return lambda: signature(image=images)["pose"].numpy()


def _rate(calls, images, seconds):
    """Images per second of `calls`, each in a thread of its own; each call handles `images` images."""
    start, counts = time.perf_counter(), [0] * len(calls)

    def work(position):
        while time.perf_counter() < start + seconds:
            calls[position]()
            counts[position] += images

    threads = [threading.Thread(target=work, args=(position,)) for position in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def _milliseconds(call, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def serve(connection: Connection, path: pathlib.Path, one_thread: bool) -> None:
    """Answers requests until it receives None.

    With one thread, a request is a number of repeats and the answer their latencies (ms). Otherwise it is a number of
    seconds, and the answer the images per second.
    """
    threads, batch = (1, 1) if one_thread else (os.cpu_count(), BATCH)
    if (path / "saved_model.pb").is_file():
        calls = [_saved_model_call(path, threads, batch)]
    else:
        calls, batch = _litert_calls(path / model_files.LITERT if path.is_dir() else path, threads), 1
    for call in calls:
        _milliseconds(call, 5)
    connection.send(None)
    for request in iter(connection.recv, None):
        connection.send(_milliseconds(calls[0], request) if one_thread else _rate(calls, batch, request))


@contextlib.contextmanager
def servers(paths: dict[str, pathlib.Path], one_thread: bool) -> Iterator[dict[str, Callable]]:
    """Starts a process for each model; yields functions that send it a request and return the answer."""
    context, running = multiprocessing.get_context("spawn"), {}
    for name, path in paths.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, path, one_thread), daemon=True)
        process.start()
        theirs.close()
        running[name] = (process, ours)
        ours.recv()

    def ask(connection, what):
        connection.send(what)
        return connection.recv()

    try:
        yield {name: lambda what, ours=ours: ask(ours, what) for name, (_, ours) in running.items()}
    finally:
        for process, ours in running.values():
            ours.send(None)
            process.join()


# --- numbers --------------------------------------------------------------------------------------------------------


def take_turns(paths: dict[str, pathlib.Path], settings: LatencySettings) -> tuple[dict, dict]:
    """Latencies {name: [round] of [repeat] ms} and throughputs {name: [round] images per second}."""
    latencies, rates = {name: [] for name in paths}, {name: [] for name in paths}
    with servers(paths, one_thread=True) as ask:
        for _ in range(settings.rounds):
            for name in paths:
                latencies[name].append(ask[name](settings.repeats))
    with servers(paths, one_thread=False) as ask:
        for _ in range(settings.rounds):
            for name in paths:
                rates[name].append(ask[name](settings.seconds))
    return latencies, rates


def score(paths: dict[str, pathlib.Path], settings: LatencySettings) -> dict[str, float]:
    """N-MPJPE in mm of each format of one run on the test crops."""
    from hand_tf.data import labelled_crops
    from hand_tf.results import evaluation
    from hand_tf.serving import estimator

    records = records_folder.open_records(settings.data_dir)
    chosen = evaluation.choose_crops(records, settings.subjects, settings.max_crops)
    estimators = {kind: estimator.load_exported(path) for kind, path in paths.items()}
    poses, truth = {kind: [] for kind in paths}, []
    for batch in labelled_crops.evaluation(records, chosen, batch_size=BATCH).as_numpy_iterator():
        truth.append(batch)
        for kind, each in estimators.items():
            poses[kind].append(each.estimate(batch["source"]))
    pose, weight, subject = (np.concatenate([b[n] for b in truth]) for n in ("pose", "pose_weight", "subject"))
    scores = {}
    for kind, parts in poses.items():
        numbers = evaluation.measure(pose, np.concatenate(parts), weight, subject.astype(str))
        scores[kind] = round(numbers["n_mpjpe"], 2)
    return scores


def ratio(latencies: dict[str, list], name: str, other: str) -> float:
    """The median over rounds of the ratio of the rounds' median latencies."""
    pairs = zip(latencies[name], latencies[other], strict=True)
    return round(statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs), 3)


def tabulate(latencies: dict, rates: dict, scores: dict) -> list[dict]:
    """Rows for the table and the file, one per model; `scores` {network: {format: mm}} has all networks of ours."""
    rows = []
    for name in latencies:
        network, _, kind = name.partition(" ")
        every = np.concatenate(latencies[name])
        row = {"network": network, "format": kind or "litert", "ms": round(float(np.median(every)), 2)}
        row["ms_p90"] = round(float(np.quantile(every, 0.9)), 2)
        row["images_per_second"] = round(statistics.median(rates[name]), 1)
        row |= {f"/ {peer}": ratio(latencies, name, peer) for peer in MEDIAPIPE if peer in latencies}
        if network in scores:
            row["/ litert"] = ratio(latencies, name, f"{network} litert")
            row["n_mpjpe"] = scores[network].get(kind)
        rows.append(row)
    return rows


def _print(rows):
    names = ("network", "format", "ms", "ms_p90", "images_per_second", *(f"/ {peer}" for peer in MEDIAPIPE), "n_mpjpe")
    heads = ("network", "format", "ms", "p90", "images/s", "/ full", "/ lite", "N-MPJPE")
    for values in (heads, *([row.get(name) for name in names] for row in rows)):
        shown = ["" if value is None else str(value) for value in values]
        print(f"{shown[0]:<36}{shown[1]:<13}" + "".join(f"{value:>10}" for value in shown[2:]))


def main(settings: LatencySettings) -> None:
    """Prints the table and the headline."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        peers = mediapipe_models(settings.mediapipe, folder)
        networks = exported_runs(settings, folder) if settings.runs else new_networks(settings, folder)
        scores = {name: score(paths, settings) if settings.runs else {} for name, paths in networks.items()}
        ours = {f"{name} {kind}": path for name, paths in networks.items() for kind, path in paths.items()}
        size = model_files.read_description(next(iter(ours.values())))["image_size"]
        latencies, rates = take_turns(ours | peers, settings)
    rows = tabulate(latencies, rates, scores)
    _print(rows)
    keys = ("/ litert", *(f"/ {peer}" for peer in MEDIAPIPE), "n_mpjpe")
    headline = {"image_size": size, "ratios_of_latency": {}}
    for row in rows:
        kept = {key: row[key] for key in keys if row.get(key) is not None}
        headline["ratios_of_latency"][f"{row['network']} {row['format']}"] = kept
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
