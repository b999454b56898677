"""How near the input pipeline comes to the time that its JPEGs take to decode, and whether its memory stays constant.

    python -m benchmarks.input_pipeline --data_dir=RECORDS --output=docs/input_pipeline.jsonl

From records to ready uint8 batches, in triplets per second on all cores, without augmentation and with that of
`flags/pretrain_aug.flags`. The floor is the time that the fastest decoder at hand needs, on the same cores, for exactly
the JPEGs of those triplets: source, target, reference and background. Pipeline and floor take turns; `floor_ratio` is
the median over the rounds of floor over pipeline. Both ratios by processor time stand beside it: they hold on a busy
machine too. Of a triplet whose source is its target (`same_view_share`) the pipeline decodes three pictures, the floor
four; `decoded` is the share of the floor's pictures that the pipeline decodes.

Memory is the peak of a fresh process that reads all triplets of a pass over the data, once and many times as large
(shards linked under new names). It grows until as many groups are open as the pipeline reads side by side.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import results
from hand_tf.core import command_line, records_folder
from hand_tf.data import triplets
from hand_tf.training import settings

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "Folder of records.", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Triplets a batch.", flag_values=FLAGS)
flags.DEFINE_integer("batches", 40, "Batches timed in a round.", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 7, "Rounds.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list("copies", ["1", "20", "100"], "Sizes of data whose memory is compared.", flag_values=FLAGS)
flags.DEFINE_bool("memory_only", False, "Print only the peak memory of this process, MB.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON-lines file to append to.", flag_values=FLAGS)
flags.mark_flags_as_required(["data_dir"], flag_values=FLAGS)

WARM_UP = 4  # batches, which fill the shuffle buffers
AT_A_TIME = 512  # JPEGs in a call of TensorFlow's decoder


def augmentation():
    """The augmentation of flags/pretrain_aug.flags as arguments of `triplets.unlabelled`."""
    values = settings.FLAGS
    with contextlib.chdir(pathlib.Path(__file__).parents[1]):  # flag files name each other from there
        values(["train", "--flagfile=flags/pretrain_aug.flags", "--data_dir=-", "--workdir=-"])
    return {
        "in_plane_degrees": values.in_plane_degrees,
        "colour_strength": values.colour_strength,
        "centre_jitter": values.centre_jitter,
        "scale_jitter": tuple(float(value) for value in values.scale_jitter),
    }


def batches(records, data, options, steps=None):
    """The pipeline as training has it, in epochs of `steps`."""
    steps = steps or WARM_UP + FLAGS.batches
    return triplets.unlabelled(
        records, data, data.subjects, batch_size=FLAGS.batch_size, steps=steps, seed=0, **options
    )


def encoded(records, data):
    """The same triplets before they are decoded, in batches."""
    count = (WARM_UP + FLAGS.batches) * FLAGS.batch_size
    return triplets.undecoded(records, data, data.subjects, count=count, seed=0).batch(FLAGS.batch_size)


def jpegs(records, data):
    """The JPEGs of the timed triplets, and the share of them that the pipeline decodes."""
    timed = list(encoded(records, data).skip(WARM_UP).take(FLAGS.batches).as_numpy_iterator())
    twice = np.mean([batch["source"] == batch["target"] for batch in timed])
    return [jpeg for batch in timed for name in triplets.IMAGES for jpeg in batch[name]], 1 - twice / 4


# --- the floor ------------------------------------------------------------------------------------------------------


def _on_all_cores(decode, images):
    """A function that decodes `images` one by one, a thread a core."""
    cores = os.cpu_count()
    threads = concurrent.futures.ThreadPoolExecutor(cores)

    def part(first):
        for image in images[first::cores]:
            decode(image)

    return lambda: list(threads.map(part, range(cores)))


def _tensorflow(images, method):
    """A function that decodes `images` in graphs of nothing but decoders, which TensorFlow spreads over all cores."""
    images = images[: len(images) - len(images) % AT_A_TIME]
    parts = [tf.constant(images[n : n + AT_A_TIME]) for n in range(0, len(images), AT_A_TIME)]

    @tf.function
    def decode(encoded):
        return [tf.io.decode_jpeg(each, channels=3, dct_method=method) for each in tf.unstack(encoded, AT_A_TIME)]

    def decode_all():
        for part in parts:
            decode(part)

    return decode_all


def decoders(images):
    """{name: (function that decodes `images` on all cores, how many it decodes)}."""
    cv2.setNumThreads(1)
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    whole = len(images) - len(images) % AT_A_TIME
    found = {
        "tf INTEGER_FAST": (_tensorflow(images, "INTEGER_FAST"), whole),
        "tf INTEGER_ACCURATE": (_tensorflow(images, "INTEGER_ACCURATE"), whole),
        "cv2": (_on_all_cores(lambda array: cv2.imdecode(array, cv2.IMREAD_COLOR_RGB), arrays), len(images)),
    }
    try:
        import simplejpeg
    except ImportError:
        print("simplejpeg is not here, its part is skipped (pip install simplejpeg into an environment of your own)")
    else:
        found["simplejpeg"] = (_on_all_cores(simplejpeg.decode_jpeg, images), len(images))
    return found


# --- time -----------------------------------------------------------------------------------------------------------


def _clocks():
    return np.array([time.perf_counter(), time.process_time()])


def time_stream(dataset):
    """Seconds a triplet (wall, processor) of a fresh iterator over `dataset`, warmed up."""
    iterator = iter(dataset)
    for _ in range(WARM_UP):
        next(iterator)
    start = _clocks()
    for _ in range(FLAGS.batches):
        next(iterator)
    return (_clocks() - start) / (FLAGS.batches * FLAGS.batch_size)


def time_decoder(decode, count):
    """Seconds (wall, processor) for the four JPEGs of a triplet."""
    start = _clocks()
    decode()
    return (_clocks() - start) / count * len(triplets.IMAGES)


def measure(records, data):
    """Seconds a triplet [rounds, 2] (wall, processor) by name; the decoders' names; the share decoded."""
    images, decoded = jpegs(records, data)
    floor = decoders(images)
    timed = {
        "pipeline": lambda: time_stream(batches(records, data, {})),
        "pipeline, augmented": lambda: time_stream(batches(records, data, augmentation())),
        "its encoded triplets": lambda: time_stream(encoded(records, data)),
        **{name: lambda part=part: time_decoder(*part) for name, part in floor.items()},
    }
    for function in timed.values():
        function()
    rounds = [{name: function() for name, function in timed.items()} for _ in range(FLAGS.rounds)]
    return {name: np.array([each[name] for each in rounds]) for name in timed}, list(floor), decoded


# --- memory ---------------------------------------------------------------------------------------------------------


def repeated(records, data, copies, folder):
    """Makes `folder` a folder of records that holds those of `records` `copies` times, as links."""
    groups, rows = [], []
    index = records_folder.read_index(records)
    for n in range(copies):
        rows += [row | {"sequence": f"{row['sequence']}_{n}", "shard": f"{n}.{row['shard']}"} for row in index]
        for group in data.groups:
            shards = tuple(dataclasses.replace(shard, file=f"{n}.{shard.file}") for shard in group.shards)
            groups.append(dataclasses.replace(group, sequence=f"{group.sequence}_{n}", shards=shards))
            for shard, source in zip(shards, group.shards, strict=True):
                os.symlink(pathlib.Path(records).resolve() / source.file, pathlib.Path(folder) / shard.file)
    records_folder.write_manifest(folder, dataclasses.replace(data, groups=tuple(groups)), rows)


def memory(records, data, copies):
    """Peak memory (MB) of a fresh process that reads `copies` times the data."""
    with tempfile.TemporaryDirectory() as folder:
        repeated(records, data, copies, folder)
        command_line = [sys.executable, "-m", "benchmarks.input_pipeline", f"--data_dir={folder}", "--memory_only"]
        command_line += [f"--batch_size={FLAGS.batch_size}"]
        done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the process that measures memory ended with: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _peak_memory(records, data):
    views = sum(group.num_crops for group in data.groups) // 2  # two records give as many triplets as one has views
    steps = max(views // FLAGS.batch_size, 8 * FLAGS.batches)
    for _ in batches(records, data, {}, steps).take(steps):
        pass
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def main(_):
    """Prints the table and the headline."""
    data = records_folder.load_manifest(FLAGS.data_dir)
    if FLAGS.memory_only:
        print(json.dumps(_peak_memory(FLAGS.data_dir, data)))
        return
    times, floor, decoded = measure(FLAGS.data_dir, data)
    size = sum(shard.bytes for group in data.groups for shard in group.shards)
    used = {int(n): memory(FLAGS.data_dir, data, int(n)) for n in FLAGS.copies}
    fastest = min(floor, key=lambda name: statistics.median(times[name][:, 0]))
    print(f"{'':<24}{'triplets/s':>12}{'us':>8}{'us of processor':>18}{'floor ratio':>13}{'by processor':>14}")
    rows = []
    for name, seconds in times.items():
        wall, processor = np.median(seconds, 0)
        ratios = np.median(times[fastest] / seconds, 0)
        rows.append({"name": name, "triplets_per_second": round(1 / wall, 1), "us": round(1e6 * wall, 1)})
        rows[-1] |= {"us_processor": round(1e6 * processor, 1), "floor_ratio": round(ratios[0], 3)}
        rows[-1] |= {"floor_ratio_processor": round(ratios[1], 3)}
        print(f"{name:<24}{1 / wall:>12.0f}{1e6 * wall:>8.0f}{1e6 * processor:>18.0f}", end="")
        print(f"{ratios[0]:>13.3f}{ratios[1]:>14.3f}")
    for copies, peak in used.items():
        print(f"memory over {copies:>3} times the data ({copies * size / 1e6:,.0f} MB): {peak} MB")
    plain, augmented = rows[0], rows[1]
    headline = {
        "floor_ratio": plain["floor_ratio"],
        "floor_ratio_processor": plain["floor_ratio_processor"],
        "floor_ratio_augmented": augmented["floor_ratio"],
        "triplets_per_second": plain["triplets_per_second"],
        "triplets_per_second_augmented": augmented["triplets_per_second"],
        "floor": fastest,
        "decoded": round(float(decoded), 3),
        "crop_size": data.crop_size,
        "views": max(len(cameras) for cameras in data.cameras.values()),
        "memory_mb": used,
    }
    results.publish(headline, rows, FLAGS.output)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
