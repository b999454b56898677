"""A synthetic multi-view capture of hands: a dump in CMU Panoptic Studio's layout, or records at once.

    python -m tfrecords_tools.dome --output=data/dome --frames=400             a dump, for tfrecords_tools.build
    python -m tfrecords_tools.dome --records=data/records --frames=400         records, for hand_tf.train
    python -m tfrecords_tools.dome --dry_run --rig=panoptic31 --frames=4000    what it would take

--rig=ring8 is a ring of eight cameras, panoptic31 a dome with Panoptic's statistics, and --calibration=FILE any rig
whose calibration is at hand. A run that was stopped continues when started again with the same flags.
"""

import dataclasses
import os
import pathlib
import sys
import time

from absl import flags

from hand_tf.core import command_line
from tfrecords_tools.dome import capture, dump, estimate, records

FLAGS = flags.FlagValues()
_define = {"flag_values": FLAGS}
flags.DEFINE_string("output", None, "Folder that receives a dump: sequences and subjects.csv.", **_define)
flags.DEFINE_string("records", None, "Folder that receives records instead, without a dump in between.", **_define)
flags.DEFINE_bool("dry_run", False, "Only say how many, how large and how long.", **_define)
flags.DEFINE_integer("subjects", 11, "People: S0, S1, ...", lower_bound=1, **_define)
flags.DEFINE_integer("frames", 400, "Instants per subject.", lower_bound=1, **_define)
flags.DEFINE_float("fps", 29.97, "Instants per second of motion.", lower_bound=0.1, **_define)
flags.DEFINE_enum("hands", "right", ["right", "both"], "The right hand, or the left one too.", **_define)
flags.DEFINE_enum("rig", "ring8", ["ring8", "panoptic31"], "Which cameras.", **_define)
flags.DEFINE_string("calibration", "", "A calibration file in Panoptic's format: its cameras instead.", **_define)
flags.DEFINE_integer("num_cameras", 0, "As many of the rig's cameras; 0: all.", lower_bound=0, **_define)
flags.DEFINE_string("image_size", "256", "Size of the pictures, px: WIDTHxHEIGHT, or one number.", **_define)
flags.DEFINE_float(
    "reach", 0.0, "mm either way that a picture shows at the centre; 0: 245, both hands 370.", lower_bound=0, **_define
)
flags.DEFINE_bool("distractor", True, "The rest of the person: moves behind the hand, and in front of it.", **_define)
flags.DEFINE_integer("clutter", 8, "Things that stand in the room.", lower_bound=0, **_define)
flags.DEFINE_enum("format", "images", ["images", "videos"], "Of a dump: JPEG files, or one mp4 a camera.", **_define)
flags.DEFINE_bool("ground_truth", False, "With a dump of images: masks and empty scenes too, for tests.", **_define)
flags.DEFINE_integer(
    "jpeg_quality", None, "Of a dump's pictures (default: each camera's own) or of crops (95).", 1, 100, **_define
)
flags.DEFINE_integer("crop_size", 128, "Of records: side of a crop, px.", lower_bound=16, **_define)
flags.DEFINE_float("margin", 1.3, "Of records: side of a crop over twice the hand's radius.", 1.05, **_define)
flags.DEFINE_integer("min_views", 2, "Of records: leave out instants that fewer cameras see.", 2, **_define)
flags.DEFINE_integer("records_per_shard", 1000, "Of records: at most.", lower_bound=1, **_define)
flags.DEFINE_integer("seed", 0, "Decides people, motion, cameras, rooms and noise.", lower_bound=0, **_define)
flags.DEFINE_integer("workers", os.cpu_count(), "Processes; does not change the output.", lower_bound=1, **_define)


def _parse_size(text):
    """(width, height) from `256` or `1920x1080`. Raises ValueError otherwise."""
    parts = text.lower().split("x")
    if not all(part.isdecimal() for part in parts) or len(parts) > 2:
        raise ValueError(f"--image_size={text}: expected WIDTHxHEIGHT in px, such as 1920x1080, or one number")
    width, height = int(parts[0]), int(parts[-1])
    if min(width, height) < 32:
        raise ValueError(f"--image_size={text}: at least 32 px expected")
    return width, height


# Flags that say nothing in the other mode, and what goes with them.
_ONLY = (
    ("--output", ("format", "ground_truth"), lambda: not FLAGS.records),
    ("--records", ("crop_size", "margin", "min_views", "records_per_shard"), lambda: not FLAGS.output),
    ("--format=images", ("ground_truth", "jpeg_quality"), lambda: FLAGS.format == "images"),
    ("a rig of our own, not --calibration", ("rig", "reach"), lambda: not FLAGS.calibration),
)


def _check_flags():
    """Raises ValueError for a flag that would have no effect."""
    for mode, names, holds in _ONLY:
        for name in names:
            if FLAGS[name].present and not holds():
                raise ValueError(f"--{name} goes with {mode}")


def _sequences():
    width, height = _parse_size(FLAGS.image_size)
    names = {field.name for field in dataclasses.fields(capture.Sequence)} & set(FLAGS)
    return capture.plan(**{name: FLAGS[name].value for name in names}, width=width, height=height)


def _dump_options():
    return dump.Options(FLAGS.format, FLAGS.jpeg_quality or 0, FLAGS.ground_truth)


def _record_options():
    values = {
        field.name: FLAGS[field.name].value for field in dataclasses.fields(records.Options) if field.name in FLAGS
    }
    quality = FLAGS.jpeg_quality or records.Options.jpeg_quality
    return records.Options(**values | {"output": pathlib.Path(FLAGS.records or "."), "jpeg_quality": quality})


def _write_dump(sequences):
    start = time.monotonic()
    images = dump.write(FLAGS.output, sequences, _dump_options(), FLAGS.workers, progress=True)
    seconds = time.monotonic() - start
    size = sum(path.stat().st_size for path in pathlib.Path(FLAGS.output).rglob("*") if path.is_file())
    print(f"{images} images in {seconds:.1f} s ({images / seconds:.0f} images/s); {FLAGS.output}: {size / 1e6:.0f} MB")
    seed = f" --seed={FLAGS.seed}" if FLAGS.seed else ""
    print(f"next: python -m tfrecords_tools.build --input={FLAGS.output} --output=RECORDS --fps={FLAGS.fps:g}{seed}")


def _write_records(sequences):
    from tfrecords_tools.records import shards  # brings TensorFlow

    shards.print_report(records.write(sequences, _record_options(), FLAGS.workers), FLAGS.records)


def main(arguments):
    """The command."""
    if arguments:
        raise ValueError(f"unexpected argument {arguments[0]!r}: folders are given by --output or --records")
    if bool(FLAGS.output) + bool(FLAGS.records) != 1 and not FLAGS.dry_run:
        raise ValueError("one of --output=FOLDER (a dump) and --records=FOLDER is needed")
    _check_flags()
    sequences = _sequences()
    if FLAGS.dry_run:
        options = _record_options() if FLAGS.records else _dump_options()
        print(estimate.describe(sequences, options, FLAGS.workers))
    elif FLAGS.records:
        _write_records(sequences)
    else:
        _write_dump(sequences)


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
