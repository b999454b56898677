"""Reads a sequence folder in the layout of CMU Panoptic Studio: cameras, hands, subjects.

    <sequence>/calibration_<sequence>.json                  cameras, `X_cam = R X_world + t`
    <sequence>/hdHand3d/[hd/]handRecon3D_hd00000137.json    joints by frame; sides are anatomical
    <sequence>/subjects.csv or ../subjects.csv              sequence,first_frame,last_frame,person_id (or *),subject
    <sequence>/boxes.csv                                    2D boxes for hands without joints (module `boxes`)

Lengths in the folder are centimetres. They become millimetres here and nowhere else.

A joint is *accepted* if its validity is 1, its score at least min_score, its error at most max_error (px), and its
position finite and not the origin: a joint that was never triangulated is (0, 0, 0) with validity 1. A file or hand
that is wrong is counted and left out; a folder that is wrong raises an error of one line.
"""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from hand_tf.core import geometry, reading, skeleton
from hand_tf.core.errors import InputError
from tfrecords_tools.dump.skipped import Skipped

MM_PER_CM = 10.0
PALM_MM = (40.0, 140.0)  # wrist to middle knuckle: 75..100 mm in adults; the rest is for children and noise
# Choice: the mean and extent of fewer accepted joints say too little about where the whole hand is.
MIN_JOINTS = 11
MAX_SKEW_PX = 0.05  # nothing that a calibration finds; a number that was rounded
DISTANCE_MM = (100.0, 15_000.0)  # hand to camera, of a rig on a desk and of one in a hall
MIN_AHEAD = 0.75  # share of hands before a camera: half of them if the cameras stand where the hands are
_NO_NUMBER = re.compile(r"(?<=[\s,:\[])[-+]?(?:nan|inf)(?:inity)?(?=[\s,\]}])", re.IGNORECASE)  # as C++ writes them
_HAND_FILE = re.compile(r"handRecon3D_hd(\d+)\.json", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of sequences and subjects, which go into file names and keys

SubjectOf = Callable[[int, int], str | None]  # (frame, person id) -> subject, None if there is none


@dataclasses.dataclass(frozen=True, eq=False)
class HandInstant:
    """One hand at one instant.

    Attributes:
        side: left or right, anatomical.
        joints: [21, 3] mm, world.
        accepted: [21] bool, which joints can be relied on.
        centre, radius: [3] mm and mm, a sphere about the hand: the mean of the accepted joints and its distance to the
            farthest of them, or what 2D boxes say.
        cameras: names of those that have a box of the hand; None for a hand placed by its joints, which any camera may
            see.
    """

    sequence: str
    subject: str
    frame: int
    person_id: int
    side: str
    joints: np.ndarray
    accepted: np.ndarray
    centre: np.ndarray
    radius: float
    cameras: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """What reports call this instant."""
        return f"{self.sequence} frame {self.frame} person {self.person_id} {self.side} hand"


def instant_of(
    sequence: str, subject: str, frame: int, person_id: int, side: str, joints: np.ndarray, accepted: np.ndarray
) -> HandInstant:
    """The `HandInstant` of a hand with `joints` [21, 3] mm; centre and radius are those of the accepted ones."""
    centre = joints[accepted].mean(0)
    radius = float(np.linalg.norm(joints[accepted] - centre, axis=1).max())
    return HandInstant(sequence, subject, frame, person_id, side, joints, accepted, centre, radius)


def calibration_path(sequence_dir: pathlib.Path) -> pathlib.Path:
    """The calibration file of a sequence folder. Raises FileNotFoundError without one, or with several."""
    expected = sequence_dir / f"calibration_{sequence_dir.name}.json"
    found = [expected] if expected.is_file() else sorted(sequence_dir.glob("calibration_*.json"))
    if len(found) != 1:
        raise FileNotFoundError(f"{expected}: no calibration file" + (f", and {len(found)} others" if found else ""))
    return found[0]


def _camera(entry, where):
    panel, node = (int(reading.numbers(entry, field, (), where)) for field in ("panel", "node"))
    width, height = (int(value) for value in reading.numbers(entry, "resolution", (2,), where))
    K, R = reading.numbers(entry, "K", (3, 3), where), reading.numbers(entry, "R", (3, 3), where)
    if min(width, height, K[0, 0], K[1, 1]) <= 0 or not np.allclose(K[2], [0, 0, 1]):
        raise InputError(f"{where}: fields resolution and K: a pinhole camera expected")
    if max(abs(K[0, 1]), abs(K[1, 0])) > MAX_SKEW_PX:
        raise InputError(f"{where}: field K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] expected, without skew")
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise InputError(f"{where}: field R: a rotation matrix expected")
    dist, t = reading.numbers(entry, "distCoef", (5,), where), reading.numbers(entry, "t", (3,), where)
    return geometry.Camera(f"{panel:02d}_{node:02d}", width, height, K, dist, R, t * MM_PER_CM)


def read_cameras(sequence_dir: pathlib.Path, kind: str = "hd") -> list[geometry.Camera]:
    """`read_calibration` of the folder's calibration file. Raises FileNotFoundError without one."""
    return read_calibration(calibration_path(pathlib.Path(sequence_dir)), kind)


def read_calibration(path: pathlib.Path, kind: str = "hd") -> list[geometry.Camera]:
    """The cameras of type `kind` in a calibration file, sorted by their names "PP_NN".

    They are chosen by type, never by position: a full file lists 480 vga cameras first. Raises FileNotFoundError
    without the file, ValueError with file, camera and field for a wrong one.
    """
    entries = reading.read_json_object(path, ["cameras"])["cameras"]
    if not isinstance(entries, list):
        raise InputError(f"{path}: field cameras: a list of objects expected")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InputError(f"{path}: field cameras: entry {position} is {entry!r:.40}, an object expected")
    chosen = [entry for entry in entries if entry.get("type") == kind]
    if not chosen:
        raise InputError(f"{path}: field cameras: none of the {len(entries)} has type {kind!r}")
    cameras = [_camera(entry, f"{path}: camera {entry.get('name')}") for entry in chosen]
    names = [camera.name for camera in cameras]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: field cameras: two {kind} cameras share one panel and node")
    return sorted(cameras, key=lambda camera: camera.name)


def check_name(name: str, where: object) -> str:
    """Returns `name` if a sequence or subject may be called so. Raises ValueError, which starts with `where`."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError(f"{where}: {name!r}: only letters, digits, '_', '-' and single '.' expected in a name")
    return name


def read_subjects(sequence_dir: pathlib.Path) -> SubjectOf:
    """Who is who, from `subjects.csv`: the first row that fits a frame and person counts.

    The table is looked up in the folder, then in its parent. Without one, the sequence itself is the only subject.
    Raises ValueError for a malformed table or one that does not mention the sequence.
    """
    sequence_dir = pathlib.Path(sequence_dir)
    places = (sequence_dir / "subjects.csv", sequence_dir.parent / "subjects.csv")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return lambda frame, person_id: sequence_dir.name
    rules = []
    columns = ("sequence", "first_frame", "last_frame", "person_id", "subject")
    for line, row in reading.read_table(path, columns):
        try:
            person = None if row["person_id"].strip() == "*" else int(row["person_id"])
            sequence, subject = row["sequence"].strip(), row["subject"].strip()
            rule = (int(row["first_frame"]), int(row["last_frame"]), person, subject)
        except (AttributeError, TypeError, ValueError):
            raise InputError(f"{path}: line {line}: whole numbers expected in frames and person_id (or *)") from None
        check_name(subject, f"{path}: line {line}: subject")
        if rule[0] > rule[1]:
            raise InputError(f"{path}: line {line}: first_frame {rule[0]} lies after last_frame {rule[1]}")
        if sequence == sequence_dir.name:
            rules.append(rule)
    if not rules:
        raise InputError(f"{path}: no row for sequence {sequence_dir.name}")

    def subject_of(frame, person_id):
        fits = (name for first, last, who, name in rules if first <= frame <= last and who in (None, person_id))
        return next(fits, None)

    return subject_of


def hand_files(sequence_dir: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    """(frame, path) of all hand files, by frame; they lie in `hdHand3d` or in a folder `hd` within it."""
    folder = pathlib.Path(sequence_dir) / "hdHand3d"
    files = [path for place in (folder, folder / "hd") if place.is_dir() for path in place.iterdir()]
    matches = ((_HAND_FILE.fullmatch(path.name), path) for path in files)
    return sorted((int(match[1]), path) for match, path in matches if match)


def _joints(hand, min_score, max_error):
    """(joints [21, 3] mm, accepted [21]) of one entry `left_hand` or `right_hand`."""
    counts = {"landmarks": 3 * skeleton.NUM_JOINTS} | dict.fromkeys(
        ("averageScore", "averageReproError", "validity"), skeleton.NUM_JOINTS
    )
    values = {}
    for field, count in counts.items():
        values[field] = np.asarray(hand[field], np.float64).ravel()
        if values[field].size != count:
            raise InputError(f"{field} has {values[field].size} numbers, {count} expected")
    joints = values["landmarks"].reshape(-1, 3) * MM_PER_CM
    accepted = (values["validity"] == 1) & (values["averageScore"] >= min_score)
    accepted &= (values["averageReproError"] <= max_error) & np.isfinite(joints).all(1) & joints.any(1)
    return np.where(accepted[:, None], joints, 0.0), accepted


def _hands(path, min_score, max_error, skipped):
    """[(person_id, side, joints, accepted)] of one hand file, None if it cannot be read; what is wrong is counted."""
    try:
        content = json.loads(_NO_NUMBER.sub("NaN", reading.read_text(path)))
    except (RecursionError, ValueError, OSError):
        skipped.add("files: hand file cut short or not JSON", path.name)
        return None
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        skipped.add("files: hand file without a list of people", path.name)
        return None
    hands = []
    for person, side in itertools.product(people, skeleton.SIDES):
        try:
            hand = person.get(f"{side}_hand")
            if hand is not None:  # a hand that was not found is left out of the file
                hands.append((int(person["id"]), side, *_joints(hand, min_score, max_error)))
        except KeyError as error:
            skipped.add("instants: malformed hand", f"{path.name} {side}: field {error.args[0]} is missing")
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            skipped.add("instants: malformed hand", f"{path.name} {side}: {error}")
    return hands


def palm_length(joints: np.ndarray, accepted: np.ndarray) -> float:
    """Distance from wrist to middle knuckle of `joints` [21, 3], in mm; NaN unless both are accepted."""
    ends = [skeleton.ROOT, skeleton.MIDDLE_KNUCKLE]
    return float(np.linalg.norm(np.subtract(*joints[ends]))) if accepted[ends].all() else np.nan


def check_unit(palms: list[float], where: str) -> None:
    """Raises ValueError if the palm lengths `palms`, mm, show that the folder was not in centimetres."""
    palms = np.asarray(palms)[np.isfinite(palms)][:200]
    median = np.median(palms) if palms.size else np.mean(PALM_MM)
    if not PALM_MM[0] / 2.5 <= median <= PALM_MM[1] * 2.5:
        raise InputError(
            f"{where}: wrist to middle knuckle is {median / MM_PER_CM:.3g} (median), 7.5..10 cm expected: "
            "landmarks must be in cm, these look like another unit such as mm"
        )


def check_distances(instants: Sequence[HandInstant], cameras: Sequence[geometry.Camera], where: object) -> None:
    """Raises ValueError if the hands are as far from the cameras, or as near, as no rig has them, or often behind them.

    The field t of the calibration is then in another unit; that of the landmarks was checked by `check_unit`. `where`
    names the calibration file.
    """
    some = instants[:: max(len(instants) // 100, 1)]
    places = np.array([camera.R @ each.centre + camera.t for camera in cameras for each in some]).reshape(-1, 3)
    if not len(places):
        return
    median, ahead = float(np.median(np.linalg.norm(places, axis=1))), float(np.mean(places[:, 2] > 0))
    if not DISTANCE_MM[0] <= median <= DISTANCE_MM[1] or ahead < MIN_AHEAD:
        far, seen = median > DISTANCE_MM[1], f"hands are {median / 1000:.3g} m from the cameras (median)"
        if ahead < MIN_AHEAD:
            seen += f" and {1 - ahead:.0%} of them lie behind a camera"
        raise InputError(
            f"{where}: field t: {seen}; cm expected, as the landmarks are, this looks like {'mm' if far else 'm'}"
        )


def _reason_to_skip(person_id, joints, accepted, subject, unique):
    if person_id < 0:
        return "instants: person id -1 (side unreliable)"
    if accepted.sum() < MIN_JOINTS:
        return f"instants: fewer than {MIN_JOINTS} accepted joints"
    palm = palm_length(joints, accepted)
    if np.isfinite(palm) and not PALM_MM[0] <= palm <= PALM_MM[1]:
        return f"instants: palm length outside {PALM_MM[0]:.0f}..{PALM_MM[1]:.0f} mm"
    if subject is None:
        return "instants: no row of subjects.csv fits"
    # All records of a group must show one hand, or its appearance would be that of two people.
    return None if unique else "instants: second person of one subject in a frame (subjects.csv tells them apart)"


def read_hands(
    sequence_dir: pathlib.Path, min_score: float, max_error: float, subject_of: SubjectOf, skipped: Skipped
) -> tuple[list[HandInstant], dict[int, list[tuple[np.ndarray, np.ndarray]]]]:
    """All usable hands with joints, and where there is any hand.

    Args:
        min_score, max_error: joints are accepted from this score on and up to this error, px.
        subject_of: see `read_subjects`.
        skipped: counts what is left out.

    Returns:
        instants: the `HandInstant`s, by frame.
        occupied: {frame: (joints, accepted) of all hands}, unusable ones too, for the background.

    Raises ValueError if the folder is not in centimetres.
    """
    sequence_dir = pathlib.Path(sequence_dir)
    instants, occupied, palms, seen = [], {}, [], set()
    files = tqdm(hand_files(sequence_dir), desc=f"{sequence_dir.name}: hands", unit="file", leave=False, disable=None)
    for frame, path in files:
        hands = _hands(path, min_score, max_error, skipped)
        if hands is None:
            continue
        occupied[frame] = [(joints, accepted) for _, _, joints, accepted in hands]
        for person_id, side, joints, accepted in hands:
            palms.append(palm_length(joints, accepted))
            subject = subject_of(frame, person_id)
            key = (frame, subject, side)
            reason = _reason_to_skip(person_id, joints, accepted, subject, key not in seen)
            if reason:
                skipped.add(reason, f"{path.name} person {person_id} {side}")
                continue
            seen.add(key)
            instants.append(instant_of(sequence_dir.name, subject, frame, person_id, side, joints, accepted))
            skipped.add("joints: not accepted (kept as absent)", path.name, (~accepted).sum())
    check_unit(palms, f"{sequence_dir / 'hdHand3d'}: field landmarks")
    return instants, occupied
