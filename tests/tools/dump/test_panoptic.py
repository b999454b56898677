"""The reader of Panoptic folders: units, acceptance, what is skipped and what is refused."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tiny_dump

from hand_tf.core import geometry
from tfrecords_tools.dump import boxes, panoptic
from tfrecords_tools.dump.skipped import Skipped

CALIBRATION = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "panoptic_calibration"


def read(folder, subject_of=lambda frame, person: "S0", **limits):
    skipped = Skipped()
    limits = {"min_score": 0.5, "max_error": 20.0} | limits
    instants, occupied = panoptic.read_hands(folder, **limits, subject_of=subject_of, skipped=skipped)
    return instants, occupied, skipped


def people(joints=None, person=0, **changes):
    hand = tiny_dump.hand_json(tiny_dump.joints_at(0, "right") if joints is None else joints)
    return [{"id": person, "right_hand": hand | changes}]


def test_cameras_are_chosen_by_type_and_lengths_become_millimetres(tmp_path):
    rig = tiny_dump.cameras()
    others = [tiny_dump.calibration_entry(camera, "vga") for camera in rig]
    tiny_dump.write_calibration(tmp_path / "a", [*others, *map(tiny_dump.calibration_entry, reversed(rig))])
    found = panoptic.read_cameras(tmp_path / "a")
    assert [camera.name for camera in found] == [camera.name for camera in rig]
    for one, other in zip(found, rig, strict=True):
        np.testing.assert_allclose(one.t, other.t)
        np.testing.assert_allclose(one.K, other.K)
    assert len(panoptic.read_cameras(tmp_path / "a", "vga")) == 3


def test_real_calibration_file():
    if not CALIBRATION.is_dir():
        pytest.skip(f"no real calibration file in {CALIBRATION}")
    cameras = panoptic.read_cameras(CALIBRATION)
    assert len(cameras) == 31 and len({camera.name for camera in cameras}) == 31
    # The dome's radius is about 2.7 m: centimetres taken for millimetres would be off by ten.
    distances = np.linalg.norm([camera.centre - np.mean([c.centre for c in cameras], 0) for camera in cameras], axis=1)
    assert 1500 < np.median(distances) < 4000
    assert all(camera.width == 1920 and 1300 < camera.K[0, 0] < 1900 for camera in cameras)


def test_wrong_calibrations_are_refused_with_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"calibration_none\.json: no calibration file"):
        panoptic.read_cameras(tmp_path / "none")
    entry = tiny_dump.calibration_entry(tiny_dump.cameras()[0])
    wrong = {
        "field K": entry | {"K": [1, 2, 3]},
        "without skew": entry | {"K": [[400, 3, 240], [0, 400, 180], [0, 0, 1]]},
        "field R": entry | {"R": (np.eye(3) * [1, 1, -1]).tolist()},
        "field distCoef": entry | {"distCoef": [0, 0, float("nan"), 0, 0]},
        "field panel": {name: value for name, value in entry.items() if name != "panel"},
        "pinhole": entry | {"resolution": [0, 10]},
        "none of the 1 has type": entry | {"type": "vga"},
    }
    for i, (message, camera) in enumerate(wrong.items()):
        tiny_dump.write_calibration(tmp_path / f"s{i}", [camera])
        with pytest.raises(ValueError, match=message) as error:
            panoptic.read_cameras(tmp_path / f"s{i}")
        assert "\n" not in str(error.value) and f"calibration_s{i}.json" in str(error.value)
    tiny_dump.write_calibration(tmp_path / "twice", [entry, entry])
    with pytest.raises(ValueError, match="share one panel"):
        panoptic.read_cameras(tmp_path / "twice")
    tiny_dump.write_calibration(tmp_path / "numbers", [entry, 3])
    with pytest.raises(ValueError, match=r"calibration_numbers\.json: field cameras: entry 1 is 3, an object expected"):
        panoptic.read_cameras(tmp_path / "numbers")
    path = tiny_dump.write_calibration(tmp_path / "cut", [entry])
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match="not valid JSON"):
        panoptic.read_cameras(tmp_path / "cut")


def test_hands_are_read_in_millimetres_and_absent_keys_are_no_problem(tmp_path):
    right, left = (tiny_dump.joints_at(3, side) for side in ("right", "left"))
    tiny_dump.write_hands(tmp_path, 3, [{"id": 0, "right_hand": tiny_dump.hand_json(right)}, {"id": 1}])
    tiny_dump.write_hands(tmp_path, 7, [{"id": 2, "left_hand": tiny_dump.hand_json(left)}])
    tiny_dump.write_hands(tmp_path, 9, [])
    instants, occupied, skipped = read(tmp_path)
    assert [(i.frame, i.person_id, i.side) for i in instants] == [(3, 0, "right"), (7, 2, "left")]
    np.testing.assert_allclose(instants[0].joints, right)
    np.testing.assert_allclose(instants[0].centre, right.mean(0))
    assert instants[0].radius == pytest.approx(max(np.linalg.norm(joint - right.mean(0)) for joint in right))
    assert [len(occupied[frame]) for frame in (3, 7, 9)] == [1, 1, 0] and not skipped.counts


def test_files_may_lie_one_folder_deeper(tmp_path):
    path = tiny_dump.write_hands(tmp_path, 5, people())
    (tmp_path / "hdHand3d" / "hd").mkdir()
    path.rename(tmp_path / "hdHand3d" / "hd" / path.name)
    assert [instant.frame for instant in read(tmp_path)[0]] == [5]


def test_joints_are_accepted_by_score_error_validity_and_value(tmp_path):
    joints = tiny_dump.joints_at(0, "right")
    hand = tiny_dump.hand_json(joints)
    hand["landmarks"][3:6] = [0.0, 0.0, 0.0]  # never triangulated, and yet validity 1
    hand["landmarks"][6] = float("nan")
    hand["averageScore"][3], hand["averageReproError"][4], hand["validity"][6] = 0.4, 21.0, 0
    tiny_dump.write_hands(tmp_path, 0, [{"id": 0, "right_hand": hand}])
    (instant,), _, skipped = read(tmp_path)
    assert np.flatnonzero(~instant.accepted).tolist() == [1, 2, 3, 4, 6]
    assert np.isfinite(instant.joints).all() and not instant.joints[~instant.accepted].any()
    np.testing.assert_allclose(instant.centre, joints[instant.accepted].mean(0))
    assert skipped.counts == {"joints: not accepted (kept as absent)": 5}
    assert read(tmp_path, min_score=0.3, max_error=30.0)[0][0].accepted.sum() == 18


def test_unusable_hands_are_counted_with_the_first_offender(tmp_path):
    cases = {
        "instants: person id -1 (side unreliable)": people(person=-1),
        "instants: fewer than 11 accepted joints": people(validity=[1] * 10 + [0] * 11),
        "instants: malformed hand": people(landmarks=[0.0] * 62),
        "instants: palm length outside 40..140 mm": people(tiny_dump.joints_at(0, "right") * 1.7),
        "instants: no row of subjects.csv fits": people(person=99),
    }
    for frame, content in enumerate(cases.values()):
        tiny_dump.write_hands(tmp_path, frame, content)
    tiny_dump.write_hands(tmp_path, 10, people() + people(tiny_dump.joints_at(4, "right"), person=1))
    cut = tiny_dump.write_hands(tmp_path, 11, people())
    cut.write_text(cut.read_text()[:200])
    tiny_dump.write_hands(tmp_path, 12, people(averageScore="x"))
    tiny_dump.write_hands(tmp_path, 14, people(averageScore=[10**400] * 21))
    tiny_dump.write_hands(tmp_path, 15, None)
    tiny_dump.write_hands(tmp_path, 13, people())
    instants, occupied, skipped = read(tmp_path, lambda frame, person: None if person == 99 else "S0")
    assert [instant.frame for instant in instants] == [10, 13]
    assert 11 not in occupied and len(occupied[0]) == 1  # an unreliable hand still hides the background
    assert skipped.counts == dict.fromkeys(cases, 1) | {
        "instants: malformed hand": 3,
        "files: hand file cut short or not JSON": 1,
        "files: hand file without a list of people": 1,
        "instants: second person of one subject in a frame (subjects.csv tells them apart)": 1,
    }
    assert "00000011.json" in skipped.first["files: hand file cut short or not JSON"]
    assert "00000015.json" in skipped.first["files: hand file without a list of people"]
    assert "62" in skipped.first["instants: malformed hand"]


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "null", "-inf", "Infinity", "1e999"])
def test_a_coordinate_that_is_no_number_costs_its_joint(tmp_path, text):
    hand = tiny_dump.hand_json(tiny_dump.joints_at(0, "right"))
    hand["landmarks"][60] = 12345.0
    path = tiny_dump.write_hands(tmp_path, 0, [{"id": 0, "right_hand": hand}])
    path.write_text("\ufeff" + path.read_text().replace("12345.0", text), encoding="utf-8")
    (instant,), _, skipped = read(tmp_path)
    assert np.flatnonzero(~instant.accepted).tolist() == [20]
    assert skipped.counts == {"joints: not accepted (kept as absent)": 1}


def test_a_field_that_is_missing_is_named(tmp_path):
    hand = tiny_dump.hand_json(tiny_dump.joints_at(0, "right"))
    del hand["averageScore"]
    tiny_dump.write_hands(tmp_path, 0, [{"id": 0, "right_hand": hand}])
    assert "field averageScore is missing" in read(tmp_path)[2].first["instants: malformed hand"]


@pytest.mark.parametrize(("factor", "unit"), [(10.0, "mm"), (0.01, "m")])
def test_cameras_in_another_unit_than_the_hands_are_refused(tmp_path, factor, unit):
    tiny_dump.write_hands(tmp_path, 0, people())
    instants = read(tmp_path)[0]
    rig = tiny_dump.cameras()
    panoptic.check_distances(instants, rig, tmp_path)
    panoptic.check_distances([], rig, tmp_path)
    # A rig all around the hands, 2.7 m away.
    turns = [tiny_dump.rotation_about([0, 1, 0], degrees) for degrees in range(0, 360, 45)]
    around = [dataclasses.replace(rig[0], R=turn, t=np.array([0.0, 0, 2700])) for turn in turns]
    panoptic.check_distances(instants, around, tmp_path)
    wrong = [dataclasses.replace(camera, t=camera.t * factor) for camera in around]
    with pytest.raises(ValueError, match=rf"field t: hands are .* m from the cameras .* looks like {unit}$"):
        panoptic.check_distances(instants, wrong, tmp_path)


@pytest.mark.parametrize("factor", [10.0, 0.1, 0.01])
def test_another_unit_is_refused(tmp_path, factor):
    tiny_dump.write_hands(tmp_path, 0, people(tiny_dump.joints_at(0, "right") * factor))
    with pytest.raises(ValueError, match="landmarks must be in cm") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_subjects_come_from_the_table_of_the_folder_or_its_parent(tmp_path):
    folder = tmp_path / "pose1"
    folder.mkdir()
    assert panoptic.read_subjects(folder)(0, 5) == "pose1"
    header = ("sequence", "first_frame", "last_frame", "person_id", "subject")
    rows = [
        ("pose1", 0, 99, 4, "S1"),
        ("pose1", 0, 99, "*", "S0"),
        ("pose1", 100, 200, "*", "S2"),
        ("b", 0, 9, 0, "S3"),
    ]
    tiny_dump.write_csv(tmp_path / "subjects.csv", header, rows)
    subject = panoptic.read_subjects(folder)
    assert [subject(0, 4), subject(99, 5), subject(150, 4), subject(201, 4)] == ["S1", "S0", "S2", None]
    tiny_dump.write_csv(folder / "subjects.csv", header, [("pose1", 0, 9, "*", "own")])
    assert panoptic.read_subjects(folder)(3, 0) == "own"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("pose1", "x", 9, 0, "S0"), "line 2: whole numbers"),
        (("pose1", 0, 9), "line 2: whole numbers"),
        (("pose1", 9, 0, 0, "S0"), "line 2: first_frame 9 lies after last_frame 0"),
        (("pose1", 0, 9, 0, "S 0"), "only letters"),
        (("other", 0, 9, 0, "S0"), "no row for sequence pose1"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, row, message):
    (tmp_path / "pose1").mkdir()
    path = tmp_path / "pose1" / "subjects.csv"
    tiny_dump.write_csv(path, ("sequence", "first_frame", "last_frame", "person_id", "subject"), [row])
    with pytest.raises(ValueError, match=message):
        panoptic.read_subjects(path.parent)
    tiny_dump.write_csv(path, ("sequence", "frame"), [])
    with pytest.raises(ValueError, match="missing: first_frame,last_frame"):
        panoptic.read_subjects(path.parent)


def write_boxes(folder, rig, joints, frame=0, change=None):
    rows = []
    for camera in rig:
        pixels = geometry.project(joints, camera)
        low, high = pixels.min(0), pixels.max(0)
        rows.append([frame, camera.name, 0, "right", *low, *(high - low + 1)])
    if change:
        change(rows)
    tiny_dump.write_csv(folder / "boxes.csv", boxes.COLUMNS, rows)


def test_boxes_locate_hands_without_joints(tmp_path):
    rig, joints, skipped = tiny_dump.cameras(), tiny_dump.joints_at(2, "right"), Skipped()
    write_boxes(tmp_path, rig, joints)
    (instant,), by_frame = boxes.read_instants(tmp_path, rig, lambda frame, person: "S0", [], skipped)
    assert not instant.accepted.any() and not instant.joints.any() and instant.cameras == ("00_00", "00_01", "00_02")
    middle = (joints.min(0) + joints.max(0)) / 2
    radius = np.linalg.norm(joints - middle, axis=1).max()
    assert np.linalg.norm(instant.centre - middle) < 25 and 0.6 * radius < instant.radius < 1.3 * radius
    assert set(by_frame[0]) == set(instant.cameras) and not skipped.counts
    again, _ = boxes.read_instants(tmp_path, rig, lambda frame, person: "S0", [instant], skipped)
    assert again == []  # a hand with joints is not taken a second time


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.__delitem__(slice(1, 3)), "instants: boxes in fewer than two cameras"),
        (lambda rows: rows[0].__setitem__(4, 400.0), "instants: boxes in fewer than two cameras, or that do not meet"),
        (lambda rows: rows[0].__setitem__(6, "wide"), "boxes: malformed row"),
        (lambda rows: rows[0].__setitem__(6, float("nan")), "boxes: malformed row"),
    ],
)
def test_wrong_boxes_are_counted(tmp_path, change, reason):
    skipped = Skipped()
    write_boxes(tmp_path, tiny_dump.cameras(), tiny_dump.joints_at(2, "right"), change=change)
    boxes.read_instants(tmp_path, tiny_dump.cameras(), lambda frame, person: "S0", [], skipped)
    assert [count for name, count in skipped.counts.items() if name.startswith(reason)] == [1]
