"""Shows what a records folder holds, and checks that it is whole.

    hand-tf inspect RECORDS [--output=sheet.png] [--num_instants=6]

Prints the manifest as a table, compares the checksum of every file, and draws a contact sheet: one row per instant, one
column per view, each with its joints (`K' R' (X - C)`) above its background. The exit status is 1 if a checksum
differs.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from hand_tf.core import command_line, crops, drawing, records_folder
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import SettingError, check, setting

_CELL = 192  # px: smaller crops are enlarged to about this size


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """The flags of the command."""

    records: tuple[str, ...] = setting("The records folder.", positional="RECORDS")
    output: str | None = setting("Contact sheet to write, such as sheet.png.", None)
    num_instants: int = setting("Number of rows of the sheet.", 6, low=1)
    num_views: int = setting("Largest number of columns of the sheet.", 8, low=1)
    seed: int = setting("Random seed of the choice of instants.", 0, low=0)

    def __post_init__(self) -> None:
        check(self)
        if len(self.records) != 1:
            raise SettingError(f"one records folder expected, got {len(self.records)}: hand-tf inspect RECORDS")


def table(manifest: records_folder.Manifest) -> Iterator[str]:
    """The manifest as lines of text."""
    groups = manifest.groups
    yield f"{'sequence':<24}{'subject':<14}{'side':<7}{'records':>9}{'labelled':>9}{'views':>9}{'shards':>7}{'MB':>9}"
    for group in groups:
        size = sum(shard.bytes for shard in group.shards) / 1e6
        counts = f"{group.num_records:>9}{group.num_labelled:>9}{group.num_crops:>9}{len(group.shards):>7}{size:>9.1f}"
        yield f"{group.sequence:<24}{group.subject:<14}{group.side:<7}{counts}"
    shards = [shard for group in groups for shard in group.shards]
    yield (
        f"{sum(group.num_records for group in groups)} records, {sum(group.num_crops for group in groups)} views "
        f"of {manifest.crop_size} px at {manifest.fps:g} frames per second, "
        f"{len(shards)} shards, {sum(shard.bytes for shard in shards) / 1e6:.1f} MB"
    )
    for sequence, cameras in manifest.cameras.items():
        yield f"cameras of {sequence}: {' '.join(cameras)}"
    for reason, skip in manifest.report["skipped"].items():
        yield f"left out: {skip['count']} {reason} (first: {skip['first']})"


def sample_rows(index: list[dict], count: int, seed: int) -> list[dict]:
    """`count` rows of the index: from all groups as evenly as possible, random within a group."""
    taken, ranked = {}, []
    for position in np.random.default_rng(seed).permutation(len(index)):
        group = tuple(index[position][field] for field in ("sequence", "subject", "side"))
        taken[group] = taken.get(group, 0) + 1
        ranked.append((taken[group], group, position))
    return [index[position] for _, _, position in sorted(ranked)[:count]]


def read_records(folder: pathlib.Path, rows: list[dict]) -> list[dict]:
    """The records of the index `rows` as dicts of NumPy arrays with decoded images, in the order of `rows`."""
    import tensorflow as tf

    from hand_tf.core import schema

    keys, found = {row["key"] for row in rows}, {}
    for shard in sorted({row["shard"] for row in rows}):
        for serialized in tf.data.TFRecordDataset(str(pathlib.Path(folder) / shard)):
            record = schema.parse(serialized)
            key = record["key"].numpy().decode()
            if key in keys:
                found[key] = {name: value.numpy() for name, value in record.items()}
                for name in ("crops", "backgrounds"):
                    found[key][name] = [tf.io.decode_image(encoded).numpy() for encoded in found[key][name]]
    return [found[row["key"]] for row in rows]


def _cell(record, view):
    """One view of a record: its crop with the joints drawn in, above its background."""
    crop, background = record["crops"][view], record["backgrounds"][view]
    factor = max(1, round(_CELL / len(crop)))
    pixels = crops.project(
        record["joints"], *(record[name][view] for name in ("rotations", "intrinsics", "camera_centres"))
    )
    # Pixel centres lie at integers in the crop and in the enlarged crop.
    drawn = drawing.draw_joints(drawing.enlarge(crop, factor), (pixels + 0.5) * factor - 0.5, record["joint_validity"])
    mirrored = " mirrored" if record["mirrored"] else ""
    hand = f"{record['subject'].decode()} {record['side'].decode()}{mirrored}"
    place = f"{record['cameras'][view].decode()} frame {record['frame']}"
    picture = drawing.caption(drawing.caption(drawn, hand), place)
    return np.vstack([picture, drawing.enlarge(background, factor)])


def sheet(records: list[dict], num_views: int) -> np.ndarray:
    """The contact sheet [H, W, 3] of `records`, with at most `num_views` columns."""
    rows = []
    for record in records:
        rows.append([_cell(record, view) for view in range(min(num_views, len(record["crops"])))])
    return drawing.grid(rows)


def main(settings: InspectSettings) -> None:
    """Prints the table, compares the checksums, and draws the contact sheet if one is asked for."""
    folder = pathlib.Path(settings.records[0])
    manifest = records_folder.load_manifest(folder)
    print("\n".join(table(manifest)))
    damaged = records_folder.damaged(folder, manifest)
    if damaged:
        raise InputError(f"{folder}: checksum differs from the manifest's: {', '.join(damaged)}")
    print("All checksums agree.")
    if settings.output:
        rows = sample_rows(records_folder.read_index(folder), settings.num_instants, settings.seed)
        drawing.save(settings.output, sheet(read_records(folder, rows), settings.num_views))
        print(f"{settings.output}: written; thumb red, index yellow, middle green, ring blue, little finger violet")


if __name__ == "__main__":
    command_line.execute(main)
