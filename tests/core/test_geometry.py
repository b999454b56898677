"""Virtual cameras: crops look at the hand, show it at one metric scale, and turn into each other by one rotation."""

import dataclasses
import itertools

import crop_truth
import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from hand_tf.core import crops, geometry, skeleton

SIZE, SIDE = 64, 220.0
MIRROR = np.diag([-1.0, 1.0, 1.0])
DISTORTIONS = {
    "none": np.zeros(5),
    "barrel": np.array([-0.25, 0.08, 0.001, -0.002, 0.01]),
    "pincushion": np.array([0.12, 0.05, -0.001, 0.001, 0.02]),
}


def camera(seed=0, dist=DISTORTIONS["barrel"], width=640, height=480):
    """A camera 700-1100 mm from the world's origin that looks roughly, not exactly, at it."""
    generator = np.random.default_rng(seed)
    R = Rotation.from_rotvec(generator.uniform(-1.5, 1.5, 3)).as_matrix()
    K = np.array([[510.0 + 9 * seed, 0, width / 2 - 7], [0, 500.0, height / 2 + 4], [0, 0, 1]])
    t = np.array([*generator.uniform(-60, 60, 2), generator.uniform(700, 1100)])
    return geometry.Camera(f"00_{seed:02d}", width, height, K, np.asarray(dist, float), R, t)


def hand(seed=0):
    """World joints [21, 3] mm within 90 mm of their centre, which lies near the origin."""
    generator = np.random.default_rng(100 + seed)
    joints = generator.normal(size=(21, 3))
    radius = generator.uniform(20, 90, (21, 1))
    return joints / np.linalg.norm(joints, axis=1, keepdims=True) * radius + generator.uniform(-50, 50, 3)


def crop_of(view, joints, mirrored=False):
    return crops.virtual_crop(view, joints.mean(0), SIDE, SIZE, mirrored)


# --- real cameras ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_project_follows_the_written_out_distortion_model(dist):
    view, points = camera(1, dist), hand() * 3
    x, y, z = (points @ view.R.T + view.t).T
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = dist
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    v = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    expected = np.stack([view.K[0, 0] * u + view.K[0, 2], view.K[1, 1] * v + view.K[1, 2]], -1)
    np.testing.assert_allclose(geometry.project(points, view), expected, atol=1e-8)


def test_the_camera_centre_is_where_all_rays_meet():
    view = camera(2)
    np.testing.assert_allclose(view.R @ view.centre + view.t, 0, atol=1e-9)
    axis = view.centre + 500 * view.R[2]
    np.testing.assert_allclose(geometry.project(axis[None], view)[0], view.K[:2, 2], atol=1e-9)


def test_points_behind_the_camera_are_nan():
    view = camera()
    behind = view.centre + np.array([[0, 0, -300.0], [40, 10, -1.0], [0, 0, 0]]) @ view.R
    assert np.isnan(geometry.project(behind, view)).all()
    assert not geometry.inside(geometry.project(behind, view), view).any()


def test_no_points_are_no_pixels():
    assert geometry.project(np.empty((0, 3)), camera()).shape == (0, 2)


def test_inside_counts_whole_pixels():
    view = camera(width=20, height=10)
    pixels = [[-0.5, 0], [-0.51, 0], [19.5, 9.5], [19.51, 5], [5, 9.51], [5, -0.6], [np.nan, 3]]
    assert geometry.inside(np.array(pixels), view).tolist() == [True, False, True, False, False, False, False]


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_undistort_inverts_project(dist):
    view, points = camera(3, dist), hand(1) * 2
    local = points @ view.R.T + view.t
    found = geometry.undistort(geometry.project(points, view), view)
    np.testing.assert_allclose(found, local[:, :2] / local[:, 2:], atol=1e-7)


@pytest.mark.parametrize("dist", [[-0.3, 0, 0, 0, 0], [-0.3, 0.02, 0, 0, 0], [0.1, -0.2, 0, 0, 0.03]])
def test_points_beyond_the_monotonic_radius_are_nan(dist):
    view = camera(dist=dist)
    radii = np.linspace(0, 6, 600001)
    distorted = radii * (1 + dist[0] * radii**2 + dist[1] * radii**4 + dist[4] * radii**6)
    turning_point = radii[np.argmax(np.diff(distorted) < 0)]
    assert view.max_radius == pytest.approx(turning_point, abs=1e-4)
    slopes = np.array([0.2, 0.99, 1.01, 1.6]) * turning_point
    rays = np.stack([0.6 * slopes, 0.8 * slopes, np.ones(4)], -1)
    pixels = geometry.project(view.centre + 500 * rays @ view.R, view)
    assert np.isnan(pixels).any(1).tolist() == [False, False, True, True]


def test_distortion_that_never_folds_has_no_limit():
    assert camera(dist=np.zeros(5)).max_radius == np.inf
    assert camera(dist=[0.1, 0, 0, 0, 0]).max_radius == np.inf


def test_triangulate_finds_the_point_that_all_views_see():
    views, points = [camera(seed) for seed in range(4)], hand(2)
    for point, count in itertools.product(points[:5], (2, 4)):
        pixels = [geometry.project(point[None], view)[0] for view in views[:count]]
        np.testing.assert_allclose(geometry.triangulate(pixels, views[:count]), point, atol=1e-3)
    with pytest.raises(ValueError, match="at least two views, got 1"):
        geometry.triangulate([[10.0, 10.0]], views[:1])


# --- virtual cameras ------------------------------------------------------------------------------------------------


def test_rotation_to_z_is_the_smallest_rotation():
    for ray in (*np.random.default_rng(5).normal(size=(20, 3)), [0, 0, 2.0], [1e-9, 0, 1.0]):
        ray = np.asarray(ray) / np.linalg.norm(ray)
        R = geometry.rotation_to_z(7.0 * ray)
        np.testing.assert_allclose(R @ ray, [0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1)
        # No rotation that moves the ray by an angle is smaller than that angle.
        angle = np.arctan2(np.hypot(ray[0], ray[1]), ray[2])
        assert Rotation.from_matrix(R).magnitude() == pytest.approx(angle, abs=1e-7)


def test_no_smallest_rotation_turns_a_ray_round():
    with pytest.raises(ValueError, match="points backwards"):
        geometry.rotation_to_z([0, 0, -1.0])


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_crop_looks_at_the_centre_at_a_metric_scale(mirrored):
    for seed in range(3):
        view, centre = camera(seed), hand(seed).mean(0)
        crop = crops.virtual_crop(view, centre, SIDE, SIZE, mirrored)
        np.testing.assert_allclose(crop_truth.project_in_crop(centre[None], crop)[0], (SIZE - 1) / 2, atol=1e-9)
        # Points in the plane through the centre that faces the optical centre: SIDE mm are SIZE px, in all directions.
        towards = (view.centre - centre) / np.linalg.norm(view.centre - centre)
        for direction in np.random.default_rng(seed).normal(size=(5, 3)):
            across = np.cross(towards, direction)
            edge = centre + across / np.linalg.norm(across) * SIDE / 2
            offset = crop_truth.project_in_crop(edge[None], crop)[0] - (SIZE - 1) / 2
            assert np.linalg.norm(offset) == pytest.approx(SIZE / 2)


def test_a_centre_behind_the_camera_is_refused():
    view = camera()
    with pytest.raises(ValueError, match=r"camera 00_00: the hand's centre lies behind it"):
        crops.virtual_crop(view, view.centre - 100 * view.R[2], SIDE, SIZE)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_crop_maps_lead_to_where_the_real_camera_sees_a_point(dist, mirrored):
    joints = hand(3)
    crop = crop_of(camera(4, dist), joints, mirrored)
    map_x, map_y = crops.crop_maps(crop)
    assert map_x.shape == map_y.shape == (SIZE, SIZE) and map_x.dtype == map_y.dtype == np.float32
    columns, rows = crop_truth.project_in_crop(joints, crop).T
    assert columns.min() > 1 and columns.max() < SIZE - 2
    found = [map_coordinates(m.astype(float), [rows, columns], order=3) for m in (map_x, map_y)]
    np.testing.assert_allclose(np.stack(found, -1), geometry.project(joints, crop.camera), atol=0.01)


def test_crop_maps_mark_what_the_frame_does_not_show():
    view = camera(dist=np.zeros(5))
    corner = view.centre + 800 * (np.linalg.inv(view.K) @ [0, 0, 1]) @ view.R
    map_x, map_y = crops.crop_maps(crops.virtual_crop(view, corner, SIDE, SIZE))
    outside = map_x == crops.OUTSIDE
    assert np.array_equal(outside, map_y == crops.OUTSIDE) and 0.6 < outside.mean() < 0.9
    pixels = np.stack([map_x, map_y], -1)[~outside]
    assert geometry.inside(pixels, view).all() and not outside[-1, -1] and outside[0].all() and outside[:, 0].all()


def test_crop_maps_mark_where_the_distortion_folds_back():
    view = camera(dist=[-0.3, 0, 0, 0, 0])
    ray = np.array([1.3 * view.max_radius, 0, 1])
    crop = crops.virtual_crop(view, view.centre + 500 * ray @ view.R, 50.0, 16)
    folded, _ = cv2.projectPoints(ray[None, None], np.zeros(3), np.zeros(3), view.K, view.dist)
    assert geometry.inside(folded[0], view).all()  # the polynomial alone would show it
    assert (crops.crop_maps(crop)[0] == crops.OUTSIDE).all()


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_projection_is_opencvs(dist):
    view = camera(1, dist)
    rays = np.random.default_rng(2).uniform([-300, -300, 700], [300, 300, 900], (200, 3))
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), view.K, view.dist)
    np.testing.assert_allclose(geometry.project((rays - view.t) @ view.R, view), expected[:, 0], atol=1e-8)


@pytest.mark.parametrize("place", np.linspace(0, 1, 9))
def test_the_border_tells_whether_all_of_a_crop_is_seen(place):
    """The short cut of `crop_maps` against every pixel's own ray, for crops that slide out of the frame."""
    view = camera(2)
    pixel = np.array([[320, 240]]) + place * np.array([[330, 60]])
    ray = np.append(geometry.undistort(pixel, view)[0], 1.0)
    crop = crops.virtual_crop(view, view.centre + 900 * ray @ view.R, SIDE, SIZE)
    grid = np.stack([*np.meshgrid(np.arange(SIZE), np.arange(SIZE)), np.ones((SIZE, SIZE))], -1).reshape(-1, 3)
    pixels = geometry.project(grid @ np.linalg.inv(crop.K).T @ crop.R_virtual @ view.R + view.centre, view)
    maps = crops.crop_maps(crop)
    assert np.array_equal((maps[0] > crops.OUTSIDE).ravel(), geometry.inside(pixels, view))


@pytest.mark.parametrize("mirrored", [False, True])
def test_one_view_turned_is_the_other(mirrored):
    joints = hand(4)
    crops = [crop_of(camera(seed), joints, mirrored) for seed in range(3)]
    for source, target in itertools.permutations(crops, 2):
        rotation = target.rotation @ source.rotation.T
        assert np.linalg.det(rotation) == pytest.approx(1)
        turned = crop_truth.pose_in_crop(joints, source) @ rotation.T
        np.testing.assert_allclose(turned, crop_truth.pose_in_crop(joints, target), atol=1e-9)


def test_pose_is_what_the_virtual_camera_measures():
    joints, view = hand(5), camera(5)
    crop = crop_of(view, joints)
    pose = crop_truth.pose_in_crop(joints, crop)
    np.testing.assert_allclose(pose[skeleton.ROOT], 0)
    bones = joints[:, None] - joints[None]
    np.testing.assert_allclose(np.linalg.norm(pose[:, None] - pose[None], axis=-1), np.linalg.norm(bones, axis=-1))
    # Added to the wrist's own place in the camera frame, the pose is seen where the joints are.
    wrist = crop.R_virtual @ (view.R @ joints[0] + view.t)
    pixels = (pose + wrist) @ crop.K.T
    np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], crop_truth.project_in_crop(joints, crop), atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_intrinsics_and_centre_alone_project(mirrored):
    joints = hand(6)
    crop = crop_of(camera(6), joints, mirrored)
    world = joints @ MIRROR if mirrored else joints  # records of left hands hold the mirrored world
    local = (world - crop.centre) @ crop.rotation.T @ crop.K.T
    np.testing.assert_allclose(local[:, :2] / local[:, 2:], crop_truth.project_in_crop(joints, crop), atol=1e-9)


def test_a_mirrored_crop_is_the_flipped_crop_of_the_mirrored_hand():
    joints = hand(7)
    plain, mirrored = (crop_of(camera(7), joints, flag) for flag in (False, True))
    np.testing.assert_allclose(mirrored.rotation, MIRROR @ plain.rotation @ MIRROR)
    np.testing.assert_allclose(
        crop_truth.pose_in_crop(joints, mirrored), crop_truth.pose_in_crop(joints, plain) @ MIRROR, atol=1e-9
    )
    for flipped, straight in zip(crops.crop_maps(mirrored), crops.crop_maps(plain), strict=True):
        np.testing.assert_array_equal(flipped, straight[:, ::-1])
    pixels = crop_truth.project_in_crop(joints, plain)
    pixels[:, 0] = SIZE - 1 - pixels[:, 0]
    np.testing.assert_allclose(crop_truth.project_in_crop(joints, mirrored), pixels)
    np.testing.assert_allclose(geometry.mirror_joints(geometry.mirror_joints(joints)), joints)


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
def test_in_plane_is_opencvs_clockwise_rotation(degrees):
    K = crops.intrinsics(300.0, SIZE)
    centre = ((SIZE - 1) / 2,) * 2
    expected = np.vstack([cv2.getRotationMatrix2D(centre, -degrees, 1.0), [0, 0, 1]])
    Z = geometry.in_plane(degrees)
    np.testing.assert_allclose(K @ Z @ np.linalg.inv(K), expected, atol=1e-9)
    np.testing.assert_allclose(Z, Rotation.from_euler("z", degrees, degrees=True).as_matrix(), atol=1e-12)


def test_a_quarter_turn_moves_what_is_right_to_the_bottom():
    np.testing.assert_allclose(geometry.in_plane(90) @ [1, 0, 5], [0, 1, 5], atol=1e-12)


# --- crops from 2D boxes --------------------------------------------------------------------------------------------


def test_box_crop_on_the_axis_is_a_plain_cut():
    view = dataclasses.replace(camera(dist=np.zeros(5)), K=np.array([[400.0, 0, 320], [0, 400.0, 240], [0, 0, 1]]))
    # 41 x 21 px about the principal point; a margin of 1.5 makes the crop 61.5 px wide.
    crop = crops.box_crop(view, (300, 230, 41, 21), SIZE, margin=1.5)
    np.testing.assert_allclose(crop.rotation, view.R, atol=1e-12)
    map_x, map_y = crops.crop_maps(crop)
    steps = (np.arange(SIZE) - (SIZE - 1) / 2) * 61.5 / SIZE
    np.testing.assert_allclose(map_x, np.tile(320 + steps, (SIZE, 1)), atol=1e-3)
    np.testing.assert_allclose(map_y, np.tile(240 + steps[:, None], (1, SIZE)), atol=1e-3)


@pytest.mark.parametrize("mirrored", [False, True])
def test_box_crop_looks_through_the_middle_of_the_box(mirrored):
    view = camera(1)
    for x, y in ((20, 30), (500, 350), (250, 10)):
        crop = crops.box_crop(view, (x, y, 61, 41), 65, mirrored=mirrored)
        middle = [m[32, 32] for m in crops.crop_maps(crop)]
        np.testing.assert_allclose(middle, [x + 30, y + 20], atol=1e-2)


def test_box_crop_agrees_with_the_virtual_crop_of_the_same_extent():
    view, centre = camera(2, DISTORTIONS["none"]), np.array([80.0, -60, 30])
    crop = crops.virtual_crop(view, centre, SIDE, SIZE)
    middle = geometry.project(centre[None], view)[0]
    depth = (view.R @ centre + view.t)[2]
    extent = SIDE / depth * np.sqrt(view.K[0, 0] * view.K[1, 1])  # px, of SIDE mm at the centre's depth
    width, height = extent, extent / 3
    box = (middle[0] - (width - 1) / 2, middle[1] - (height - 1) / 2, width, height)
    found = crops.box_crop(view, box, SIZE)
    np.testing.assert_allclose(found.K, crop.K, rtol=1e-9)
    np.testing.assert_allclose(found.rotation, crop.rotation, atol=1e-9)
