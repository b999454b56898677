"""Cameras: projection, distortion, triangulation and the rotations of virtual cameras, against written-out formulas."""

import itertools

import cv2
import numpy as np
import pytest
from random_views import DISTORTIONS, camera, hand
from scipy.spatial.transform import Rotation

from hand_tf.core import crops, geometry

SIZE = 64


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


@pytest.mark.parametrize("dist", DISTORTIONS.values(), ids=DISTORTIONS)
def test_projection_is_opencvs(dist):
    view = camera(1, dist)
    rays = np.random.default_rng(2).uniform([-300, -300, 700], [300, 300, 900], (200, 3))
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), view.K, view.dist)
    np.testing.assert_allclose(geometry.project((rays - view.t) @ view.R, view), expected[:, 0], atol=1e-8)


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
