"""How close the input pipeline comes to the time that its JPEGs take to decode, and whether its memory stays constant.

    python -m benchmarks.input_pipeline --data_dir=RECORDS --output=docs/input_pipeline.jsonl

Measures triplets per second from records to ready uint8 batches on all cores, without augmentation and with that of
the flagfile `pretrain_aug`. The floor is the time that the fastest available decoder needs on the same cores for
exactly the JPEGs of those triplets: source, target and background; the reference is the source of another triplet.
Pipeline and floor take turns.

    floor_ratio              the floor's time over the pipeline's, the median over the rounds
    floor_ratio_processor    the same in CPU time, which holds on a busy machine too
    decoded                  the share of the floor's pictures that the pipeline decodes: where the source of a triplet
                             is its target (`same_view_share`), it decodes two pictures and the floor three

Memory is the peak of a fresh process that reads all triplets of one pass over the data, as it is and repeated many
times (as links under new names). It grows until as many groups are open as the pipeline reads side by side.
"""

import concurrent.futures
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
from collections.abc import Callable

import cv2
import numpy as np
import tensorflow as tf

from benchmarks import measurements
from hand_tf.core import command_line, records_folder
from hand_tf.core.errors import InputError
from hand_tf.core.records_folder import Records
from hand_tf.core.setting_fields import SettingError, check, setting
from hand_tf.data import triplets
from hand_tf.training.settings import TrainingSettings

WARM_UP = 4  # batches, which fill the shuffle buffers
AT_A_TIME = 512  # JPEGs per call of TensorFlow's decoder
DRAWN = ("min_time_gap", "same_view_share")  # settings that say which triplets are drawn
WEIGHED = ("foreground_weight", "foreground_threshold", "centre_sigma", "equal_weights", "shuffle_rotation")
IMAGES = ("source", "target", "background")  # of a triplet whose reference is the source of another
NOT_AUGMENTED = {"in_plane_degrees": 0.0, "scale_jitter": (1.0, 1.0), "centre_jitter": 0.0, "colour_strength": 0.0}
NOT_AUGMENTED |= {"swap_background_share": 0.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputPipelineSettings:
    """The flags of this command."""

    data_dir: str = setting("Folder of records.")
    batch_size: int = setting("Triplets per batch, an even number.", 32, low=2)
    batches: int = setting("Batches timed per round.", 40, low=1)
    rounds: int = setting("Rounds in which pipeline and floor take turns.", 7, low=1)
    copies: tuple[str, ...] = setting("How often the data are repeated to compare memory.", ("1", "20", "100"))
    memory_only: bool = setting("Print only the peak memory of this process, MB.", False)
    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)
        if not all(count.isdecimal() and int(count) for count in self.copies):
            raise SettingError(f"--copies={','.join(self.copies)}: expected whole numbers above 0")


def training_options(*names: str) -> dict:
    """The settings `names` of the flagfile `pretrain_aug`, as arguments of `triplets`."""
    values = command_line.parse(TrainingSettings, ["--flagfile=pretrain_aug", "--data_dir=-", "--workdir=-"])
    return {name: getattr(values, name) for name in names}


def batches(
    records: Records, settings: InputPipelineSettings, steps: int | None = None, augmented: bool = False
) -> tf.data.Dataset:
    """The pipeline as in training, in epochs of `steps`; `augmented` as by the flagfile `pretrain_aug`."""
    return triplets.unlabelled(
        records,
        records.manifest.subjects,
        batch_size=settings.batch_size,
        steps=steps or WARM_UP + settings.batches,
        seed=0,
        partners=True,
        **training_options(*DRAWN, *WEIGHED),
        **(training_options(*NOT_AUGMENTED) if augmented else NOT_AUGMENTED),
    )


def encoded(records: Records, settings: InputPipelineSettings) -> tf.data.Dataset:
    """The same triplets before they are decoded, in batches."""
    count = (WARM_UP + settings.batches) * settings.batch_size
    drawn = {"partners": True, **training_options(*DRAWN)}
    return triplets.undecoded(records, records.manifest.subjects, count=count, seed=0, **drawn).batch(
        settings.batch_size
    )


def jpegs(records: Records, settings: InputPipelineSettings) -> tuple[list[bytes], float]:
    """The JPEGs of the timed triplets, and the share of them that the pipeline decodes."""
    timed = list(encoded(records, settings).skip(WARM_UP).take(settings.batches).as_numpy_iterator())
    twice = np.mean([batch["source"] == batch["target"] for batch in timed])
    return [jpeg for batch in timed for name in IMAGES for jpeg in batch[name]], 1 - twice / len(IMAGES)


# --- the floor ------------------------------------------------------------------------------------------------------


def _on_all_cores(decode, images):
    """A function that decodes `images` one by one, with one thread per core."""
    cores = os.cpu_count()
    threads = concurrent.futures.ThreadPoolExecutor(cores)

    def part(first):
        for image in images[first::cores]:
            decode(image)

    return lambda: list(threads.map(part, range(cores)))


def _tensorflow(images, method):
    """A function that decodes `images` in a graph of decoders alone, which TensorFlow spreads over all cores."""
    images = images[: len(images) - len(images) % AT_A_TIME]
    parts = [tf.constant(images[n : n + AT_A_TIME]) for n in range(0, len(images), AT_A_TIME)]

    @tf.function
    def decode(encoded):
        return [tf.io.decode_jpeg(each, channels=3, dct_method=method) for each in tf.unstack(encoded, AT_A_TIME)]

    def decode_all():
        for part in parts:
            decode(part)

    return decode_all


def decoders(images: list[bytes]) -> dict[str, tuple[Callable, int]]:
    """{name: (function that decodes `images` on all cores, how many of them it decodes)}."""
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
        print("simplejpeg is not installed, so it is left out (pip install simplejpeg)")
    else:
        found["simplejpeg"] = (_on_all_cores(simplejpeg.decode_jpeg, images), len(images))
    return found


# --- time -----------------------------------------------------------------------------------------------------------


def _clocks():
    return np.array([time.perf_counter(), time.process_time()])


def time_stream(dataset: tf.data.Dataset, settings: InputPipelineSettings) -> np.ndarray:
    """Seconds per triplet (wall, CPU) of a fresh iterator over `dataset`, warmed up."""
    iterator = iter(dataset)
    for _ in range(WARM_UP):
        next(iterator)
    start = _clocks()
    for _ in range(settings.batches):
        next(iterator)
    return (_clocks() - start) / (settings.batches * settings.batch_size)


def time_decoder(decode: Callable, count: int) -> np.ndarray:
    """Seconds (wall, CPU) for the JPEGs of a triplet, from decoding `count` JPEGs."""
    start = _clocks()
    decode()
    return (_clocks() - start) / count * len(IMAGES)


def measure(records: Records, settings: InputPipelineSettings) -> tuple[dict[str, np.ndarray], list[str], float]:
    """Seconds per triplet [rounds, 2] (wall, CPU) by name; the names of the decoders; the share decoded."""
    images, decoded = jpegs(records, settings)
    floor = decoders(images)
    timed = {
        "pipeline": lambda: time_stream(batches(records, settings), settings),
        "pipeline, augmented": lambda: time_stream(batches(records, settings, augmented=True), settings),
        "its encoded triplets": lambda: time_stream(encoded(records, settings), settings),
        **{name: lambda part=part: time_decoder(*part) for name, part in floor.items()},
    }
    for function in timed.values():
        function()
    rounds = [{name: function() for name, function in timed.items()} for _ in range(settings.rounds)]
    return {name: np.array([each[name] for each in rounds]) for name in timed}, list(floor), decoded


# --- memory ---------------------------------------------------------------------------------------------------------


def repeat(records: Records, copies: int, folder: str) -> None:
    """Makes `folder` a folder of records that holds those of `records` `copies` times, as links."""
    groups, rows = [], []
    for n in range(copies):
        rows += [row | {"sequence": f"{row['sequence']}_{n}", "shard": f"{n}.{row['shard']}"} for row in records.index]
        for group in records.manifest.groups:
            shards = tuple(dataclasses.replace(shard, file=f"{n}.{shard.file}") for shard in group.shards)
            groups.append(dataclasses.replace(group, sequence=f"{group.sequence}_{n}", shards=shards))
            for shard, source in zip(shards, group.shards, strict=True):
                os.symlink(records.folder.resolve() / source.file, pathlib.Path(folder) / shard.file)
    records_folder.write_manifest(folder, dataclasses.replace(records.manifest, groups=tuple(groups)), rows)


def memory(records: Records, copies: int, batch_size: int) -> int:
    """Peak memory (MB) of a fresh process that reads the data repeated `copies` times."""
    with tempfile.TemporaryDirectory() as folder:
        repeat(records, copies, folder)
        program = [sys.executable, "-m", "benchmarks.input_pipeline", f"--data_dir={folder}", "--memory_only"]
        program += [f"--batch_size={batch_size}"]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the process that measures memory ended with: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _peak_memory(records, settings):
    # Two records give as many triplets as one has views.
    num_triplets = sum(group.num_crops for group in records.manifest.groups) // 2
    steps = max(num_triplets // settings.batch_size, 8 * settings.batches)
    for _ in batches(records, settings, steps).take(steps):
        pass
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def tabulate(times: dict[str, np.ndarray], fastest: str) -> list[dict]:
    """Prints and returns one row per name; ratios are relative to the decoder `fastest`."""
    print(f"{'':<24}{'triplets/s':>12}{'us':>8}{'CPU us':>18}{'floor ratio':>13}{'by CPU time':>14}")
    rows = []
    for name, seconds in times.items():
        wall, processor = np.median(seconds, 0)
        ratios = np.median(times[fastest] / seconds, 0)
        rows.append({"name": name, "triplets_per_second": round(1 / wall, 1), "us": round(1e6 * wall, 1)})
        rows[-1] |= {"us_processor": round(1e6 * processor, 1), "floor_ratio": round(ratios[0], 3)}
        rows[-1] |= {"floor_ratio_processor": round(ratios[1], 3)}
        print(f"{name:<24}{1 / wall:>12.0f}{1e6 * wall:>8.0f}{1e6 * processor:>18.0f}", end="")
        print(f"{ratios[0]:>13.3f}{ratios[1]:>14.3f}")
    return rows


def main(settings: InputPipelineSettings) -> None:
    """Prints the table and the headline."""
    records = records_folder.open_records(settings.data_dir)
    manifest = records.manifest
    if settings.memory_only:
        print(json.dumps(_peak_memory(records, settings)))
        return
    times, floor, decoded = measure(records, settings)
    size = sum(shard.bytes for group in manifest.groups for shard in group.shards)
    used = {int(copies): memory(records, int(copies), settings.batch_size) for copies in settings.copies}
    fastest = min(floor, key=lambda name: statistics.median(times[name][:, 0]))
    rows = tabulate(times, fastest)
    for copies, peak in used.items():
        print(f"memory with {copies:>3} times the data ({copies * size / 1e6:,.0f} MB): {peak} MB")
    plain, augmented = rows[0], rows[1]
    headline = {
        "floor_ratio": plain["floor_ratio"],
        "floor_ratio_processor": plain["floor_ratio_processor"],
        "floor_ratio_augmented": augmented["floor_ratio"],
        "triplets_per_second": plain["triplets_per_second"],
        "triplets_per_second_augmented": augmented["triplets_per_second"],
        "floor": fastest,
        "decoded": round(float(decoded), 3),
        "crop_size": manifest.crop_size,
        "views": max(len(cameras) for cameras in manifest.cameras.values()),
        "memory_mb": used,
    }
    measurements.publish(headline, rows, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
