import csv
import dataclasses
import hashlib
import json

import cv2
import numpy as np
import pytest

from hand_tf import geometry, skeleton
from tfrecords_tools import dome, dome_hand, dome_motion, dome_scene

SETTINGS = dict(
    frames=3, fps=3.0, num_cameras=2, image_size=64, hands="right", format="images", jpeg_quality=90, seed=5
)
OPEN = np.zeros(dome_hand.NUM_ANGLES)


@pytest.fixture(scope="module")
def subject():
    return dome_hand.make_subject(0, 0)


@pytest.fixture(scope="module")
def moves():
    return dome_motion.motion(0, 0, "right", np.arange(0, 60, 0.5))


def curled():
    angles = OPEN.copy()
    angles[4:20:4], angles[6:20:4], angles[7:20:4] = 60, 60, 40
    return angles


# The hand ------------------------------------------------------------------------------------------------------------


def test_skin_is_closed_and_faces_outwards(subject):
    edges = np.sort(subject.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert np.all(np.unique(edges, axis=0, return_counts=True)[1] == 2)
    a, b, c = subject.vertices[subject.triangles].transpose(1, 0, 2)
    volume = np.sum(np.cross(a, b) * c) / 6
    assert 2.5e5 < volume < 1e6  # mm^3; positive: counter-clockwise from outside
    np.testing.assert_allclose(subject.weights.sum(1), 1)


def test_joints_move_with_the_skin(subject, moves):
    finger_of = (subject.weights.argmax(1) + 2) // 3 - 1  # the palm is -1, the forearm 5
    for k in range(0, 60, 3):
        vertices, normals, joints = dome_hand.pose_mesh(subject, moves.angles[k], moves.R[k], moves.t[k])
        for finger, ids in enumerate(skeleton.FINGERS.values()):
            own = finger_of == finger  # another finger may press upon the joint
            gaps = vertices[own][None] - joints[list(ids[1:])][:, None]
            nearest = np.linalg.norm(gaps, axis=2).argmin(1)
            gaps = gaps[np.arange(3), nearest]
            assert np.all(np.linalg.norm(gaps, axis=1) < [16, 14, 10])
            assert np.all(np.sum(gaps * normals[own][nearest], axis=1) > 0)  # inside the skin
        palm = vertices[(finger_of == -1) | (finger_of == 5)]
        roots = joints[[0, *(ids[0] for ids in skeleton.FINGERS.values())]]
        assert np.linalg.norm(palm[None] - roots[:, None], axis=2).min(1).max() < 25


def test_bone_lengths_are_the_subjects(subject, moves):
    for angles in moves.angles[::7]:
        joints, bones = dome_hand.forward(subject.bases, subject.lengths, angles)
        for finger, ids in enumerate(skeleton.FINGERS.values()):
            lengths = np.linalg.norm(np.diff(joints[list(ids)], axis=0), axis=1)
            np.testing.assert_allclose(lengths, subject.lengths[finger])
        np.testing.assert_allclose(np.linalg.det(bones[:, :, :3]), 1)


def test_subjects_are_people(subject):
    people = [subject, *(dome_hand.make_subject(0, index) for index in (9, 10))]
    spans = [np.linalg.norm(p.bases[2]) + p.lengths[2].sum() for p in people]
    assert all(160 < span < 210 for span in spans)
    assert all(75 < np.linalg.norm(p.bases[2]) < 100 for p in people)
    assert len({p.colours.mean().round(3) for p in people}) == 3
    assert abs(spans[1] - spans[2]) > 5


def test_right_hand_is_right_handed(subject):
    flat, _ = dome_hand.forward(subject.bases, subject.lengths, OPEN)
    bent, _ = dome_hand.forward(subject.bases, subject.lengths, curled())
    # In a right hand, turning from the index to the little knuckle about the wrist points out of the palm.
    palm = np.cross(flat[5] - flat[0], flat[17] - flat[0])
    assert np.all((bent - flat)[[8, 12, 16, 20]] @ palm > 0)
    # Seen from its back with the fingers up, its thumb is on the left.
    R = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
    K = geometry.intrinsics(500.0, 256)
    camera = geometry.Camera("00_00", 256, 256, K, np.zeros(5), R, np.array([0, 0, 1000.0]))
    pixels = geometry.project(flat, camera)
    assert pixels[4, 0] < pixels[8, 0] < pixels[20, 0] and pixels[12, 1] < pixels[0, 1]
    assert camera.R[2] @ palm > 0  # the palm looks away from this camera


# The motion ----------------------------------------------------------------------------------------------------------


def test_motion_keeps_to_the_limits(moves):
    low, high = dome_hand.LIMITS.T
    assert np.all((moves.angles >= low - 1e-9) & (moves.angles <= high + 1e-9))
    np.testing.assert_allclose(
        moves.R @ moves.R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), moves.R.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(moves.R), 1)
    assert np.abs(moves.t + dome_motion.PIVOT * moves.R[:, :, 1]).max() <= dome_motion.WANDER + 1e-9
    assert moves.angles.std(0).min() > 2


def test_motion_is_smooth_and_a_function_of_time():
    times = np.arange(0, 5, 0.01)
    fine = dome_motion.motion(1, 2, "right", times)
    assert np.abs(np.diff(fine.angles, axis=0)).max() < 6  # degrees in 10 ms
    assert np.linalg.norm(np.diff(fine.t, axis=0), axis=1).max() < 10
    for other, same in (
        (dome_motion.motion(1, 2, "right", times[:200:3]), True),
        (dome_motion.motion(1, 2, "left", times[:200:3]), False),
    ):
        assert np.allclose(other.angles, fine.angles[:200:3]) == same
        assert np.allclose(other.R, fine.R[:200:3]) == same


def test_heading_covers_the_circle():
    f = np.concatenate([dome_motion.motion(0, k, "right", np.arange(0, 120, 2.0)).R[:, :, 1] for k in range(8)])
    share = np.histogram(np.arctan2(f[:, 2], f[:, 0]), 4, (-np.pi, np.pi))[0] / len(f)
    assert share.min() > 0.12
    assert np.mean(f[:, 1] < 0) > 0.8  # fingers mostly above the horizon; world Y points down


# The pictures --------------------------------------------------------------------------------------------------------


def marker(centre, radius=3.0):
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    triangles = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return centre + radius * corners, np.array(triangles, np.int32)


@pytest.mark.parametrize("supersample", [1, 2, 4])
def test_pictures_agree_with_the_cameras(subject, moves, supersample):
    rig = dome_scene.make_rig(3, 1, 4, 256)
    for view in rig.views:
        assert np.abs(view.camera.K[:2, 2] - 127.5).max() > 0.3 and np.abs(view.camera.dist).max() > 0.1
        _, _, joints = dome_hand.pose_mesh(subject, moves.angles[3], moves.R[3], moves.t[3] + rig.centre)
        corners = rig.centre + np.array([[150.0, 60, 0], [-150, -60, 0], [0, 100, 150]])  # far from the optical axis
        for joint in np.concatenate([joints[::5], corners]):
            vertices, triangles = marker(joint)
            black = np.zeros((256, 256, 3), np.uint8)
            image, mask = dome_scene.render(black, view.camera, vertices, triangles, np.ones((6, 3)), supersample)
            expected = geometry.project(joint[None], view.camera)[0]
            if not np.all((expected > 5) & (expected < 250)):
                continue
            rows, columns = np.nonzero(mask)
            weight = mask[rows, columns].astype(float)
            found = np.array([columns @ weight, rows @ weight]) / weight.sum()
            assert np.linalg.norm(found - expected) < 0.5
            assert np.array_equal(image[..., 0] > 0, mask > 0)


def test_marker_position_is_unbiased():
    camera = dome_scene.make_rig(3, 1, 2, 256).views[0].camera
    rng, gaps = np.random.default_rng(0), []
    for _ in range(150):
        ray = np.append(geometry.undistort(rng.uniform(30, 220, (1, 2)), camera)[0], 1) * 1600
        point = camera.R.T @ (ray - camera.t)
        vertices, triangles = marker(point, 12.0)
        _, mask = dome_scene.render(np.zeros((256, 256, 3), np.uint8), camera, vertices, triangles, np.ones((6, 3)))
        rows, columns = np.nonzero(mask)
        weight = mask[rows, columns] / 255.0
        found = np.array([columns @ weight, rows @ weight]) / weight.sum()
        gaps.append(found - geometry.project(point[None], camera)[0])
    assert np.abs(np.mean(gaps, 0)).max() < 0.05


def test_nearer_surface_hides_the_farther_one():
    camera = dome_scene.make_rig(0, 0, 2, 128).views[0].camera
    axis = camera.R[2]
    near, triangles = marker(camera.centre + 1500 * axis, 20.0)
    far, _ = marker(camera.centre + 1700 * axis, 20.0)
    vertices = np.concatenate([far, near])
    colours = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], 6, 0)
    both = np.concatenate([triangles, triangles + 6])
    image, _ = dome_scene.render(np.zeros((128, 128, 3), np.uint8), camera, vertices, both, colours)
    u, v = np.rint(geometry.project(near.mean(0)[None], camera)[0]).astype(int)
    assert image[v, u].tolist() == [0, 255, 0]


def test_render_leaves_the_rest_alone():
    view = dome_scene.make_rig(0, 0, 2, 128).views[0]
    vertices, triangles = marker(view.camera.centre + 1600 * view.camera.R[2])
    before = view.background.copy()
    image, mask = dome_scene.render(view.background, view.camera, vertices, triangles, np.ones((6, 3)))
    assert np.array_equal(view.background, before)
    assert np.array_equal(image[mask == 0], before[mask == 0])
    away, _ = dome_scene.render(
        view.background, view.camera, vertices + 900 * view.camera.R[0], triangles, np.ones((6, 3))
    )
    assert np.array_equal(away, before)
    gone, mask = dome_scene.render(
        view.background, view.camera, vertices - 3000 * view.camera.R[2], triangles, np.ones((6, 3))
    )
    assert np.array_equal(gone, before) and not mask.any()


def test_joints_lie_on_the_pictured_hand():
    (sequence,) = dome.plan(subjects=1, **(SETTINGS | {"image_size": 128, "hands": "both", "frames": 8}))
    rig = dome._rig(sequence)
    hits = []
    for frame in sequence.frame_numbers:
        for hand in dome.hands_at(sequence, frame):
            view = rig.views[0]
            with_hand = dome.draw([hand], view, rig.light).astype(int)
            changed = np.abs(with_hand - view.background).max(2) > 0
            u, v = np.rint(geometry.project(hand.joints, view.camera)).astype(int).T
            hits.append(changed[v.clip(0, 127), u.clip(0, 127)])
    assert np.mean(np.concatenate(hits)) > 0.97


def test_left_hand_is_mirrored():
    (sequence,) = dome.plan(subjects=1, **(SETTINGS | {"hands": "both", "frames": 1}))
    left, right = dome.hands_at(sequence, dome.FIRST_FRAME)
    assert (left.side, right.side) == ("left", "right")
    for hand in (left, right):
        a, b, c = (hand.vertices - hand.joints[0])[hand.triangles].transpose(1, 0, 2)
        assert np.sum(np.cross(a, b) * c) > 0  # both face outwards
    frames = [np.linalg.det(h.joints[[5, 17, 1]] - h.joints[0]) for h in (left, right)]
    assert frames[0] * frames[1] < 0  # index, little, thumb: opposite senses
    assert right.joints[0, 0] > left.joints[0, 0]


# The dump ------------------------------------------------------------------------------------------------------------


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    output = tmp_path_factory.mktemp("dome") / "dump"
    sequences = dome.plan(subjects=6, **SETTINGS)
    assert dome.write(output, sequences) == 6 * 3 * 2
    return output, sequences


def test_workers_do_not_change_a_byte(dump, tmp_path):
    output, sequences = dump
    dome.write(tmp_path, sequences, workers=2)
    assert digest(tmp_path) == digest(output)


def test_seed_changes_the_dump(dump, tmp_path):
    output, _ = dump
    dome.write(tmp_path, dome.plan(subjects=1, **(SETTINGS | {"seed": 6, "frames": 1})))
    name = "dome_pose1/hdHand3d/handRecon3D_hd00000100.json"
    assert (tmp_path / name).read_text() != (output / name).read_text()


def test_dump_has_panoptics_layout(dump):
    output, _ = dump
    calibration = json.loads((output / "dome_pose1/calibration_dome_pose1.json").read_text())
    assert [entry["type"] for entry in calibration["cameras"]] == ["vga", "vga", "hd", "hd"]
    for entry in calibration["cameras"]:
        R, t = np.array(entry["R"]), np.array(entry["t"])
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert t.shape == (3, 1) and 100 < np.linalg.norm(t) < 400 and len(entry["distCoef"]) == 5
        assert np.shape(entry["K"]) == (3, 3) and entry["name"] == f"{entry['panel']:02d}_{entry['node']:02d}"
    assert len(list((output / "dome_pose1/hdImgs/00_01").iterdir())) == 15
    image = cv2.imread(str(output / "dome_pose1/hdImgs/00_01/00_01_00000100.jpg"))
    assert image.shape == (64, 64, 3)
    for number in (100, 114):
        content = json.loads((output / f"dome_pose1/hdHand3d/handRecon3D_hd{number:08d}.json").read_text())
        assert content["version"] == 0.5 and "left_hand" not in content["people"][0]
        hand = content["people"][0]["right_hand"]
        lengths = {"landmarks": 63, "averageScore": 21, "averageReproError": 21, "validity": 21, "visibility": 21}
        assert {key: len(value) for key, value in hand.items()} == lengths
        joints = np.reshape(hand["landmarks"], (21, 3))
        assert 7 < np.linalg.norm(joints[skeleton.MIDDLE_KNUCKLE] - joints[0]) < 10.5  # centimetres
        assert all(set(views) <= {0, 1} for views in hand["visibility"])


def test_subjects_table(dump):
    output, _ = dump
    with open(output / "subjects.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == [f"S{k}" for k in range(6)]
    assert [row["sequence"] for row in rows] == ["dome_pose1"] * 5 + ["dome_pose2"]
    for row in rows:
        for number in (int(row["first_frame"]), int(row["last_frame"])):
            path = output / row["sequence"] / "hdHand3d" / f"handRecon3D_hd{number:08d}.json"
            assert json.loads(path.read_text())["people"][0]["id"] == int(row["person_id"])


def test_complete_sequences_are_kept_and_other_settings_refused(dump):
    output, sequences = dump
    before = digest(output)
    assert dome.write(output, sequences) == 0
    assert digest(output) == before
    with pytest.raises(ValueError, match="jpeg_quality is 90, but 80 is asked for"):
        dome.write(output, [dataclasses.replace(sequences[0], jpeg_quality=80)])
    assert digest(output) == before


def test_videos_number_frames_like_the_annotations(tmp_path):
    (sequence,) = dome.plan(subjects=1, **(SETTINGS | {"format": "videos", "frames": 2, "jpeg_quality": 95}))
    dome.write(tmp_path, [sequence])
    capture = cv2.VideoCapture(str(tmp_path / "dome_pose1/hdVideos/hd_00_01.mp4"))
    pictures = []
    while (item := capture.read())[0]:
        pictures.append(item[1][..., ::-1].astype(int))
    assert len(pictures) == dome.FIRST_FRAME + 2
    view = dome._rig(sequence).views[1]
    changes = [np.mean(np.abs(picture - view.background).max(2) > 60) for picture in pictures]
    assert max(changes[: dome.FIRST_FRAME]) < 0.5 * min(changes[dome.FIRST_FRAME :])
    assert sorted(path.name for path in (tmp_path / "dome_pose1/hdHand3d").iterdir())[0].endswith("00000100.json")


def test_plan_follows_the_papers_split():
    sequences = dome.plan(subjects=11, **SETTINGS)
    assert [sequence.subjects for sequence in sequences] == [(0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10)]
    assert [sequence.name for sequence in dome.plan(subjects=2, **SETTINGS)] == ["dome_pose1"]
