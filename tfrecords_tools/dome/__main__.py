"""Renders a synthetic multi-view capture of hands: a dump in the layout of CMU Panoptic Studio, or records directly.

    hand-tf dome --output=data/dome --frames=400             a dump, for hand-tf build
    hand-tf dome --records=data/records --frames=400         records, for hand-tf train
    hand-tf dome --dry_run --rig=panoptic31 --frames=4000    an estimate of size and time

The cameras are a ring of eight (--rig=ring8), a dome with the statistics of Panoptic's (--rig=panoptic31), or those of
any calibration file (--calibration=FILE). A stopped run continues when started again with the same flags.
"""

import dataclasses
import pathlib
import time

from hand_tf.core import command_line
from hand_tf.core.processors import usable_cores
from hand_tf.core.setting_fields import SettingError, check, setting
from tfrecords_tools.dome import capture, dump, estimate, records, variety
from tfrecords_tools.dome.capture import CaptureSequence
from tfrecords_tools.dome.dump import DumpSettings
from tfrecords_tools.dome.studio.rig import RIGS
from tfrecords_tools.dome.variety import Variety
from tfrecords_tools.records.settings import RecordsSettings

_WHAT, _PEOPLE, _CAMERAS = "What to write", "People and motion", "Cameras and room"
_VARIETY = "Beyond a studio"
_DUMP, _RECORDS, _RUN = "Dump (with --output)", "Records (with --records)", "Run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomeSettings:
    """The flags of the command.

    Those that have an effect in one mode only are None unless they are given, so that they can be refused in another
    mode. Their defaults are those of `CaptureSequence`, `DumpSettings` and `RecordsSettings`.
    """

    output: str = setting("Folder to write a dump to: sequences and subjects.csv.", "", section=_WHAT)
    records: str = setting("Folder to write records to directly, without a dump.", "", section=_WHAT)
    dry_run: bool = setting("Write nothing, only estimate number, size and time.", False, section=_WHAT)
    subjects: int = setting("Number of people: S0, S1, ...", 11, section=_PEOPLE, low=1)
    frames: int = setting("Instants per subject.", CaptureSequence.frames, section=_PEOPLE, low=1)
    fps: float = setting("Instants per second.", CaptureSequence.fps, section=_PEOPLE, low=0.1)
    hands: str = setting(
        "Only right hands, or both.", CaptureSequence.hands, section=_PEOPLE, choices=("right", "both")
    )
    distractor: bool = setting(
        "Show the rest of the person, who moves behind the hand and in front of it.",
        CaptureSequence.distractor,
        section=_PEOPLE,
    )
    rig: str | None = setting(
        f"Arrangement of the cameras (default: {CaptureSequence.rig}).", None, section=_CAMERAS, choices=RIGS
    )
    calibration: str = setting(
        "Calibration file in Panoptic's format whose cameras are used instead of a rig.", "", section=_CAMERAS
    )
    num_cameras: int = setting(
        "Use only this many of the cameras; 0 for all.", CaptureSequence.num_cameras, section=_CAMERAS, low=0
    )
    image_size: str = setting(
        "Size of the pictures, px: WIDTHxHEIGHT, or one number for both.",
        f"{CaptureSequence.width}x{CaptureSequence.height}",
        section=_CAMERAS,
    )
    reach: float | None = setting(
        "Half of what the shorter side of a picture shows at the centre, mm. "
        "0, the default, means {right:g} for right hands and {both:g} for both.".format(**capture.REACH),
        None,
        section=_CAMERAS,
        low=0,
    )
    clutter: int = setting("Number of objects in the room.", CaptureSequence.clutter, section=_CAMERAS, low=0)
    arms: str = setting(
        "Directions of the arms: raised in front of the chest, or any, so that hands also hang and lie sideways.",
        Variety.arms,
        section=_VARIETY,
        choices=variety.ARMS,
    )
    max_roll: float | None = setting(
        f"Turn the cameras of ring8 about their axes by up to so many degrees (default: {Variety.max_roll:g}).",
        None,
        section=_VARIETY,
        low=0,
        high=180,
    )
    min_distance: float | None = setting(
        "Smallest distance of the cameras of ring8 from the hand, mm. The hand is equally large in all pictures "
        f"(default: {Variety.min_distance:g}).",
        None,
        section=_VARIETY,
        low=200,
    )
    max_distance: float | None = setting(
        f"Largest distance, mm (default: {Variety.max_distance:g}).", None, section=_VARIETY, low=200
    )
    light: str = setting(
        "One kind of light, or one that varies from person to person in direction, colour, contrast and brightness.",
        Variety.light,
        section=_VARIETY,
        choices=variety.LIGHTS,
    )
    sensors: str = setting(
        "Cameras of one kind, or from sharp ones to blurred, noisy ones that compress strongly.",
        Variety.sensors,
        section=_VARIETY,
        choices=variety.SENSORS,
    )
    held_objects: float = setting(
        "Share of the instants with an object in the hand or near it.",
        Variety.held_objects,
        section=_VARIETY,
        low=0,
        high=1,
    )
    min_visible: float | None = setting(
        "Leave out views that show less than this share of the hand, because something is in front of it (with "
        f"--records; default: {Variety.min_visible:g}).",
        None,
        section=_VARIETY,
        low=0,
        high=1,
    )
    format: str | None = setting(
        f"JPEG files, or one mp4 per camera (default: {DumpSettings.format}).",
        None,
        section=_DUMP,
        choices=("images", "videos"),
    )
    ground_truth: bool = setting(
        "Also write masks of the hands and the empty scenes, for tests (images only).",
        DumpSettings.ground_truth,
        section=_DUMP,
    )
    jpeg_quality: int | None = setting(
        f"JPEG quality of a dump's images (default: differs between cameras), or of crops (default: "
        f"{RecordsSettings.jpeg_quality}, but not above that of the camera).",
        None,
        section="Dump or records",
        low=1,
        high=100,
    )
    crop_size: int | None = setting(
        f"Side of a crop, px (default: {RecordsSettings.crop_size}).", None, section=_RECORDS, low=16
    )
    margin: float | None = setting(
        f"Side of a crop divided by the diameter of the hand (default: {RecordsSettings.margin}).",
        None,
        section=_RECORDS,
        low=1.05,
    )
    min_views: int | None = setting(
        f"Leave out instants that fewer cameras see (default: {RecordsSettings.min_views}).",
        None,
        section=_RECORDS,
        low=2,
    )
    records_per_shard: int | None = setting(
        f"Largest number of records in one shard (default: {RecordsSettings.records_per_shard}).",
        None,
        section=_RECORDS,
        low=1,
    )
    seed: int = setting(
        "Random seed of people, motion, cameras, rooms, noise and the order of records.",
        CaptureSequence.seed,
        section=_RUN,
        low=0,
    )
    workers: int = setting(
        "Number of processes; 0 for one per core. The output does not depend on it.", 0, section=_RUN, low=0
    )

    def __post_init__(self) -> None:
        check(self)
        if bool(self.output) + bool(self.records) != 1 and not self.dry_run:
            raise SettingError("one of --output=FOLDER (a dump) and --records=FOLDER is needed")
        if self.records:
            self._refuse(("format", "ground_truth"), "--output")
        if self.output:
            self._refuse(("min_visible", "crop_size", "margin", "min_views", "records_per_shard"), "--records")
        if self.format == "videos":
            self._refuse(("ground_truth", "jpeg_quality"), "--format=images")
        near, far = self.varied.min_distance, self.varied.max_distance
        if near > far:
            raise SettingError(f"--min_distance={near:g}: not above --max_distance={far:g}")
        if self.calibration or self.rig not in (None, "ring8"):
            self._refuse(("max_roll", "min_distance", "max_distance"), "--rig=ring8")
        if self.calibration:
            self._refuse(("rig", "reach"), "the dome's own cameras, not with --calibration")
        _ = self.picture_size  # checks --image_size

    def _refuse(self, names, mode):
        """Raises SettingError if one of these flags was given: it would have no effect outside of `mode`."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value is not False:
                raise SettingError(f"--{name} goes with {mode}")

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height, px, that `image_size` stands for. Raises SettingError if it is not a size."""
        parts = self.image_size.lower().split("x")
        if not all(part.isdecimal() for part in parts) or len(parts) > 2:
            expected = "expected WIDTHxHEIGHT in px, such as 1920x1080, or one number"
            raise SettingError(f"--image_size={self.image_size}: {expected}")
        width, height = int(parts[0]), int(parts[-1])
        if min(width, height) < 32:
            raise SettingError(f"--image_size={self.image_size}: at least 32 px expected")
        return width, height

    @property
    def varied(self) -> Variety:
        """What the capture shows beyond a studio."""
        return Variety(**_given(self, Variety))

    @property
    def processes(self) -> int:
        """The number of processes that `workers` stands for."""
        return self.workers or usable_cores()


def _plan(settings):
    """The sequences of the capture."""
    width, height = settings.picture_size
    return capture.plan(
        subjects=settings.subjects,
        frames=settings.frames,
        fps=settings.fps,
        rig=settings.rig or CaptureSequence.rig,
        calibration=settings.calibration,
        num_cameras=settings.num_cameras,
        width=width,
        height=height,
        reach=settings.reach or CaptureSequence.reach,
        hands=settings.hands,
        distractor=settings.distractor,
        clutter=settings.clutter,
        seed=settings.seed,
        varied=settings.varied,
    )


def _given(settings, settings_class):
    """The values of those fields of `settings_class` that are flags of this command and were given."""
    names = {field.name for field in dataclasses.fields(settings_class)} & vars(settings).keys()
    return {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}


def _dump_settings(settings):
    return DumpSettings(**_given(settings, DumpSettings))


def _records_settings(settings):
    return RecordsSettings(**_given(settings, RecordsSettings) | {"output": pathlib.Path(settings.records or ".")})


def _write_dump(sequences, settings):
    output, start = settings.output, time.monotonic()
    images = dump.write(output, sequences, _dump_settings(settings), settings.processes, progress=True)
    seconds = time.monotonic() - start
    size = sum(path.stat().st_size for path in pathlib.Path(output).rglob("*") if path.is_file())
    print(f"{images} images in {seconds:.1f} s ({images / seconds:.0f} images/s); {output}: {size / 1e6:.0f} MB")
    seed = f" --seed={settings.seed}" if settings.seed else ""
    print(f"next: hand-tf build --input={output} --output=RECORDS --fps={settings.fps:g}{seed}")


def _write_records(sequences, settings):
    from tfrecords_tools.records import shards  # imports TensorFlow

    report = records.write(sequences, _records_settings(settings), settings.processes)
    shards.print_report(report, settings.records)


def main(settings: DomeSettings) -> None:
    """Renders the capture, or describes what rendering it would take."""
    sequences = _plan(settings)
    if settings.dry_run:
        files = _records_settings(settings) if settings.records else _dump_settings(settings)
        print(estimate.describe(sequences, files, settings.processes))
    elif settings.records:
        _write_records(sequences, settings)
    else:
        _write_dump(sequences, settings)


if __name__ == "__main__":
    command_line.execute(main)
