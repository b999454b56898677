"""Cuts records out of camera dumps.

    hand-tf build --input=DUMP --output=RECORDS

--input is a sequence folder in the layout of CMU Panoptic Studio, or a folder of such folders; give it several times
for more. There is one record per hand and instant, with all its views.

Each camera is read once; its crops wait in RECORDS/work until all cameras have been read. A build that was stopped
continues when started again with the same flags. The last lines say what was kept, what was left out and why; the
manifest holds the same report.
"""

import dataclasses
import json
import pathlib

from hand_tf.core import command_line
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dump.sequences import Selection
from tfrecords_tools.records import from_dump
from tfrecords_tools.records.settings import RecordsSettings

_FOLDERS, _SELECTION, _RECORDS, _RUN = "Folders", "What to take from the dump", "Records", "Run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """The flags of the command. The manifest keeps them in this order."""

    input: tuple[str, ...] = setting(
        "Sequence folder, or folder of sequence folders. May be given several times.", section=_FOLDERS, repeated=True
    )
    output: str = setting("Records folder to write.", section=_FOLDERS)
    crop_size: int = setting("Side of a crop, px.", RecordsSettings.crop_size, section=_RECORDS, low=16)
    margin: float = setting(
        "Side of a crop divided by the diameter of the hand.", RecordsSettings.margin, section=_RECORDS, low=1.05
    )
    hands: str = setting(
        "Which hands to take; left ones are stored mirrored.",
        Selection.hands,
        section=_SELECTION,
        choices=("both", "left", "right"),
    )
    fps: float = setting(
        "Frames per second of image folders. Videos state their own.", Selection.fps, section=_SELECTION, low=0.1
    )
    min_score: float = setting("Accept joints from this averageScore on.", Selection.min_score, section=_SELECTION)
    max_error: float = setting(
        "Accept joints up to this averageReproError, px.", Selection.max_error, section=_SELECTION
    )
    min_views: int = setting(
        "Leave out instants that fewer cameras see.", RecordsSettings.min_views, section=_RECORDS, low=2
    )
    frame_stride: int = setting(
        "Take only frames whose number is a multiple of this.", Selection.frame_stride, section=_SELECTION, low=1
    )
    jpeg_quality: int = setting(
        "JPEG quality of crops and background crops.", RecordsSettings.jpeg_quality, section=_RECORDS, low=1, high=100
    )
    records_per_shard: int = setting(
        "Largest number of records in one shard.", RecordsSettings.records_per_shard, section=_RECORDS, low=1
    )
    workers: int = setting(
        "Number of processes that read cameras; 0 for one per core. The records do not depend on it.",
        0,
        section=_RUN,
        low=0,
    )
    seed: int = setting("Random seed of the order of the records.", RecordsSettings.seed, section=_RECORDS, low=0)
    cameras: tuple[str, ...] = setting(
        "Take only these cameras, such as 00_03,00_07.", Selection.cameras, section=_SELECTION
    )

    crops_from: str = setting(
        "Where centre and size of the crops come from: the joints (boxes for hands without joints), or boxes.csv alone,"
        " as when a detector has found the hands. Joints then only serve as labels, and hands without boxes are left"
        " out.",
        Selection.crops_from,
        section=_SELECTION,
        choices=("joints", "boxes"),
    )

    def __post_init__(self) -> None:
        check(self)


def build(settings: BuildSettings) -> dict:
    """Builds the records, unless they are complete; returns the report. Errors as in `from_dump.write`."""
    output = pathlib.Path(settings.output)
    selection = Selection(**_fields(settings, Selection))
    records_settings = RecordsSettings(**_fields(settings, RecordsSettings) | {"output": output})
    flags = dataclasses.asdict(settings) | {"output": str(output)}
    flags = json.loads(json.dumps(flags))  # tuples become lists, as in the manifest
    return from_dump.write(settings.input, selection, records_settings, flags, settings.workers)


def _fields(settings, settings_class):
    """The values of `settings` for the fields of `settings_class`, which have the same names."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings_class)}


def _print_backgrounds(backgrounds):
    """One line on backgrounds that may show a hand; `backgrounds` is what the report says of each camera's."""
    poor = {name: scene["plain_median_share"] for name, scene in backgrounds.items() if scene["plain_median_share"] > 0}
    if not poor:
        return
    worst = max(poor, key=poor.get)
    print(
        f"Backgrounds: {len(poor)} of {len(backgrounds)} use the plain median somewhere "
        f"(worst: {worst}, {poor[worst]:.1%} of its pixels): a hand that rests there may show"
    )


def main(settings: BuildSettings) -> None:
    """Builds the records and prints the report."""
    report = build(settings)
    from tfrecords_tools.records import shards  # imports TensorFlow

    _print_backgrounds(report["backgrounds"])
    shards.print_report(report, settings.output)


if __name__ == "__main__":
    command_line.execute(main)
