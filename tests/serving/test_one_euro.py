"""The one-euro filter keeps what stands still, follows what is fast, and never looks across a gap."""

import dataclasses
import math
import pathlib

import cv2
import numpy as np
import pytest

from hand_tf.serving.estimator import HandPose
from hand_tf.serving.one_euro import BETA, MAX_GAP, MIN_CUTOFF, OneEuro, TrackSmoother
from hand_tf.serving.pictures import InputPicture

FPS = 30.0


def filtered(signal, fps=FPS, unit=1.0):
    """A signal [frames, n, d] at `fps`, filtered."""
    smooth = OneEuro()
    return np.array([smooth(points, frame / fps, unit) for frame, points in enumerate(signal)])


def frame_at(number, time, file="clip.mp4"):
    return InputPicture(pathlib.Path(file), number, np.zeros((9, 9, 3), np.uint8), [], time)


def hand_of(pose, track=0, box=(0.0, 0.0, 150.0, 100.0)):
    return HandPose(pose, pose[:, :2] + 100, box, "right", 0.9, track)


def test_a_hand_at_rest_stays_as_it_is():
    pose = np.random.default_rng(0).normal(0, 50, (21, 3))
    np.testing.assert_array_equal(filtered([pose] * 20), [pose] * 20)


def test_one_step_is_that_of_the_formula():
    """Casiez et al., CHI 2012, with r = 2 pi f dt: the weight of a low pass is r / (r + 1)."""
    smooth, step = OneEuro(min_cutoff=2.0, beta=0.03), 0.05
    np.testing.assert_array_equal(smooth(np.array([[1.0, 2.0]]), 0.0), [[1.0, 2.0]])
    r = 2 * math.pi * 1.0 * step
    speed = r / (r + 1) * math.hypot(3.0, 4.0) / step
    r = 2 * math.pi * (2.0 + 0.03 * speed) * step
    weight = r / (r + 1)
    np.testing.assert_allclose(smooth(np.array([[4.0, 6.0]]), step), [[1 + 3 * weight, 2 + 4 * weight]], rtol=1e-12)


@pytest.mark.parametrize("noise", [2.0, 5.0, 10.0])  # mm
def test_jitter_shrinks_by_half_or_more(noise):
    jitter = np.random.default_rng(1).normal(0, noise, (600, 21, 3))
    assert filtered(jitter)[60:].std() < 0.5 * noise


@pytest.mark.parametrize(("speed", "most_ms"), [(500.0, 50), (1000.0, 40)])  # mm/s
def test_fast_movements_lag_little(speed, most_ms):
    """A point that moves for 0.4 s is where it was at most so long before; a plain filter would be later."""
    times = np.arange(0, 2, 1 / FPS)
    path = np.zeros((len(times), 1, 3))
    path[:, 0, 0] = speed * np.clip(times - 0.5, 0, 0.4)
    lag = np.max(path - filtered(path)) / speed * 1000
    assert lag < most_ms < 1000 / (2 * math.pi * MIN_CUTOFF) / 3


def test_the_filter_turns_with_the_hand():
    turn = cv2.Rodrigues(np.array([0.4, -1.0, 0.7]))[0]
    path = np.cumsum(np.random.default_rng(2).normal(0, 8, (40, 21, 3)), axis=0)
    np.testing.assert_allclose(filtered(path @ turn), filtered(path) @ turn, atol=1e-9)


def test_joints_that_are_not_known_stay_so_and_hold_up_no_other():
    path = np.random.default_rng(3).normal(0, 8, (5, 4, 3))
    partly = path.copy()
    partly[:, 1], partly[2, 3] = np.nan, np.nan
    found = filtered(partly)
    np.testing.assert_array_equal(found[:, [0, 2]], filtered(path)[:, [0, 2]])
    assert np.isnan(found[:, 1]).all() and np.isnan(found[2, 3]).all()
    np.testing.assert_array_equal(found[3, 3], path[3, 3])  # it starts anew
    assert np.isfinite(found[4, 3]).all() and not np.array_equal(found[4, 3], path[4, 3])


def test_a_smoother_filters_poses_and_places_at_the_times_of_the_frames():
    poses = np.random.default_rng(4).normal(0, 50, (4, 21, 3))
    times = [0.0, 0.04, 0.2, 0.24]  # frames that were not looked at lie between
    smooth, pose_filter, place_filter = TrackSmoother(1.5, 0.01), OneEuro(1.5, 0.01), OneEuro(1.5, 0.01)
    for pose, time in zip(poses, times, strict=True):
        (hand,) = smooth(frame_at(round(time * 25), time), [hand_of(pose, box=(0, 0, 75, 50))])
        np.testing.assert_array_equal(hand.pose_mm, pose_filter(pose, time))
        np.testing.assert_array_equal(hand.joints_2d, place_filter(pose[:, :2] + 100, time, unit=2.0))
        assert (hand.box, hand.side, hand.score, hand.track) == ((0, 0, 75, 50), "right", 0.9, 0)


def test_the_size_of_the_picture_does_not_matter():
    places = np.cumsum(np.random.default_rng(5).normal(0, 8, (20, 21, 2)), axis=0)
    found = []
    for size in (1, 3):
        smooth, box = TrackSmoother(), (0, 0, 90.0 * size, 60.0 * size)
        hands = [HandPose(np.zeros((21, 3)), each * size, box, "left", None, 0) for each in places]
        found.append([smooth(frame_at(n, n / FPS), [hand])[0].joints_2d for n, hand in enumerate(hands)])
    np.testing.assert_allclose(np.array(found[0]) * 3, found[1], rtol=1e-9)


def test_it_starts_anew_after_a_gap_and_for_each_track_and_video():
    one, two, three = np.random.default_rng(6).normal(0, 50, (3, 21, 3))
    for time, track, file, anew in (
        (0.1, 0, "clip.mp4", False),
        (MAX_GAP, 0, "clip.mp4", False),
        (MAX_GAP + 0.01, 0, "clip.mp4", True),
        (0.0, 0, "clip.mp4", True),  # a damaged video, whose times do not rise
        (0.1, 1, "clip.mp4", True),
        (0.1, 0, "other.mp4", True),
    ):
        smooth = TrackSmoother()
        smooth(frame_at(0, 0.0), [hand_of(one)])
        (hand,) = smooth(frame_at(9, time, file), [hand_of(two, track)])
        assert np.array_equal(hand.pose_mm, two) == np.array_equal(hand.joints_2d, two[:, :2] + 100) == anew
    smooth = TrackSmoother()  # frames without the hand make the gap as well
    for number in range(30):
        hands = smooth(frame_at(number, number / FPS), [hand_of(one if number < 5 else three)] if number != 15 else [])
        assert len(hands) == (number != 15)
    smooth(frame_at(60, 60 / FPS), [])
    np.testing.assert_array_equal(smooth(frame_at(61, 61 / FPS), [hand_of(one)])[0].pose_mm, one)


def test_pictures_stay_as_they_are():
    smooth = TrackSmoother()
    for pose in np.random.default_rng(7).normal(0, 50, (3, 21, 3)):
        hand = dataclasses.replace(hand_of(pose), track=None)
        assert smooth(frame_at(None, None, "photo.png"), [hand])[0] is hand


def test_a_video_without_times_goes_by_its_rate(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for _ in range(3):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    smooth, expected = TrackSmoother(), OneEuro(MIN_CUTOFF, BETA)
    for number, pose in enumerate(np.random.default_rng(8).normal(0, 50, (3, 21, 3))):
        (hand,) = smooth(frame_at(number, None, path), [hand_of(pose)])
        np.testing.assert_allclose(hand.pose_mm, expected(pose, number / 10), rtol=1e-9)
