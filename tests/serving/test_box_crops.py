"""Crops around boxes show what lies there, and poses laid over boxes follow the lens."""

import numpy as np
import tiny_dump

from hand_tf.core import crops, geometry
from hand_tf.serving import box_crops

SIZE = 32
WIDTH, HEIGHT = 160, 120
BOX = (40.0, 30.0, 50.0, 36.0)


def test_a_crop_shows_what_lies_at_its_place():
    """Colours are coordinates: each pixel of a crop must hold the place that the definition of the crop names."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    for size in (16, 64, 100):  # averaging 4 x 4 samples; nearly one to one; enlarging
        crop, rotation = box_crops.cut(image, BOX, size, 1.2)
        side, centre = 1.2 * 50, (40 + 49 / 2, 30 + 35 / 2)
        offset = (np.arange(size) - (size - 1) / 2) * side / size
        np.testing.assert_allclose(crop[..., 0], np.tile(centre[0] + offset, (size, 1)), atol=1.0)
        np.testing.assert_allclose(crop[..., 1].T, np.tile(centre[1] + offset, (size, 1)), atol=1.0)
        np.testing.assert_array_equal(rotation, np.eye(3))


def test_places_in_a_crop_are_places_in_the_picture():
    """Colours are coordinates again: what a pixel of the crop shows is where `to_picture` takes it."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    K = np.array([[150.0, 0, (WIDTH - 1) / 2], [0, 150, (HEIGHT - 1) / 2], [0, 0, 1]])
    lens = geometry.Camera("", WIDTH, HEIGHT, K, np.array([-0.2, 0.05, 0.001, 0, 0]), np.eye(3), np.zeros(3))
    places = np.stack(np.meshgrid(np.arange(4, 60), np.arange(4, 60)), -1).reshape(-1, 2)
    for camera, box in ((None, BOX), (lens, BOX), (lens, (95.0, 60.0, 30.0, 40.0))):
        crop, _ = box_crops.cut(image, box, 64, 1.2, camera)
        found = box_crops.to_picture(places, box, 64, 1.2, camera)
        np.testing.assert_allclose(found, crop[places[:, 1], places[:, 0], :2], atol=1.0)
        assert np.ptp(found, axis=0).min() > 25


def test_large_pictures_do_not_alias():
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 254
    for camera in (None, geometry.Camera("", 320, 320, np.diag([900.0, 900, 1]), np.zeros(5), np.eye(3), np.zeros(3))):
        crop, _ = box_crops.cut(stripes, (60.0, 60.0, 192.0, 192.0), SIZE, 1.0, camera)
        assert np.abs(crop.astype(int) - 127).max() < 30


def test_a_pose_over_a_box_follows_the_lens():
    """The mapped skeleton is the projection of a small hand held at the box, up to scale and place."""
    K = np.array([[150, 0, (WIDTH - 1) / 2], [0, 150, (HEIGHT - 1) / 2], [0, 0, 1]])
    dist = np.array([-0.25, 0.1, 0.002, 0.001, 0])
    camera, box = geometry.Camera("", WIDTH, HEIGHT, K, dist, np.eye(3), np.zeros(3)), (110.0, 75.0, 20.0, 30.0)
    pose = tiny_dump.right_hand()
    crop = crops.box_crop(camera, box, SIZE)
    centre = crop.R_virtual.T @ [0, 0, 100_000.0]  # mm: so far away that perspective is weak
    pixels = geometry.project(pose @ crop.R_virtual + centre, camera)
    found = box_crops.lay_over_box(pose, box, camera, crop.R_virtual)
    scale = np.ptp(found, axis=0).max() / np.ptp(pixels, axis=0).max()
    np.testing.assert_allclose(found - found[0], (pixels - pixels[0]) * scale, atol=0.05)
