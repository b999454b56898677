"""Virtual cameras: crops look at the hand, show it at one metric scale, and turn into each other by one rotation."""

import dataclasses
import itertools

import crop_truth
import cv2
import numpy as np
import pytest
from random_views import DISTORTIONS, camera, hand
from scipy.ndimage import map_coordinates

from hand_tf.core import crops, geometry, skeleton

SIZE, SIDE = 64, 220.0
MIRROR = np.diag([-1.0, 1.0, 1.0])


def crop_of(view, joints, mirrored=False):
    return crops.virtual_crop(view, joints.mean(0), SIDE, SIZE, mirrored)


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


# --- anti-aliasing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrink", [1, 2, 3, 4, 5, 6, 8])
def test_a_shrunk_crop_is_the_mean_of_all_pixels_that_it_spans(shrink):
    """A box about the principal point whose crop pixels are blocks of shrink x shrink pixels of the picture."""
    size = 16
    side = shrink * size
    picture = np.random.default_rng(shrink).integers(0, 256, (side + 6, side + 4, 3), dtype=np.uint8)
    height, width = picture.shape[:2]
    K = np.array([[500.0, 0, (width - 1) / 2], [0, 500.0, (height - 1) / 2], [0, 0, 1]])
    view = geometry.Camera("00_00", width, height, K, np.zeros(5), np.eye(3), np.zeros(3))
    crop = crops.box_crop(view, (2, 3, side, side), size)
    expected = picture[3:-3, 2:-2].reshape(size, shrink, size, shrink, 3).mean((1, 3))
    np.testing.assert_allclose(crops.render(picture, crops.sampling_maps(crop), size), expected, atol=0.51)


@pytest.mark.parametrize(
    ("shrink", "samples"), [(0.1, 1), (1.49, 1), (1.51, 2), (4.51, 5), (8.4, 8), (8.6, 8), (1000.0, 8)]
)
def test_samples_per_pixel_follow_the_shrink_up_to_a_limit(shrink, samples):
    assert crops.samples_per_pixel(shrink) == samples


def test_a_picture_that_is_wider_than_opencv_allows_is_cut_as_its_part_is():
    wide = np.random.default_rng(0).integers(0, 256, (40, crops.MAX_REMAP + 500, 3)).astype(np.uint8)
    y, x = np.mgrid[:24, :24].astype(np.float32)
    left = crops.MAX_REMAP + 400
    maps = 0.9 * x + left + 0.25, 1.1 * y + 3.5
    maps[0][5, 7] = maps[1][5, 7] = crops.OUTSIDE
    part = wide[:, left - 10 :]
    expected = crops.render(part, (np.where(maps[0] > 0, maps[0] - (left - 10), crops.OUTSIDE), maps[1]), 24)
    np.testing.assert_array_equal(crops.render(wide, maps, 24), expected)
    assert not expected[5, 7].any() and expected.std() > 20
    nowhere = (np.full_like(x, crops.OUTSIDE), np.full_like(x, crops.OUTSIDE))
    assert not crops.render(wide, nowhere, 24).any()
