"""Contact between fingers, hand shapes, and the motion of hand and arm."""

import numpy as np
import pytest

from hand_tf.core import skeleton
from tfrecords_tools.dome.person import contact, hand, motion, people, shapes

NAMES = list(shapes.SHAPES)
FINGERS = np.array(list(skeleton.FINGERS.values()))
SUBJECTS = (0, 1, 4, 7)


@pytest.fixture(scope="module")
def moves():
    return motion.motion(0, 0, "right", np.arange(0, 60, 0.25))


def settled(traits):
    """Every named shape as this subject performs it: [shapes, 22]."""
    wanted = np.array([[*shapes.natural(shapes.SHAPES[name]), 0, 0] for name in NAMES])
    touch = np.array([shapes.TOUCH.get(name, 0) for name in NAMES])
    return shapes.settled_shape(traits, wanted, touch, contact.BOUND)


def flesh(traits, joints, finger, bone, samples=60):
    """Points [samples, 3] along a phalanx and the flesh's radius [samples] there, straight from the anatomy."""
    a, b = joints[FINGERS[finger, bone]], joints[FINGERS[finger, bone + 1]]
    share = np.linspace(0, 1, samples)[:, None]
    radius = traits.radii[finger, bone] + share[:, 0] * (traits.radii[finger, bone + 1] - traits.radii[finger, bone])
    if bone == 2:
        b = b - 0.5 * traits.radii[finger, 3] * (b - a) / np.linalg.norm(b - a)
    return a + share * (b - a), radius


def random_poses(count):
    rng = np.random.default_rng(3)
    return rng.uniform(*hand.LIMITS.T, (count, hand.NUM_ANGLES))


# Contact -------------------------------------------------------------------------------------------------------------


def test_penetration_agrees_with_sampled_phalanges():
    traits, poses = people.traits(0, 1), random_poses(25)
    joints, _ = hand.forward(traits.bases, traits.lengths, poses)
    found = contact.penetrations(traits, poses)
    compared = 0
    for row, (i, j) in enumerate(contact.PAIRS.T):
        if j >= 15:  # the palm
            continue
        for pose in range(0, len(poses), 5):
            p, p_radius = flesh(traits, joints[pose], *divmod(i, 3))
            q, q_radius = flesh(traits, joints[pose], *divmod(j, 3))
            press = p_radius[:, None] + q_radius - np.linalg.norm(p[:, None] - q, axis=2)
            if press.max() > -10:
                # At the nearest points, which under tapering radii are not quite those of the deepest press.
                assert press.max() - 1.2 < found[row, pose] < press.max() + 0.1
                compared += 1
    assert compared > 30
    np.testing.assert_allclose(contact.penetration(traits, poses.reshape(5, 5, -1)).ravel(), found.max(0))


def test_fingers_do_not_pass_through_the_palm():
    traits, pose = people.traits(0, 0), np.zeros((1, hand.NUM_ANGLES))
    assert contact.penetration(traits, pose) < 0
    pose[0, [8, 10, 11]] = 90, 105, 0  # a straight end phalanx drives the middle finger into the palm
    pose[0, 10] = 150
    assert contact.penetration(traits, pose) > 5


def test_path_penetration_sees_between_the_samples():
    traits, poses = people.traits(0, 0), random_poses(40)
    share = motion.minimum_jerk(np.linspace(0, 1, 401))[:, None]
    paths = poses[::2, None] + share * (poses[1::2, None] - poses[::2, None])
    deepest = contact.penetration(traits, paths).max(1)
    coarse = contact.path_penetration(traits, paths[:, ::16])
    assert np.all(coarse > deepest - 0.35)
    assert np.median(coarse - deepest) < 0.5


def test_settling_moves_what_presses_and_nothing_else():
    traits, poses = people.traits(0, 2), random_poses(60)
    before = contact.penetration(traits, poses)
    after = shapes.settled_shape(traits, poses, np.zeros(60, int), contact.BOUND)
    touched = np.any(after != poses, axis=1)
    assert np.array_equal(touched, before > contact.BOUND) and 5 < touched.sum() < 50
    assert np.mean(contact.penetration(traits, after) <= contact.BOUND) > 0.9
    np.testing.assert_array_equal(after[:, 20:], poses[:, 20:])


# Shapes --------------------------------------------------------------------------------------------------------------


def test_named_shapes_lie_within_the_limits():
    for name, rows in shapes.SHAPES.items():
        low, high = hand.LIMITS[:20].T
        assert np.all((np.ravel(rows) >= low) & (np.ravel(rows) <= high)), name


@pytest.mark.parametrize("index", SUBJECTS)
def test_settled_shapes_are_recognisable(index):
    traits = people.traits(0, index)
    angles = settled(traits)
    assert np.all((angles >= hand.LIMITS[:, 0]) & (angles <= hand.LIMITS[:, 1]))
    assert contact.penetration(traits, angles).max() <= contact.BOUND + 0.1
    joints = dict(zip(NAMES, hand.forward(traits.bases, traits.lengths, angles)[0], strict=True))
    for name, finger in shapes.TOUCH.items():
        pads = [flesh(traits, joints[name], f, 2) for f in (0, finger)]
        gap = np.linalg.norm(pads[0][0][:, None] - pads[1][0], axis=2) - pads[0][1][:, None] - pads[1][1]
        assert -contact.BOUND < gap.min() < 3, name
    for name in ("pinch", "ok"):
        assert np.linalg.norm(joints[name][4] - joints[name][8]) < 25
    knuckles, tips = FINGERS[1:, 0], FINGERS[1:, 3]
    reach = {name: np.linalg.norm(j[tips] - j[knuckles], axis=1) for name, j in joints.items()}
    assert np.all(reach["fist"] < 0.55 * reach["open"])
    assert np.all(joints["fist"][tips, 2] < 42)  # near the palm, which lies about 11 mm in front of the bones
    assert reach["point"][0] > 0.95 * reach["open"][0] and np.all(reach["point"][1:] < 0.55 * reach["open"][1:])
    gaps = {name: -np.diff(joints[name][tips, 0]) for name in ("together", "spread")}
    assert np.all(gaps["spread"] > 1.3 * gaps["together"])


def test_drawn_shapes_vary_and_couple():
    rng = np.random.default_rng(0)
    drawn = np.array([shapes.draw_shape(rng)[0] for _ in range(400)])
    assert np.all((drawn >= hand.LIMITS[:, 0]) & (drawn <= hand.LIMITS[:, 1]))
    flexion, pip, dip = drawn[:, 4:20:4], drawn[:, 6:20:4], drawn[:, 7:20:4]
    correlation = np.corrcoef(flexion.T)
    assert correlation[1, 2] > 0.3 and correlation[2, 3] > correlation[0, 3]  # neighbours go together
    assert np.corrcoef(pip.ravel(), dip.ravel())[0, 1] > 0.9
    spread = np.abs(drawn[:, 5:20:4])
    assert spread[flexion > 70].max() < 8 < spread[flexion < 10].max()
    assert np.all(flexion.std(0) > 20) and drawn[:, :4].std(0).min() > 7


# Motion --------------------------------------------------------------------------------------------------------------


def test_motion_keeps_to_the_limits(moves):
    assert np.all((moves.angles >= hand.LIMITS[:, 0] - 1e-9) & (moves.angles <= hand.LIMITS[:, 1] + 1e-9))
    np.testing.assert_allclose(
        moves.R @ moves.R.transpose(0, 2, 1), np.tile(np.eye(3), (len(moves.R), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(moves.R), 1)
    assert np.abs(moves.t + motion.PIVOT * moves.R[:, :, 1]).max() <= motion.WANDER + 1e-9
    assert moves.angles.std(0).min() > 2


@pytest.mark.parametrize("side", skeleton.SIDES)
def test_motion_is_smooth(side):
    step = 0.01
    fine = motion.motion(1, 2, side, np.arange(0, 20, step))
    assert np.abs(np.diff(fine.angles, axis=0)).max() / step < 500  # degrees/s
    assert np.abs(np.diff(fine.angles, 2, axis=0)).max() < 1.5  # no jumps of the velocity
    turn = fine.R[1:] @ fine.R[:-1].transpose(0, 2, 1)
    assert np.rad2deg(np.arccos((np.trace(turn, axis1=1, axis2=2).clip(-1, 3) - 1) / 2)).max() / step < 450
    assert np.linalg.norm(np.diff(fine.t, axis=0), axis=1).max() / step < 900
    rate = np.diff(fine.heading) / step
    assert 1 < np.abs(rate).max() < 50 and np.abs(np.diff(rate)).max() < 1


def test_motion_is_a_function_of_time():
    times = np.arange(0, 70, 0.1)
    whole = motion.motion(1, 2, "right", times)
    for part in (slice(200, None), slice(0, 150), slice(0, None, 7)):
        again = motion.motion(1, 2, "right", times[part])
        for field in ("angles", "R", "t", "heading"):
            np.testing.assert_allclose(getattr(again, field), getattr(whole, field)[part])
    for other in (motion.motion(1, 2, "left", times), motion.motion(2, 2, "right", times)):
        assert not np.allclose(other.angles, whole.angles) and not np.allclose(other.R, whole.R)


@pytest.mark.parametrize("index", SUBJECTS)
def test_fingers_never_press_too_deep(index):
    traits = people.traits(5, index)
    for side in skeleton.SIDES:
        moves = motion.motion(5, index, side, np.arange(0, 25, 1 / 240))
        press = contact.penetration(traits, moves.angles)
        assert press.max() <= contact.BOUND
        assert np.mean(press > 0) > 0.03  # hands do touch themselves


def test_neutral_hand_touches_nothing_whoever_it_is():
    presses = [contact.penetration(people.traits(6, index), motion.NEUTRAL) for index in range(100)]
    assert max(presses) < 1.5


def test_a_hand_that_cannot_move_stays(monkeypatch):
    monkeypatch.setattr(contact, "path_penetration", lambda traits, paths: np.full(paths.shape[:-2], 99.0))
    moves = motion.motion(0, 0, "right", np.arange(0, 5, 0.5))
    assert np.ptp(moves.angles[:, :20], axis=0).max() == 0 and np.ptp(moves.angles[:, 20]) > 0


def test_skin_of_one_finger_stays_out_of_the_others():
    subject = hand.make_subject(5, 1, 2.0)
    finger, bone = np.divmod(np.asarray(subject.weights)[:, : hand.NUM_BONES].argmax(1) - 1, 3)
    moves = motion.motion(5, 1, "right", np.arange(0, 20, 0.4))
    deepest = []
    for angles in moves.angles:
        vertices, _, joints = hand.pose_mesh(subject, angles, np.eye(3), np.zeros(3))
        for other in range(5):
            beyond = vertices[(finger >= 0) & (finger < 5) & (finger != other) & (bone > 0)]
            for k in (1, 2):
                axis, radius = flesh(subject.traits, joints, other, k, 20)
                deepest.append((radius - np.linalg.norm(beyond[:, None] - axis, axis=2)).max())
    assert max(deepest) < contact.BOUND + 1.5
    assert max(deepest) > -1  # the fingers came close enough for this to mean something


# The arm -------------------------------------------------------------------------------------------------------------


def test_arms_point_to_where_the_person_faces():
    times = np.arange(0, 60, 0.5)
    for index in range(6):
        both = {side: motion.motion(0, index, side, times) for side in skeleton.SIDES}
        np.testing.assert_array_equal(both["left"].heading, both["right"].heading)
        traits = people.traits(0, index)
        for side, moves in both.items():
            elbow = hand.elbow(traits, moves.angles, moves.R, moves.t)
            forearm = moves.t - elbow
            if side == "left":
                forearm = forearm @ skeleton.MIRROR  # as whoever places a left hand does with the whole world
            forearm /= np.linalg.norm(forearm, axis=1, keepdims=True)
            assert np.all(-forearm[:, 1] > np.sin(np.deg2rad(-10)))  # world Y points down
            level = np.hypot(forearm[:, 0], forearm[:, 2]) > 0.3
            azimuth = np.rad2deg(np.arctan2(forearm[:, 2], forearm[:, 0])) - moves.heading
            azimuth = (azimuth + 180) % 360 - 180  # positive: to the person's left
            assert np.abs(azimuth[level]).max() < 60 and level.mean() > 0.5
            assert np.median(azimuth[level]) * (1 if side == "left" else -1) > -15


def test_pronated_forearms_show_the_backs_of_hands():
    down = np.array([0.0, 1, 0])  # world Y
    ahead, roll = np.zeros(3), motion.ROLL
    for angle, expected in ((roll[0], 1), (roll[1], -1)):  # a right arm held out: palm down, palm up
        palm = motion.arm_rotation(np.array([[0, 0, angle]]))[0, :, 2]
        assert palm @ down * expected > 0.9
    R = motion.arm_rotation(ahead[None])[0]
    np.testing.assert_allclose(R @ [0, 1, 0], [1, 0, 0], atol=1e-12)  # fingers ahead
    np.testing.assert_allclose(R @ [1, 0, 0], -down, atol=1e-12)  # thumb up
    left_of_person = np.cross(-down, [1.0, 0, 0])
    np.testing.assert_allclose(R @ [0, 0, 1], left_of_person, atol=1e-12)  # the right palm faces inwards


def test_headings_cover_the_circle():
    times = np.arange(0, 60, 1.0)
    headings = np.array([motion.heading(0, index, times) for index in range(10)])
    share = np.histogram(headings % 360, 8, (0, 360))[0] / headings.size
    assert share.min() > 0.07
    assert np.median(np.ptp(headings, axis=1)) > 270  # each person turns most of the way around in a minute
    short = np.histogram(headings[:, :5] % 360, 4, (0, 360))[0] / headings[:, :5].size
    assert short.min() > 0.1  # short recordings see all sides too


def test_fingers_are_mostly_above_the_horizon():
    up = np.concatenate([-motion.motion(0, k, "right", np.arange(0, 60, 1.0)).R[:, 1, 1] for k in range(4)])
    elevation = np.rad2deg(np.arcsin(up))
    assert np.mean(elevation > 0) > 0.9 and np.mean((elevation > 20) & (elevation < 80)) > 0.7
