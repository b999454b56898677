"""Crops of instants: every joint lies where the crop shows it, and one rotation turns a view into another."""

import itertools

import crop_truth
import cv2
import numpy as np
import pytest
import tiny_dump

from hand_tf.core import crops, images
from tfrecords_tools.dump import panoptic
from tfrecords_tools.dump.skipped import Skipped
from tfrecords_tools.records import crop_views

MARGIN = 1.3


def instant(joints, side, accepted=None, cameras=None):
    accepted = np.ones(21, bool) if accepted is None else accepted
    centre = joints[accepted].mean(0)
    radius = np.linalg.norm(joints[accepted] - centre, axis=1).max()
    return panoptic.HandInstant("pose1", "S0", 0, 0, side, joints, accepted, centre, radius, cameras)


def centroid(image, colour):
    """The centre [2] of what has `colour`, weighted by how much of it a pixel has."""
    # The scene is grey: chroma is the marker's share of a pixel, anti-aliased edges included.
    chroma = image.astype(float) - image.min(2, keepdims=True)
    colour = np.asarray(colour, float)
    share = (chroma @ (colour / (colour @ colour))).clip(0)
    others = chroma[..., colour == 0].max(-1) if (colour == 0).any() else 0
    share = np.where((share > 0.15) & (others < 30), share, 0)
    # Red is also in yellow and magenta: those have another channel as high.
    high = chroma[..., colour > 0]
    share = np.where(high.min(-1) > 0.6 * high.max(-1), share, 0)
    y, x = np.mgrid[: len(image), : len(image)]
    return np.array([(share * x).sum(), (share * y).sum()]) / share.sum()


@pytest.mark.parametrize(("side", "size"), [*itertools.product(("right", "left"), (64, 128, 200))])
def test_markers_appear_where_joints_project(side, size):
    for camera, frame in itertools.product(tiny_dump.cameras(), (0, 5)):
        joints = tiny_dump.joints_at(frame, side)
        crop = crop_views.crop_of(instant(joints, side), camera, MARGIN, size)
        image = crops.render(tiny_dump.picture(camera, [joints]), crops.sampling_maps(crop), size)
        pixels = crop_truth.project_in_crop(joints, crop)
        assert ((pixels > 0) & (pixels < size - 1)).all()
        for joint, colour in tiny_dump.MARKERS.items():
            assert np.linalg.norm(centroid(image, colour) - pixels[joint]) < 0.5, (camera.name, frame, joint)


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_view_turned_is_the_other(side):
    hand = instant(tiny_dump.joints_at(3, side), side)
    views = [crop_views.crop_of(hand, camera, MARGIN, 128) for camera in tiny_dump.cameras()]
    for source, target in itertools.permutations(views, 2):
        rotation = target.rotation @ source.rotation.T
        turned = crop_truth.pose_in_crop(hand.joints, source) @ rotation.T
        np.testing.assert_allclose(turned, crop_truth.pose_in_crop(hand.joints, target), atol=1e-3)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_all_views_show_one_metric_side():
    hand = instant(tiny_dump.joints_at(1, "right"), "right")
    for camera in tiny_dump.cameras():
        crop = crop_views.crop_of(hand, camera, MARGIN, 128)
        distance = np.linalg.norm(camera.centre - hand.centre)
        assert 128 * distance / crop.K[0, 0] == pytest.approx(2 * MARGIN * hand.radius)
        np.testing.assert_allclose(crop_truth.project_in_crop(hand.centre[None], crop)[0], 63.5)


def test_image_and_background_go_through_one_map():
    camera, joints = tiny_dump.cameras()[0], tiny_dump.joints_at(0, "left")
    crop = crop_views.crop_of(instant(joints, "left"), camera, MARGIN, 128)
    maps = crops.sampling_maps(crop)
    image, scene = (
        crops.render(picture, maps, 128) for picture in (tiny_dump.picture(camera, [joints]), tiny_dump.scene(camera))
    )
    pixels = crop_truth.project_in_crop(joints[list(tiny_dump.MARKERS)], crop)
    y, x = np.mgrid[:128, :128]
    distance = np.hypot(x[..., None] - pixels[:, 0], y[..., None] - pixels[:, 1]).min(-1)
    differs = (image != scene).any(-1)
    assert differs[distance < 3].all() and not differs[distance > 12].any()


def test_large_pictures_are_averaged_not_aliased():
    camera = tiny_dump.cameras()[1]
    crop = crop_views.crop_of(instant(tiny_dump.joints_at(0, "right"), "right"), camera, MARGIN, 48)
    checks = np.indices((tiny_dump.HEIGHT, tiny_dump.WIDTH)).sum(0) % 2 * 255
    checks = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    spread = crops.render(checks, crops.sampling_maps(crop), 48).std()
    assert spread < 0.5 * crops.render(checks, crops.crop_maps(crop), 48).std()


def plan(hands, camera=None):
    skipped = Skipped()
    views = crop_views.plan_views(hands, camera or tiny_dump.cameras()[1], MARGIN, 64, skipped)
    return views, skipped.counts


def test_views_that_the_hand_leaves_are_dropped():
    joints = tiny_dump.joints_at(0, "right")
    views, counts = plan([instant(joints, "right"), instant(joints + np.array([400, 0, 0]), "right")])
    assert [i for i, _ in views] == [0] and counts == {"views: a joint leaves the frame": 1}
    assert plan([instant(joints - [0, 0, 2000], "right")])[1] == {
        "views: hand behind the camera or nearer than the crop is wide": 1
    }
    assert plan([instant(joints - [130, 0, 550], "right")])[1] == {
        "views: hand behind the camera or nearer than the crop is wide": 1
    }
    # A joint that was not accepted may be anywhere.
    stray, accepted = joints.copy(), np.arange(21) != 20
    stray[20] += 5000
    assert len(plan([instant(stray, "right", accepted)])[0]) == 1
    assert plan([instant(joints, "right", cameras=("00_00", "00_02"))]) == ([], {})
    assert plan([]) == ([], {})


def test_coverage_is_the_share_inside_the_frame():
    camera = tiny_dump.cameras()[1]
    position = camera.centre + 700 * camera.R.T @ [0, 0, 1.0]
    whole = crops.virtual_crop(camera, position, 200.0, 32)
    assert crop_views.coverage(crops.crop_maps(whole)) == 1
    edge = (0 - camera.K[0, 2]) / camera.K[0, 0] * 700  # the frame's left border at that depth, but for distortion
    half = crops.virtual_crop(camera, position + edge * camera.R.T @ [1.0, 0, 0], 200.0, 32)
    assert crop_views.coverage(crops.crop_maps(half)) == pytest.approx(0.5, abs=0.1)


def test_jpeg_of_a_crop_keeps_its_colours():
    image = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(crop_views.encode(image, 95), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - image).max() < 6


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_window_of_all_crops_holds_every_pixel_they_sample(side):
    moves = [np.array(move) for move in ((0, 0, 0), (60, 20, 30), (-90, 30, -60), (170, 0, 40))]
    hands = [instant(tiny_dump.joints_at(0, side) + move, side) for move in moves]
    for camera in tiny_dump.cameras():
        views = [(i, crop_views.crop_of(hand, camera, MARGIN, 64)) for i, hand in enumerate(hands)]
        border = crop_views.borders(views, camera)
        left, top, right, bottom = crop_views.window_of(border, camera)
        for (_, crop), points in zip(views, border, strict=True):
            x, y = crops.sampling_maps(crop)
            seen = x > crops.OUTSIDE
            # A pixel on the very border is a blend with what lies outside of the frame.
            low, high = np.floor([x[seen], y[seen]]), np.ceil([x[seen], y[seen]])
            assert (low.max(1) < [right, bottom]).all() and (high.min(1) >= [left, top]).all()
            if seen.all():
                assert np.abs(points.min(0) - [x.min(), y.min()]).max() < 3
                assert np.abs(points.max(0) - [x.max(), y.max()]).max() < 3
                for one, other in zip(crops.crop_maps(crop), crops.crop_maps(crop, whole=True), strict=True):
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [32, 96])
def test_a_crop_of_a_part_is_that_of_the_whole_picture(size):
    """At 32 px the maps are finer than the crop."""
    for camera in tiny_dump.cameras():
        picture = images.Image(tiny_dump.scene(camera))
        for move in ((0, 0, 0), (60, 20, 30), (-90, 30, -60), (170, 0, 40)):
            crop = crop_views.crop_of(instant(tiny_dump.joints_at(0, "left") + move, "left"), camera, MARGIN, size)
            window = crop_views.window_of(crop_views.borders([(0, crop)], camera), camera)
            part = crops.render(picture.part(window), crop_views.window_maps(crop, False, window), size)
            np.testing.assert_array_equal(part, crops.render(picture.whole(), crops.sampling_maps(crop), size))
