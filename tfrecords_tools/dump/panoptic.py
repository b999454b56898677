"""Reads a sequence folder in the layout of CMU Panoptic Studio: cameras, hands, subjects.

    <sequence>/calibration_<sequence>.json                  cameras, `X_cam = R X_world + t`
    <sequence>/hdHand3d/[hd/]handRecon3D_hd00000137.json    joints by frame; sides are anatomical
    <sequence>/subjects.csv or ../subjects.csv              sequence,first_frame,last_frame,person_id (or *),subject
    <sequence>/boxes.csv                                    2D boxes for hands without joints (module `boxes`)

The folder's lengths are centimetres. They become millimetres here and nowhere else.

A joint is *accepted* on validity 1, score >= min_score, error <= max_error (px), finite, not all zero: one that was
never triangulated is (0, 0, 0) with validity 1. What is wrong with one file or hand is counted and skipped; what is
wrong with the whole folder raises one line.
"""

import csv
import dataclasses
import itertools
import json
import pathlib
import re

import numpy as np
from tqdm import tqdm

from hand_tf.core import geometry, skeleton

MM_PER_CM = 10.0
PALM_MM = (40.0, 140.0)  # wrist to middle knuckle: 75..100 mm in adults, with room for children and noise
# Choice: with fewer accepted joints, their mean and extent say too little about where the whole hand is.
MIN_JOINTS = 11
_HAND_FILE = re.compile(r"handRecon3D_hd(\d+)\.json", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # names end up in file names, keys and scenarios


@dataclasses.dataclass(frozen=True, eq=False)
class HandInstant:
    """One hand at one instant: `joints` [21, 3] mm (world), `accepted` [21] bool.

    `centre` [3] mm and `radius` mm bound the hand: the mean of the accepted joints and the farthest of them, or what
    2D boxes say. `cameras` names those that have a box, None for hands with joints (every camera may see them).
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
    def name(self):
        """What a report calls this instant."""
        return f"{self.sequence} frame {self.frame} person {self.person_id} {self.side} hand"


def instant_of(sequence, subject, frame, person_id, side, joints, accepted):
    """The `HandInstant` of a hand with `joints` [21, 3] mm; centre and radius are those of the accepted ones."""
    centre = joints[accepted].mean(0)
    radius = float(np.linalg.norm(joints[accepted] - centre, axis=1).max())
    return HandInstant(sequence, subject, frame, person_id, side, joints, accepted, centre, radius)


def load_json(path):
    """Parses the JSON file `path`. Raises ValueError naming it if it is cut short or not JSON."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def _calibration_path(sequence_dir):
    expected = sequence_dir / f"calibration_{sequence_dir.name}.json"
    found = [expected] if expected.is_file() else sorted(sequence_dir.glob("calibration_*.json"))
    if len(found) != 1:
        raise FileNotFoundError(f"{expected}: no calibration file" + (f", and {len(found)} others" if found else ""))
    return found[0]


def _numbers(entry, field, shape, where):
    """`entry[field]` as a finite array of `shape`. Raises ValueError naming the file, camera and field."""
    try:
        values = np.asarray(entry[field], np.float64).reshape(shape)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where}: field {field}: {shape} numbers expected") from None
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{where}: field {field}: finite numbers expected")
    return values


def _camera(entry, where):
    name = "{:02d}_{:02d}".format(*(int(_numbers(entry, field, (), where)) for field in ("panel", "node")))
    width, height = (int(value) for value in _numbers(entry, "resolution", (2,), where))
    K, R = _numbers(entry, "K", (3, 3), where), _numbers(entry, "R", (3, 3), where)
    if min(width, height, K[0, 0], K[1, 1]) <= 0 or not np.allclose(K[2], [0, 0, 1]):
        raise ValueError(f"{where}: fields resolution and K: a pinhole camera expected")
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise ValueError(f"{where}: field R: a rotation matrix expected")
    dist, t = _numbers(entry, "distCoef", (5,), where), _numbers(entry, "t", (3,), where)
    return geometry.Camera(name, width, height, K, dist, R, t * MM_PER_CM)


def read_cameras(sequence_dir, type="hd"):
    """`read_calibration` of the folder's calibration file. Raises FileNotFoundError without one."""
    return read_calibration(_calibration_path(pathlib.Path(sequence_dir)), type)


def read_calibration(path, type="hd"):
    """Cameras of one type (never by index: a full file lists 480 vga cameras first), sorted by name "PP_NN".

    Raises FileNotFoundError without the file, ValueError naming file, camera and field for a wrong one.
    """
    calibration = load_json(path)
    if not isinstance(calibration, dict) or not isinstance(calibration.get("cameras"), list):
        raise ValueError(f"{path}: field cameras: a list expected")
    entries = [entry for entry in calibration["cameras"] if entry.get("type") == type]
    if not entries:
        raise ValueError(f"{path}: field cameras: none of the {len(calibration['cameras'])} has type {type!r}")
    cameras = [_camera(entry, f"{path}: camera {entry.get('name')}") for entry in entries]
    names = [camera.name for camera in cameras]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: field cameras: two {type} cameras share one panel and node")
    return sorted(cameras, key=lambda camera: camera.name)


def check_name(name, where):
    """Returns `name` if it may be a sequence's or subject's name; raises ValueError otherwise."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{where}: {name!r}: only letters, digits, '_', '-' and single '.' expected in a name")
    return name


def read_table(path, columns):
    """Rows of a CSV file as dicts. Raises ValueError unless it has `columns`."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: columns {','.join(columns)} expected, missing: {','.join(sorted(missing))}")
        return list(reader)


def read_subjects(sequence_dir):
    """A function (frame, person_id) -> subject or None, from `subjects.csv`; the first row that fits counts.

    The table is looked up in the folder, then in its parent. Without one, the subject is the sequence. Raises
    ValueError for a malformed table or one that does not mention the sequence.
    """
    sequence_dir = pathlib.Path(sequence_dir)
    places = (sequence_dir / "subjects.csv", sequence_dir.parent / "subjects.csv")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return lambda frame, person_id: sequence_dir.name
    rules = []
    columns = ("sequence", "first_frame", "last_frame", "person_id", "subject")
    for line, row in enumerate(read_table(path, columns), start=2):
        try:
            person = None if row["person_id"].strip() == "*" else int(row["person_id"])
            rule = (int(row["first_frame"]), int(row["last_frame"]), person, row["subject"].strip())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{path}: line {line}: whole numbers expected in frames and person_id (or *)") from None
        check_name(rule[3], f"{path}: line {line}: subject")
        if row["sequence"].strip() == sequence_dir.name:
            rules.append(rule)
    if not rules:
        raise ValueError(f"{path}: no row for sequence {sequence_dir.name}")

    def subject(frame, person_id):
        fits = (name for first, last, who, name in rules if first <= frame <= last and who in (None, person_id))
        return next(fits, None)

    return subject


def hand_files(sequence_dir):
    """(frame, path) of every hand file, by frame; the folder may nest one more folder `hd`."""
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
            raise ValueError(f"{field} has {values[field].size} numbers, {count} expected")
    joints = values["landmarks"].reshape(-1, 3) * MM_PER_CM
    accepted = (values["validity"] == 1) & (values["averageScore"] >= min_score)
    accepted &= (values["averageReproError"] <= max_error) & np.isfinite(joints).all(1) & joints.any(1)
    return np.where(accepted[:, None], joints, 0.0), accepted


def _hands(path, min_score, max_error, skipped):
    """[(person_id, side, joints, accepted)] of one hand file, None if it cannot be read; what is wrong is counted."""
    try:
        people = list(load_json(path)["people"])
    except (KeyError, TypeError, ValueError, OSError):
        skipped.add("files: hand file cut short or without people", path.name)
        return None
    hands = []
    for person, side in itertools.product(people, skeleton.SIDES):
        try:
            hand = person.get(f"{side}_hand")
            if hand is not None:  # the writer leaves out a hand that it did not find
                hands.append((int(person["id"]), side, *_joints(hand, min_score, max_error)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            skipped.add("instants: malformed hand", f"{path.name} {side}: {type(error).__name__} {error}")
    return hands


def palm_length(joints, accepted):
    """Wrist to middle knuckle in mm, nan unless both are accepted."""
    ends = [skeleton.ROOT, skeleton.MIDDLE_KNUCKLE]
    return float(np.linalg.norm(np.subtract(*joints[ends]))) if accepted[ends].all() else np.nan


def check_unit(palms, where):
    """Raises ValueError if `palms` (mm, after conversion) are so far off that the folder is not in centimetres."""
    palms = np.asarray(palms)[np.isfinite(palms)][:200]
    median = np.median(palms) if palms.size else np.mean(PALM_MM)
    if not PALM_MM[0] / 2.5 <= median <= PALM_MM[1] * 2.5:
        raise ValueError(
            f"{where}: wrist to middle knuckle is {median / MM_PER_CM:.3g} (median), 7.5..10 cm expected: "
            "landmarks must be in cm, these look like another unit such as mm"
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
    # Within a group two records must be two instants of one hand, or appearance would mix people.
    return None if unique else "instants: second person of one subject in a frame (subjects.csv tells them apart)"


def read_hands(sequence_dir, min_score, max_error, subject_of, skipped):
    """All usable hands with joints, by frame, and where any hand is.

    Returns:
        instants: list of `HandInstant`.
        occupied: {frame: list of (joints, accepted)}, of unusable hands too, for the background.

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
