"""Each hand of a video is put together from the frames in which it was seen, and gaps stay gaps."""

import re
import tracemalloc

import full_disk
import numpy as np
import prediction_lines
import pytest
from prediction_lines import hand, none

from hand_tf.serving import trajectories


def found(lines, scratch, stride=1):
    """{video: {name: (trajectory, times, points)}}"""
    result = {}
    for video, each in trajectories.of_videos(lines, stride, scratch):
        result[video] = {}
        for trajectory in each:
            parts = list(trajectory.chunks(trajectory.start, trajectory.start + trajectory.length))
            times, points = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
            result[video][trajectory.name] = trajectory, times, points
    assert not list(scratch.iterdir())
    return result


def test_hands_are_told_apart_and_gaps_and_unknown_joints_are_nan(tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "_CHUNK", 3)
    lines = [none(0), hand(1, 0), hand(1, 4, "left"), hand(2, 4, "left"), none(3), none(4), none(5)]
    lines += [hand(6, 4, "left", unknown=[7]), hand(6, 5), none(7)]
    lines += [none(None, "photo.png"), hand(0, 0, file="b/other.mp4"), none(0, "empty.mp4")]
    videos = found(lines, tmp_path)
    assert {video: sorted(names) for video, names in videos.items()} == {
        "clip.mp4": ["left_4", "right_0", "right_5"],
        "b/other.mp4": ["right_0"],
    }
    trajectory, times, points = videos["clip.mp4"]["left_4"]
    assert (trajectory.start, trajectory.length) == (1, 6)
    assert trajectory.rate == pytest.approx(prediction_lines.FPS)
    np.testing.assert_allclose(times, np.arange(1, 7) / prediction_lines.FPS)
    for row, frame in enumerate(range(1, 7)):
        expected = prediction_lines.pose(frame, 4) if frame in (1, 2, 6) else np.full((21, 3), np.nan)
        if frame == 6:
            expected[7] = np.nan
        np.testing.assert_array_equal(points[row], expected)
    trajectory, _, points = videos["clip.mp4"]["right_5"]
    assert (trajectory.start, trajectory.length) == (6, 1)
    np.testing.assert_array_equal(points[0], prediction_lines.pose(6, 5))


def test_places_count_the_frames_that_were_looked_at_and_times_are_those_of_the_video(tmp_path):
    times = {0: 0.0, 3: 0.1, 6: 0.5}  # a camera that left frames out
    lines = [none(0), *(hand(frame, time=times[frame]) for frame in (3, 6))]
    trajectory, found_times, _ = found(lines, tmp_path, stride=3)["clip.mp4"]["right_0"]
    assert (trajectory.start, trajectory.length, trajectory.rate) == (1, 2, pytest.approx(2 / 0.5))
    np.testing.assert_allclose(found_times, [0.1, 0.5])


def test_a_video_without_times_goes_by_its_rate(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    path = tmp_path / "clip.avi"
    path.touch()
    monkeypatch.setattr(trajectories.video, "mean_rate", lambda file: {str(path): 50.0}[str(file)])
    lines = [hand(frame, file=str(path)).replace(f'"time_s": {frame / 25}', '"time_s": null') for frame in (0, 2, 4)]
    trajectory, times, _ = found(lines, tmp_path / "scratch", stride=2)[str(path)]["right_0"]
    assert trajectory.rate == 25.0
    np.testing.assert_allclose(times, [0, 0.04, 0.08])


def test_a_full_disk_is_said(tmp_path):
    with full_disk.limit(4_000), pytest.raises(OSError, match=re.escape(str(tmp_path))):
        found(map(hand, range(30)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_hold_the_video(tmp_path):
    def peak(frames):
        tracemalloc.start()
        for _, each in trajectories.of_videos(map(hand, range(frames)), 1, tmp_path):
            for trajectory in each:
                for _ in trajectory.chunks(0, frames):
                    pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # what is loaded on first use
    # A pose has 504 bytes; what grows are the indices of the hands.
    assert peak(6000) - peak(2000) < 4000 * 60
