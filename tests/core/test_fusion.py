"""Fusion of the views of an instant: against SciPy's minimiser, and the invariants that make it a fusion."""

import numpy as np
import pytest
from scipy import optimize
from scipy.spatial.transform import Rotation

from hand_tf.core import fusion

VIEWS = 6


def turns(count, seed=0):
    return Rotation.random(count, random_state=seed).as_matrix()


def hand(seed=0):
    joints = np.random.default_rng(seed).normal(0, 60, (21, 3))
    return joints - joints[:1]


def seen(joints, rotations, noise=0.0, seed=0):
    """World poses that views predict: wrong by `noise` mm across and three times as much in depth."""
    errors = np.random.default_rng(seed).normal(0, noise, (len(rotations), 21, 3)) * [1, 1, 3]
    return fusion.to_world(fusion.to_views(joints, rotations) + errors, rotations)


def fuse(world, rotations, **settings):
    fused, spread = fusion.fuse_instants(world, np.zeros(len(world), int), rotations, **settings)
    return fused[0], spread[0]


def test_world_and_views_are_inverse_and_keep_a_view_as_the_camera_sees_it():
    rotations, joints = turns(VIEWS), hand()
    poses = fusion.to_views(np.tile(joints, (VIEWS, 1, 1)), rotations)
    np.testing.assert_allclose(fusion.to_world(poses, rotations), np.tile(joints, (VIEWS, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(poses[2, 5], rotations[2] @ joints[5])


def test_views_that_agree_are_what_they_say():
    rotations, joints = turns(VIEWS), hand()
    fused, spread = fuse(seen(joints, rotations), rotations)
    np.testing.assert_allclose(fused, joints, atol=1e-6)
    np.testing.assert_allclose(spread, 0, atol=1e-6)


@pytest.mark.parametrize("depth_weight", [1.0, 0.15])
def test_it_is_the_minimum_that_scipy_finds(depth_weight):
    rotations, joints = turns(VIEWS, 3), hand(1)
    world = seen(joints, rotations, noise=30)  # far beyond `NEAR`, within which the criterion is another
    fused, spread = fuse(world, rotations, depth_weight=depth_weight, steps=200)
    across = np.sqrt([1, 1, depth_weight])

    def lengths(joint, place):
        return np.linalg.norm((world[:, joint] - place)[:, None] @ rotations.swapaxes(1, 2) * across, axis=-1)[:, 0]

    for joint in (1, 8, 20):
        options = {"xatol": 1e-4, "fatol": 1e-6, "maxiter": 4000}
        best = optimize.minimize(
            lambda place, joint=joint: lengths(joint, place).sum(),
            world[:, joint].mean(0),
            method="Nelder-Mead",
            options=options,
        )
        assert lengths(joint, fused[joint]).min() > fusion.NEAR
        np.testing.assert_allclose(fused[joint], best.x, atol=0.05)
        np.testing.assert_allclose(
            spread[joint], lengths(joint, best.x).mean() / np.sqrt((across**2).mean()), rtol=1e-3
        )


def test_one_wrong_view_moves_it_less_than_the_mean():
    rotations, joints = turns(VIEWS), hand()
    world = seen(joints, rotations, noise=3)
    right = fuse(world, rotations)[0]
    world[4] += [300, 0, 0]
    moved = np.linalg.norm(fuse(world, rotations)[0] - right, axis=-1)
    assert moved.max() < 15 and 3 * moved.max() < 300 / VIEWS


def test_points_are_fused_as_poses_are_by_their_residuals():
    """One view weighs the less the further its pose is off, and along its line of sight less than across."""
    rotations, instants = turns(2 * VIEWS), np.repeat([1, 0], VIEWS)
    random = np.random.default_rng(1)
    points = random.normal(size=(2, 9, 3))
    seen_points = points[instants]
    exact = fusion.fuse_points(seen_points, instants, rotations, np.ones(2 * VIEWS))
    np.testing.assert_allclose(exact, points, atol=1e-9)
    # Errors along the lines of sight move the result less than errors across of the same size.
    axes = rotations[:, 2][:, None]
    across = np.cross(axes, random.normal(size=axes.shape))
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    moved = [
        np.abs(
            fusion.fuse_points(seen_points + 0.3 * way * np.eye(2 * VIEWS)[0][:, None, None], instants, rotations, r)
            - points
        )[1].max()
        for way, r in ((axes, np.ones(12)), (across, np.ones(12)), (across, np.where(np.arange(12) == 0, 100.0, 1.0)))
    ]
    assert moved[0] < 0.5 * moved[1] and moved[2] < 0.3 * moved[1]


def test_a_views_residual_is_the_mean_distance_of_its_joints():
    rotations, joints = turns(VIEWS), hand()
    world = np.tile(joints, (VIEWS, 1, 1))
    world[2] += 7 * rotations[2][0]  # across its line of sight
    world[3] += 7 * rotations[3][2]  # along it
    found = fusion.residuals(world, joints[None], np.zeros(VIEWS, int), rotations)
    np.testing.assert_allclose(found, [0, 0, 7, 7 * np.sqrt(fusion.DEPTH_WEIGHT), 0, 0], atol=1e-6)


def test_depth_is_taken_from_the_side():
    """Two views at a right angle, each wrong in depth alone: what one has to guess, the other sees."""
    rotations = np.stack([np.eye(3), Rotation.from_euler("y", 90, degrees=True).as_matrix()])
    joints = hand()
    errors = np.array([[0, 0, 40.0], [0, 0, -30.0]])[:, None]
    world = fusion.to_world(fusion.to_views(joints, rotations) + errors, rotations)
    plain, better = (np.abs(fuse(world, rotations, depth_weight=w)[0] - joints).max() for w in (1.0, 0.05))
    assert better < 0.25 * plain


def test_the_world_may_be_turned():
    rotations, turn = turns(VIEWS), turns(1, 9)[0]
    world = seen(hand(), rotations, noise=20)
    fused, spread = fuse(world, rotations)
    turned, same = fuse(world @ turn.T, rotations @ turn.T)
    np.testing.assert_allclose(turned, fused @ turn.T, atol=1e-6)
    np.testing.assert_allclose(same, spread, atol=1e-6)


def test_many_instants_in_any_order_are_each_alone():
    sizes, order = (2, 5, 3), np.random.default_rng(2).permutation(10)
    instants = np.repeat(np.arange(3), sizes)
    rotations = turns(10, 4)
    world = np.concatenate([seen(hand(n), rotations[instants == n], 15, n) for n in range(3)])
    weights = np.random.default_rng(5).uniform(0.2, 1, (10, 21))
    fused, spread = fusion.fuse_instants(world[order], instants[order], rotations[order], weights=weights[order])
    for n in range(3):
        chosen = instants == n
        alone = fuse(world[chosen], rotations[chosen], weights=weights[chosen])
        np.testing.assert_allclose(fused[n], alone[0], atol=1e-9)
        np.testing.assert_allclose(spread[n], alone[1], atol=1e-9)


def test_a_view_without_weight_is_as_if_it_were_not_there():
    rotations = turns(VIEWS)
    world = seen(hand(), rotations, noise=20)
    world[2] += 500
    weights = np.ones((VIEWS, 1))
    weights[2] = 0
    rest = np.arange(VIEWS) != 2
    for found, expected in zip(
        fuse(world, rotations, weights=weights), fuse(world[rest], rotations[rest]), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_views_that_agree_do_not_disagree_and_noise_shows():
    rotations, instants = turns(3 * VIEWS), np.repeat(np.arange(3), VIEWS)
    hands = np.stack([hand(n) for n in range(3)])[instants]
    scales = np.random.default_rng(0).uniform(0.5, 2, (len(hands), 1, 1))
    assert fusion.disagreement(hands, instants, rotations) == pytest.approx(0, abs=1e-6)
    found = [fusion.disagreement(seen_each(hands, rotations, noise), instants, rotations) for noise in (5, 20, 60)]
    assert 0.02 < found[0] < found[1] < found[2]
    # All poses at another size are the same hands; instants of one view say nothing.
    noisy = seen_each(hands, rotations, 5)
    assert fusion.disagreement(7 * noisy, instants, rotations) == pytest.approx(found[0], rel=0.1)
    more = np.concatenate([noisy, 9 * noisy[:1]]), np.append(instants, 3), np.concatenate([rotations, rotations[:1]])
    assert fusion.disagreement(*more) == pytest.approx(found[0])
    assert fusion.disagreement(scales * hands, instants, rotations) < 0.35


def test_a_view_is_compared_with_the_others_alone():
    """By hand, for two instants of two views: each is compared with the other one."""
    rotations, instants = turns(4), np.array([0, 1, 0, 1])
    world = np.stack([hand(n) for n in range(4)])
    errors = []
    for view, other in ((0, 2), (2, 0), (1, 3), (3, 1)):
        p, f = world[view].ravel(), world[other].ravel()
        errors.append(np.linalg.norm(max(p @ f / (p @ p), 0) * p - f) / np.linalg.norm(f))
    assert fusion.disagreement(world, instants, rotations) == pytest.approx(np.mean(errors), rel=1e-6)


def seen_each(hands, rotations, noise):
    errors = np.random.default_rng(1).normal(0, noise, hands.shape)
    return fusion.to_world(fusion.to_views(hands, rotations) + errors, rotations)
