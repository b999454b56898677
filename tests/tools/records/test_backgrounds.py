"""Backgrounds: hands are left out of the median, and what it is computed from is spread and bounded."""

import types

import numpy as np
import pytest
import tiny_dump

from hand_tf.core import geometry
from tfrecords_tools.records import backgrounds


def test_a_resting_hand_leaves_no_ghost_in_the_background():
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 120, (100, 70, 3), dtype=np.uint8)
    images, rectangles = [], []
    for frame in range(30):
        image, x = scene.copy(), 10 if frame < 19 else 45  # rests on the left for most of the time
        image[20:90, x : x + 12] = 250
        images.append(image)
        rectangles.append([(x - 2, 18, x + 14, 92)])
    background, fallback = backgrounds.masked_median(images, rectangles)
    assert np.array_equal(background, scene) and fallback == 0
    assert not np.array_equal(backgrounds.masked_median(images, [[]] * 30)[0], scene)


def test_pixels_that_hands_nearly_always_hide_get_the_plain_median():
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (80, 9, 3), dtype=np.uint8) for _ in range(15)]
    rectangles = [[(2, 3, 6, 70)] if frame < 6 else [] for frame in range(15)]  # 9 free frames: one too few
    background, fallback = backgrounds.masked_median(images, rectangles)
    assert fallback == 4 * 67
    np.testing.assert_array_equal(background, np.median(images, 0))


@pytest.mark.parametrize("count", [11, 12, 40])
def test_the_background_is_the_middle_of_what_no_hand_hides(count):
    rng = np.random.default_rng(count)
    images = [rng.integers(0, 256, (31, 23, 3), dtype=np.uint8) for _ in range(count)]
    corners = [np.sort(rng.integers(0, 23, (2, 2, 2)), axis=1) for _ in range(count)]
    rectangles = [[(*low, *high) for low, high in pair.tolist()] for pair in corners]
    background, fallback = backgrounds.masked_median(images, rectangles)
    fallen = 0
    for y, x in np.ndindex(31, 23):
        free = [n for n, r in enumerate(rectangles) if not any(a <= x < c and b <= y < d for a, b, c, d in r)]
        fallen += len(free) < backgrounds.MIN_FREE
        free = range(count) if len(free) < backgrounds.MIN_FREE else free
        values = np.sort([images[n][y, x] for n in free], axis=0)
        np.testing.assert_array_equal(background[y, x], values[(len(values) - 1) // 2])
    assert fallback == fallen


def test_rectangles_shift_into_a_part_of_the_picture():
    found = backgrounds.shift([(0, 0, 10, 10), (5, 8, 30, 40), (20, 0, 30, 5)], (4, 6, 20, 30))
    assert found == [(0, 0, 6, 4), (1, 2, 16, 24)]


def test_hand_rectangles_hold_the_hand_and_stay_in_the_picture():
    camera = tiny_dump.cameras()[0]
    for shift in (0, np.array([150, 60, 0])):
        joints = tiny_dump.joints_at(0, "right") + shift
        ((x0, y0, x1, y1),) = backgrounds.hand_rectangles(camera, [(joints, np.ones(21, bool))], [])
        pixels = geometry.project(joints, camera)
        seen = pixels[geometry.inside(pixels, camera)]
        assert (seen > [x0, y0]).all() and (seen < [x1, y1]).all()
        assert x0 >= 0 and y0 >= 0 and x1 <= camera.width and y1 <= camera.height
    assert backgrounds.hand_rectangles(camera, [(joints, np.zeros(21, bool))], []) == []
    assert backgrounds.hand_rectangles(camera, [], [np.array([100.0, 50, 40, 20])]) == [(90, 40, 150, 80)]


def test_background_samples_are_spread_and_bounded():
    small, large = types.SimpleNamespace(width=64, height=64), types.SimpleNamespace(width=1920, height=1080)
    assert backgrounds.sample_frames([5, 1, 9], small) == [1, 5, 9]
    picks = backgrounds.sample_frames(range(100, 5000), small)
    assert len(picks) == backgrounds.MAX_SAMPLES and picks[0] == 100 and picks[-1] == 4999
    assert np.ptp(np.diff(picks)) <= 1
    assert 30 < len(backgrounds.sample_frames(range(5000), large)) < 70


def test_a_cached_background_comes_back_and_a_damaged_one_does_not(tmp_path):
    path = tmp_path / "pose1" / "00_00.png"
    assert backgrounds.load(path) is None
    background = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    backgrounds.save(path, background, {"frames": 7, "plain_median_share": 0.25})
    found, statistics = backgrounds.load(path)
    np.testing.assert_array_equal(found, background)
    assert statistics == {"frames": 7, "plain_median_share": 0.25}
    path.write_bytes(path.read_bytes()[:100])
    assert backgrounds.load(path) is None
