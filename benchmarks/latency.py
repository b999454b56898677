"""How fast an exported network answers, beside MediaPipe's hand landmark models, and what 8 bits cost.

    python -m benchmarks.latency --mediapipe=WHEEL --output=docs/latency.jsonl
    python -m benchmarks.latency --runs=RUN1,RUN2 --data_dir=RECORDS --mediapipe=WHEEL

Without --runs the networks are new ones, --networks at the full size of crops and heads: what they predict is noise,
how long they take is not. With --runs the runs are exported, and every format is also scored on --subjects of
--data_dir.

    latency       one image on one thread, ms: median and 90th percentile
    throughput    images per second on all cores: LiteRT with one interpreter a core, the SavedModel in batches
    N-MPJPE       mm, of the crops as they were built

All models are loaded side by side, each in a process of its own, and take turns round by round. Ratios are medians of
the ratios within a round. MediaPipe's models come out of the last of its wheels that hold them,

    pip download --no-deps mediapipe==0.10.9

which is not installed: they run on the same LiteRT runtime as ours, at their own 224 px and without their tracking.
"""

import contextlib
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
import zipfile

import numpy as np
from absl import flags

from benchmarks import results
from hand_tf.core import command_line, records_folder
from hand_tf.serving import litert

FLAGS = flags.FlagValues()
flags.DEFINE_list("runs", [], "Workdirs of finished runs with a pose head; default: new networks.", flag_values=FLAGS)
flags.DEFINE_string("mediapipe", None, "A wheel of MediaPipe, or a folder with its models.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Records that the runs learnt from.", flag_values=FLAGS)
flags.DEFINE_string("subjects", "S9+S10", "Subjects to score the runs on.", flag_values=FLAGS)
flags.DEFINE_integer("max_crops", 1000, "Crops to score on; 0: all.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_list(
    "networks", ["resnet18:64", "resnet18:32", "mobile:64"], "New networks, ENCODER:WIDTH.", flag_values=FLAGS
)
flags.DEFINE_integer("image_size", 128, "Crop size of new networks, px.", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 15, "Rounds.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("repeats", 10, "Images of a round, one by one.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("seconds", 0.25, "Seconds of a round's throughput.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)

FORMATS = ("savedmodel", "litert", "litert_int8")
MEDIAPIPE = ("hand_landmark_full", "hand_landmark_lite")
GET_MEDIAPIPE = "pip download --no-deps mediapipe==0.10.9"
BATCH = 32


# --- models ---------------------------------------------------------------------------------------------------------


def new_networks(folder):
    """{name: {format: path}}: freshly initialised networks, exported below `folder`."""
    from hand_tf import export
    from hand_tf.nets import models

    exported = {}
    for network in FLAGS.networks:
        backbone, _, width = network.partition(":")
        if not width.isdecimal():
            raise ValueError(f"--networks={network}: expected ENCODER:WIDTH, such as resnet18:64")
        encoder = models.encoder(FLAGS.image_size, backbone=backbone, width=int(width))
        model = models.pose_estimator(encoder, models.pose_head())
        paths = {name: folder / network / name for name in FORMATS}
        noise = np.random.default_rng(0).integers(0, 256, (2, 8, FLAGS.image_size, FLAGS.image_size, 3), np.uint8)
        content = export.facts(model, {}, 1.5)
        (folder / network).mkdir()
        export.write(paths["savedmodel"], model, content)
        export.write_litert(paths["litert"], model, content)
        export.write_litert(paths["litert_int8"], model, content, (*noise, "noise"))
        exported[network] = paths
    return exported


def exported_runs(folder):
    """{name: {format: path}}: the runs of --runs, exported below `folder` by the command."""
    from hand_tf import export

    exported = {}
    for run in FLAGS.runs:
        name = pathlib.Path(run).name
        if name in exported or " " in name:
            raise ValueError(f"--runs={run}: folder names must differ and hold no blanks")
        exported[name] = {kind: folder / name / kind for kind in FORMATS}
        for kind, path in exported[name].items():
            command_line.reset(export.FLAGS)
            arguments = [f"--run={run}", f"--output={path}", f"--format={kind}", f"--data_dir={FLAGS.data_dir}"]
            if command_line.old_run(export.main, export.FLAGS, ["export", *arguments]):
                raise ValueError(f"{run}: cannot be exported as {kind}")
    return exported


def mediapipe_models(folder):
    """{name: path} of MediaPipe's models that are found in --mediapipe."""
    if not FLAGS.mediapipe:
        print(f"MediaPipe is left out; {GET_MEDIAPIPE} and pass the file as --mediapipe")
        return {}
    source = pathlib.Path(FLAGS.mediapipe)
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            wanted = [name for name in wheel.namelist() if pathlib.Path(name).stem in MEDIAPIPE]
            wheel.extractall(folder, wanted)
        source = folder
    found = {path.stem: path for path in source.rglob("*.tflite") if path.stem in MEDIAPIPE}
    if len(found) < len(MEDIAPIPE):
        raise ValueError(f"--mediapipe={FLAGS.mediapipe}: expected {' and '.join(MEDIAPIPE)}, found {sorted(found)}")
    return found


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
    """A function that runs a batch through a SavedModel on so many threads."""
    import tensorflow as tf

    from hand_tf import predict

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    size = predict.read_facts(path)["image_size"]
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8))
    return lambda: signature(image=images)["pose"].numpy()


def _rate(calls, images, seconds):
    """Images per second of `calls`, each in a thread of its own; one call is so many `images`."""
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


def serve(connection, path, one_thread):
    """Answers numbers of repeats with latencies (ms), or numbers of seconds with images per second, until None."""
    threads, batch = (1, 1) if one_thread else (os.cpu_count(), BATCH)
    if (path / "saved_model.pb").is_file():
        calls = [_saved_model_call(path, threads, batch)]
    else:
        calls, batch = _litert_calls(path / litert.FILE if path.is_dir() else path, threads), 1
    for call in calls:
        _milliseconds(call, 5)
    connection.send(None)
    while (asked := connection.recv()) is not None:
        connection.send(_milliseconds(calls[0], asked) if one_thread else _rate(calls, batch, asked))


@contextlib.contextmanager
def servers(paths, one_thread):
    """{name: function that asks its process} for {name: path}."""
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


def take_turns(paths):
    """Latencies {name: [round] of [repeat] ms} and throughputs {name: [round] images per second}."""
    latencies, rates = {name: [] for name in paths}, {name: [] for name in paths}
    with servers(paths, one_thread=True) as ask:
        for _ in range(FLAGS.rounds):
            for name in paths:
                latencies[name].append(ask[name](FLAGS.repeats))
    with servers(paths, one_thread=False) as ask:
        for _ in range(FLAGS.rounds):
            for name in paths:
                rates[name].append(ask[name](FLAGS.seconds))
    return latencies, rates


def score(paths):
    """N-MPJPE in mm, {format: value}, of the formats of one run on the test crops."""
    from hand_tf import evaluate, predict
    from hand_tf.data import labelled_crops, scenarios

    data = records_folder.load_manifest(FLAGS.data_dir)
    index = records_folder.read_index(FLAGS.data_dir)
    chosen = scenarios.choose_labels(f"{FLAGS.subjects}:all", index, data.subjects)
    chosen = chosen[: FLAGS.max_crops] if FLAGS.max_crops else chosen
    batches = labelled_crops.evaluation(FLAGS.data_dir, data, chosen, index, batch_size=BATCH).as_numpy_iterator()
    estimators = {kind: predict.load(path, predict.read_facts(path)) for kind, path in paths.items()}
    found, truth = {kind: [] for kind in paths}, []
    for batch in batches:
        truth.append(batch)
        for kind, estimate in estimators.items():
            found[kind].append(estimate(batch["source"]))
    pose, weight, subject = (np.concatenate([b[n] for b in truth]) for n in ("pose", "pose_weight", "subject"))
    numbers = {k: evaluate.measure(pose, np.concatenate(p), weight, subject.astype(str)) for k, p in found.items()}
    return {kind: round(number["n_mpjpe"], 2) for kind, number in numbers.items()}


def ratio(latencies, name, other):
    """The median over rounds of the ratio of the rounds' median latencies."""
    pairs = zip(latencies[name], latencies[other], strict=True)
    return round(statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs), 3)


def tabulate(networks, latencies, rates, scores):
    """Rows for the table and the file, one a model."""
    rows = []
    for name in latencies:
        network, _, kind = name.partition(" ")
        every = np.concatenate(latencies[name])
        row = {"network": network, "format": kind or "litert", "ms": round(float(np.median(every)), 2)}
        row["ms_p90"] = round(float(np.quantile(every, 0.9)), 2)
        row["images_per_second"] = round(statistics.median(rates[name]), 1)
        row |= {f"/ {peer}": ratio(latencies, name, peer) for peer in MEDIAPIPE if peer in latencies}
        if network in networks:
            row["/ litert"] = ratio(latencies, name, f"{network} litert")
            row["n_mpjpe"] = scores.get(network, {}).get(kind)
        rows.append(row)
    return rows


def _print(rows):
    names = ("network", "format", "ms", "ms_p90", "images_per_second", *(f"/ {peer}" for peer in MEDIAPIPE), "n_mpjpe")
    heads = ("network", "format", "ms", "p90", "images/s", "/ full", "/ lite", "N-MPJPE")
    for values in (heads, *([row.get(name) for name in names] for row in rows)):
        shown = ["" if value is None else str(value) for value in values]
        print(f"{shown[0]:<36}{shown[1]:<13}" + "".join(f"{value:>10}" for value in shown[2:]))


def main(_):
    """Prints the table and the headline."""
    if FLAGS.runs and not FLAGS.data_dir:
        raise ValueError("--runs needs --data_dir: integers are calibrated on crops that the runs learnt from")
    from hand_tf import predict

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        peers = mediapipe_models(folder)
        networks = exported_runs(folder) if FLAGS.runs else new_networks(folder)
        scores = {name: score(paths) for name, paths in networks.items()} if FLAGS.runs else {}
        ours = {f"{name} {kind}": path for name, paths in networks.items() for kind, path in paths.items()}
        size = predict.read_facts(next(iter(ours.values())))["image_size"]
        latencies, rates = take_turns(ours | peers)
    rows = tabulate(networks, latencies, rates, scores)
    _print(rows)
    keys = ("/ litert", *(f"/ {peer}" for peer in MEDIAPIPE), "n_mpjpe")
    headline = {"image_size": size, "ratios_of_latency": {}}
    for row in rows:
        kept = {key: row[key] for key in keys if row.get(key) is not None}
        headline["ratios_of_latency"][f"{row['network']} {row['format']}"] = kept
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
