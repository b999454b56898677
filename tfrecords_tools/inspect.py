"""Shows what a records folder holds, and checks that it is whole.

    python -m tfrecords_tools.inspect RECORDS [--output=sheet.png] [--num_instants=6]

Prints the manifest as a table, compares the checksum of every file, and draws a contact sheet: a row an instant, a
column a view, each with its joints (`K' R' (X - C)`) above its background. The exit status is 1 if a checksum differs.
"""

import pathlib
import sys

import numpy as np
from absl import flags

from hand_tf.core import command_line, crops, drawing, records_folder

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", None, "contact sheet to write, .png", flag_values=FLAGS)
flags.DEFINE_integer("num_instants", 6, "rows of the sheet", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("num_views", 8, "columns of the sheet, at most", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the choice of instants", lower_bound=0, flag_values=FLAGS)

_CELL = 192  # px, about: smaller crops are enlarged so that a skeleton can be told apart


def table(content):
    """The manifest as lines of text."""
    shards = [shard for group in content.groups for shard in group.shards]
    yield f"{'sequence':<24}{'subject':<14}{'side':<7}{'records':>9}{'labelled':>9}{'views':>9}{'shards':>7}{'MB':>9}"
    for group in content.groups:
        size = sum(shard.bytes for shard in group.shards) / 1e6
        counts = f"{group.num_records:>9}{group.num_labelled:>9}{group.num_crops:>9}{len(group.shards):>7}{size:>9.1f}"
        yield f"{group.sequence:<24}{group.subject:<14}{group.side:<7}{counts}"
    records, views = (sum(getattr(group, name) for group in content.groups) for name in ("records", "crops"))
    yield (
        f"{records} records, {views} views of {content.crop_size} px at {content.fps:g} frames per second, "
        f"{len(shards)} shards, {sum(shard.bytes for shard in shards) / 1e6:.1f} MB"
    )
    for sequence, cameras in content.cameras.items():
        yield f"cameras of {sequence}: {' '.join(cameras)}"
    for reason, skip in content.report["skipped"].items():
        yield f"left out: {skip['count']} {reason} (first: {skip['first']})"


def choose(index, count, seed):
    """`count` rows of the index: as even over groups as can be, random within a group."""
    order, turn = np.random.default_rng(seed).permutation(len(index)), {}
    ranked = []
    for position in order:
        group = tuple(index[position][field] for field in ("sequence", "subject", "side"))
        turn[group] = turn.get(group, 0) + 1
        ranked.append((turn[group], group, position))
    return [index[position] for _, _, position in sorted(ranked)[:count]]


def read_records(folder, rows):
    """The records of the index `rows` as dicts of NumPy arrays, in the order of `rows`."""
    import tensorflow as tf

    from hand_tf.core import schema

    keys, found = {row["key"] for row in rows}, {}
    for shard in sorted({row["shard"] for row in rows}):
        for serialized in tf.data.TFRecordDataset(str(pathlib.Path(folder) / shard)):
            record = schema.parse(serialized)
            key = record["key"].numpy().decode()
            if key in keys:
                found[key] = {name: value.numpy() for name, value in record.items()}
                found[key]["crops"] = [tf.io.decode_image(data).numpy() for data in found[key]["crops"]]
                found[key]["backgrounds"] = [tf.io.decode_image(data).numpy() for data in found[key]["backgrounds"]]
    return [found[row["key"]] for row in rows]


def _cell(record, view):
    crop, background = record["crops"][view], record["backgrounds"][view]
    factor = max(1, round(_CELL / len(crop)))
    of_view = (record[name][view] for name in ("rotations", "intrinsics", "camera_centres"))
    pixels = (crops.project(record["joints"], *of_view) + 0.5) * factor - 0.5
    drawn = drawing.draw_joints(drawing.enlarge(crop, factor), pixels, record["joint_validity"])
    text = f"{record['cameras'][view].decode()} frame {record['frame']}"
    subject = f"{record['subject'].decode()} {record['side'].decode()}{' mirrored' if record['mirrored'] else ''}"
    picture = drawing.caption(drawing.caption(drawn, subject), text)
    return np.vstack([picture, drawing.enlarge(background, factor)])


def sheet(records, num_views):
    """The contact sheet [H, W, 3] of `records`, with at most `num_views` columns."""
    return drawing.grid([[_cell(record, v) for v in range(min(num_views, len(record["crops"])))] for record in records])


def main(arguments):
    """The command."""
    if len(arguments) != 1:
        raise ValueError(
            f"one records folder expected, got {len(arguments)}: python -m tfrecords_tools.inspect RECORDS"
        )

    folder = pathlib.Path(arguments[0])
    content = records_folder.load_manifest(folder)
    print("\n".join(table(content)))
    damaged = records_folder.damaged(folder, content)
    if damaged:
        raise ValueError(f"{folder}: checksum differs from the manifest's: {', '.join(damaged)}")
    print("All checksums agree.")
    if FLAGS.output:
        records = read_records(folder, choose(records_folder.read_index(folder), FLAGS.num_instants, FLAGS.seed))
        drawing.save(FLAGS.output, sheet(records, FLAGS.num_views))
        print(f"{FLAGS.output}: written; thumb red, index yellow, middle green, ring blue, little finger violet")


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
