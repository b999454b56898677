"""What a capture shows: its sequences, hands on their person, light, and where the joints are in the pictures."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest
from small_capture import SETTINGS

from hand_tf.core import geometry
from tfrecords_tools.dome import capture, dump


def test_plan_follows_the_papers_split_and_goes_on():
    sequences = capture.plan(subjects=11, **SETTINGS)
    assert [sequence.subjects for sequence in sequences] == [(0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10)]
    assert [sequence.name for sequence in capture.plan(subjects=2, **SETTINGS)] == ["dome_pose1"]
    many = capture.plan(subjects=40, **SETTINGS)
    assert [number for sequence in many for number in sequence.subjects] == list(range(40))
    assert len({sequence.name for sequence in many}) == len(many) and max(len(s.subjects) for s in many) <= 8


@pytest.mark.parametrize("hands", ["right", "both"])
def test_hands_hang_on_the_person(hands):
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"hands": hands, "frames": 9}))
    signs = {}
    for frame in sequence.frame_numbers:
        found = capture.hands_at(sequence, frame)
        assert [hand.side for hand in found] == (["left", "right"] if hands == "both" else ["right"])
        for hand in found:
            a, b, c = (hand.vertices - hand.joints[0])[hand.triangles].transpose(1, 0, 2)
            assert np.sum(np.cross(a, b) * c) > 0  # faces outwards, mirrored or not
            nearest = np.linalg.norm(hand.vertices[None] - hand.joints[:, None], axis=2).min(1)
            assert nearest.max() < 28  # mm: joints lie in the flesh of this very hand
            assert 150 < np.linalg.norm(hand.elbow - hand.joints[0]) < 350
            # In a right hand, the cross product of index and little knuckle points out of the palm, where fingers bend.
            palm = np.cross(hand.joints[5] - hand.joints[0], hand.joints[17] - hand.joints[0])
            thumb_side = np.linalg.det(hand.joints[[5, 17, 4]] - hand.joints[0])
            bent = (hand.joints[[12, 16]].mean(0) - hand.joints[[9, 13]].mean(0)) @ palm
            signs.setdefault(hand.side, []).append((bent, thumb_side))
        whole = capture.instant(sequence, frame)
        assert len(whole.mesh.vertices) > whole.hand_vertices == sum(len(hand.vertices) for hand in found)
    for side, sign in (("right", 1), ("left", -1)):
        if side in signs:
            assert np.all(np.median(signs[side], axis=0) * sign > 0), side


def test_hands_are_on_their_sides_and_apart():
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"hands": "both", "frames": 120, "fps": 6.0}))
    moves = capture.motions(sequence, 0)["right"][0]
    h = np.deg2rad(moves.heading)
    right = np.cross(np.stack([np.cos(h), 0 * h, np.sin(h)], 1), [0.0, -1.0, 0.0])  # forward x up
    found = [capture.hands_at(sequence, frame) for frame in sequence.frame_numbers[::8]]
    for (left_hand, right_hand), across in zip(found, right[::8], strict=True):
        assert (right_hand.elbow - left_hand.elbow) @ across > 0
        nearest = np.linalg.norm(left_hand.vertices[::7, None] - right_hand.vertices[None, ::7], axis=2).min()
        assert nearest > 3  # mm
    joints = [capture.joints_of(sequence, 0, side) for side in ("left", "right")]
    assert np.linalg.norm(joints[0][:, :, None] - joints[1][:, None], axis=3).min() > 30
    for side in joints:
        assert np.linalg.norm(np.diff(side.mean(1), axis=0), axis=1).max() < 170  # mm in a sixth of a second


def test_shadows_and_light_reach_the_picture():
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"frames": 12}))
    darkest = []
    for frame in sequence.frame_numbers:
        hands, light = capture.hands_at(sequence, frame), capture.light(sequence, sequence.place(frame)[0])
        lit = capture.instant(sequence, frame).mesh.colours[: len(hands[0].vertices)]
        open_air = dump.render.shade(hands[0].normals, hands[0].colours, light)
        assert np.all(lit <= open_air + 1e-6)
        towards = hands[0].normals @ light.key_direction > 0.5
        darkest.append(np.mean(lit[towards].sum(1) < 0.8 * open_air[towards].sum(1)))
    assert 0.005 < np.mean(darkest) < 0.6  # fingers cast shadows on part of the palm


def test_joints_lie_on_the_pictured_hand(dumped):
    output, sequences = dumped
    hits = []
    for frame in list(sequences[0].frame_numbers)[::3]:
        (hand,) = capture.hands_at(sequences[0], frame)
        for camera in capture.studio(sequences[0]).cameras:
            mask = cv2.imread(
                str(output / f"dome_pose1/truth/masks/{camera.name}/{camera.name}_{frame:08d}.png"),
                cv2.IMREAD_GRAYSCALE,
            )
            if np.mean(mask > 0) < 0.01:  # the person hides the hand
                continue
            u, v = np.rint(geometry.project(hand.joints, camera)).astype(int).T.clip(0, 63)
            hits.append(mask[v, u] > 0)
    assert len(hits) > 4 and np.median(np.mean(hits, axis=1)) > 0.95


def test_a_calibration_is_known_by_its_content(dumped, tmp_path, monkeypatch):
    output, _ = dumped
    source = output / "dome_pose1/calibration_dome_pose1.json"
    path = pathlib.Path(shutil.copy(source, tmp_path / "mine.json"))
    monkeypatch.chdir(tmp_path)
    sequences = [capture.plan(subjects=1, **SETTINGS, calibration=str(name)) for name in (path, "mine.json")]
    assert sequences[0] == sequences[1] and "calibration" not in capture.settings_of(sequences[0][0])
    path.write_text(source.read_text() + " ")
    (changed,) = capture.plan(subjects=1, **SETTINGS, calibration="mine.json")
    assert changed != sequences[0][0]
    with pytest.raises(ValueError, match="changed while it was in use"):
        capture.studio.__wrapped__(sequences[0][0])
