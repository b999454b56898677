"""The dome's rigs: valid cameras that see the hands, Panoptic's statistics, calibration files, subsets, errors."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tiny_dump

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import rig

REAL = pathlib.Path(__file__).resolve().parents[4] / "shared/data/panoptic_calibration/calibration_160906_band2.json"
FULL = (1920, 1080)


def seen_from(point, cameras):
    """Elevation, heading (degrees), distance, axis' distance (mm) and roll (degrees) of each camera, [n, 5]."""
    rows = []
    for camera in cameras:
        away, z = camera.centre - point, camera.R[2]
        n = np.linalg.norm(away)
        level = np.cross([0, 1, 0], z)  # the picture's x axis without roll
        level /= np.linalg.norm(level)
        roll = np.degrees(np.arctan2(camera.R[0] @ np.cross(z, level), camera.R[0] @ level))
        heading = np.degrees(np.arctan2(away[2], away[0])) % 360
        rows.append((np.degrees(np.arcsin(-away[1] / n)), heading, n, np.linalg.norm(np.cross(z, away)), roll))
    return np.array(rows)


@pytest.mark.parametrize("name", rig.RIGS)
@pytest.mark.parametrize(("size", "reach"), [((128, 128), 245.0), ((320, 180), 370.0), (FULL, rig.FULL_REACH)])
def test_cameras_are_valid_and_show_the_hands(name, size, reach):
    for sequence in range(3):
        centre, cameras = rig.make_cameras(name, 4, sequence, size, reach)
        assert [camera.name for camera in cameras] == [f"00_{k:02d}" for k in range(len(cameras))]
        for camera in cameras:
            np.testing.assert_allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(camera.R) == pytest.approx(1) and (camera.width, camera.height) == size
            corners = (np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size - 0.5 - camera.K[:2, 2]) / camera.K[
                [0, 1], [0, 1]
            ]
            # The frame's corners are where the polynomial still rises, by a margin.
            assert np.linalg.norm(corners, axis=1).max() < camera.max_radius
            again = np.column_stack([geometry.undistort([[0, 0], np.array(size) - 1], camera), [1, 1]])
            back = geometry.project((again - camera.t) @ camera.R, camera)
            np.testing.assert_allclose(back, [[0, 0], np.array(size) - 1], atol=1e-3)
            # Hands move within a sphere; at a small reach it all but fills the frame.
            ring = np.linspace(0, 2 * np.pi, 24)[:, None]
            sphere = centre + 0.85 * min(reach, 370) * (np.cos(ring) * camera.R[0] + np.sin(ring) * camera.R[1])
            assert geometry.inside(geometry.project(sphere, camera), camera).all()


def test_reach_sets_the_scale_and_sequences_differ_a_little():
    _, near = rig.make_cameras("panoptic31", 0, 0, (256, 256), 245.0)
    _, far = rig.make_cameras("panoptic31", 0, 0, (256, 256), 490.0)
    _, other = rig.make_cameras("panoptic31", 0, 1, (256, 256), 245.0)
    ratio = np.array([a.K[0, 0] / b.K[0, 0] for a, b in zip(near, far, strict=True)])
    assert np.median(ratio) == pytest.approx(2, rel=0.02)
    moved = [np.linalg.norm(a.centre - b.centre) for a, b in zip(near, other, strict=True)]
    assert min(moved) > 0 and max(moved) < 250  # the centre wanders too
    again = rig.make_cameras("panoptic31", 0, 0, (256, 256), 245.0)[1]
    assert all(np.array_equal(a.K, b.K) and np.array_equal(a.t, b.t) for a, b in zip(near, again, strict=True))


def test_ring_goes_all_around_at_all_elevations():
    for n in (2, 5, 8, 16):
        centre, cameras = rig.make_cameras("ring8", 1, 2, (64, 64), 245.0, n)
        elevation, heading, distance, *_ = seen_from(centre, cameras).T
        assert len(cameras) == n and distance.min() > 1499 and distance.max() < 2001
        assert elevation.min() >= -10.01 and elevation.max() <= 60.01
        gaps = np.diff(np.sort(np.append(heading, heading.min() + 360)))
        assert gaps.max() < 1.65 * 360 / n
        assert np.all(np.histogram(elevation, np.linspace(-10, 60, n + 1))[0] == 1)


def test_panoptic_statistics_lie_in_the_real_ones_ranges():
    if not REAL.is_file():
        pytest.skip(f"no real calibration file {REAL}")
    focus, real = rig.make_cameras(None, 0, 0, FULL, None, calibration=REAL)
    there = seen_from(focus, real)
    for seed in range(3):
        _, cameras = rig.make_cameras("panoptic31", seed, 1, FULL, rig.FULL_REACH)
        here = seen_from(rig.meeting_point(cameras), cameras)
        # Five-fold rows: sorted elevations agree within a degree or so.
        np.testing.assert_allclose(np.sort(here[:, 0]), np.sort(there[:, 0]), atol=3.0)
        assert abs(np.mean(np.sort(here[:, 0]) - np.sort(there[:, 0]))) < 1.0
        gaps = [np.diff(np.sort(np.append(h, h.min() + 360))).max() for h in (here[:, 1], there[:, 1])]
        assert gaps[0] < 1.3 * gaps[1]
        for column, slack in ((2, 60), (3, 90), (4, 3)):  # distance, miss, roll
            assert there[:, column].min() - slack < here[:, column].min()
            assert here[:, column].max() < there[:, column].max() + slack
        assert abs(np.median(here[:, 3]) - np.median(there[:, 3])) < 60 and 1.5 < here[:, 4].std() < 4.5
        for value, slack in (
            (lambda c: c.K[0, 0], 5), (lambda c: c.K[1, 1] / c.K[0, 0], 1e-3), (lambda c: c.K[0, 2], 10),
            (lambda c: c.K[1, 2], 10), (lambda c: c.dist[0], 0.01), (lambda c: c.dist[1], 0.02),
            (lambda c: c.dist[2], 1e-3), (lambda c: c.dist[3], 1e-3), (lambda c: c.dist[4], 0.03),
        ):  # fmt: skip
            ours, theirs = np.array([value(c) for c in cameras]), np.array([value(c) for c in real])
            assert theirs.min() - slack <= ours.min() and ours.max() <= theirs.max() + slack
            assert theirs.min() <= np.median(ours) <= theirs.max()
        wide = np.mean([c.K[0, 0] < 1410 for c in cameras]), np.mean([c.K[0, 0] < 1410 for c in real])
        assert abs(wide[0] - wide[1]) < 0.15


@pytest.mark.parametrize("n", [2, 4, 10, 20])
def test_part_of_the_dome_is_spread_evenly(n):
    centre, cameras = rig.make_cameras("panoptic31", 0, 0, (64, 64), 245.0, n)
    away = np.array([c.centre - centre for c in cameras])
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    closest = np.degrees(np.arccos(np.clip((away @ away.T - 2 * np.eye(n)).max(1), -1, 1)))
    assert len(cameras) == n and cameras[-1].name == f"00_{n - 1:02d}"
    everything = rig.make_cameras("panoptic31", 0, 0, (64, 64), 245.0)[1]
    whole = {tuple(c.t) for c in everything}
    assert {tuple(c.t) for c in cameras} <= whole
    # Far better than chance: 4 pi / n steradians each.
    assert closest.min() > 0.4 * np.degrees(np.sqrt(2 * np.pi / n)) * 0.9


def test_cameras_in_one_place_are_taken_once_each():
    away = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert rig.spread(away, 3) == [0, 1, 3]  # others first
    for n in (4, 5):
        assert len(set(rig.spread(away, n))) == n
    assert rig.spread(away, 5) == [0, 1, 2, 3, 4]


def write(path, cameras):
    path.write_text(json.dumps({"cameras": [tiny_dump.calibration_entry(camera) for camera in cameras]}))
    return path


def test_calibration_file_is_taken_as_it_is(tmp_path):
    cameras = tiny_dump.cameras()
    path = write(tmp_path / "any_name.json", cameras)
    centre, same = rig.make_cameras("ring8", 0, 0, (tiny_dump.WIDTH, tiny_dump.HEIGHT), None, calibration=path)
    half = (tiny_dump.WIDTH // 2, tiny_dump.HEIGHT // 2)
    _, small = rig.make_cameras(None, 5, 9, half, None, calibration=path)
    assert np.linalg.norm(centre) < 60  # they look at the origin
    points = np.random.default_rng(0).uniform(-80, 80, (20, 3))
    for camera, one, other in zip(cameras, same, small, strict=True):
        assert camera.name == one.name == other.name and (other.width, other.height) == half
        expected = geometry.project(points, camera)
        np.testing.assert_allclose(geometry.project(points, one), expected, atol=1e-6)
        # Pixel (0, 0) of the small picture averages (0, 0) .. (1, 1): its centre is at 1/2.
        np.testing.assert_allclose(geometry.project(points, other), (expected - 0.5) / 2, atol=1e-6)
    _, two = rig.make_cameras(None, 0, 0, half, None, 2, calibration=path)
    assert [c.name for c in two] == ["00_00", "00_02"]  # the two farthest apart


def test_meeting_point_is_where_the_axes_meet():
    rng = np.random.default_rng(3)
    goal = np.array([100.0, -900.0, 40.0])
    cameras = []
    for k in range(4):
        R, t = rig.look_at(goal + rng.normal(0, 1500, 3), goal, 20.0 * k)
        cameras.append(geometry.Camera(str(k), 64, 64, np.diag([50.0, 50, 1]), np.zeros(5), R, t))
    np.testing.assert_allclose(rig.meeting_point(cameras), goal, atol=1e-6)


def test_impossible_rigs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'ring9': one of ring8, panoptic31"):
        rig.make_cameras("ring9", 0, 0, (64, 64), 245.0)
    for name, n in (("ring8", 1), ("ring8", -1), ("panoptic31", 32)):
        with pytest.raises(ValueError, match=f"{name}: 2 to .* not {n}"):
            rig.make_cameras(name, 0, 0, (64, 64), 245.0, n)
    path = write(tmp_path / "c.json", tiny_dump.cameras())
    with pytest.raises(ValueError, match=r"c\.json: camera 00_00 is 480x360"):
        rig.make_cameras(None, 0, 0, (256, 256), None, calibration=path)
    with pytest.raises(ValueError, match=r"c\.json: 2 to 3 cameras"):
        rig.make_cameras(None, 0, 0, (240, 180), None, 4, calibration=path)
    first = tiny_dump.cameras()[0]
    twice = [geometry.Camera(f"00_0{k}", 480, 360, first.K, first.dist, first.R, first.t + k) for k in range(2)]
    with pytest.raises(ValueError, match=r"d\.json: the optical axes are parallel"):
        rig.make_cameras(None, 0, 0, (240, 180), None, calibration=write(tmp_path / "d.json", twice))
    centre, cameras = rig.make_cameras("ring8", 0, 0, (64, 64), 245.0, 3)
    R, t = rig.look_at(cameras[0].centre, 2 * cameras[0].centre - centre, 0.0)
    cameras[0] = dataclasses.replace(cameras[0], R=R, t=t)
    with pytest.raises(ValueError, match=r"e\.json: camera 00_00 looks away"):
        rig.make_cameras(None, 0, 0, (64, 64), None, calibration=write(tmp_path / "e.json", cameras))
    with pytest.raises(FileNotFoundError):
        rig.make_cameras(None, 0, 0, (240, 180), None, calibration=tmp_path / "none.json")


def test_sensors_differ_within_bounds():
    sensors = rig.make_sensors(0, 1, 31)
    gains = np.array([sensor.gain for sensor in sensors])
    assert gains.shape == (31, 3) and gains.min() > 0.77 and gains.max() < 1.22 and gains.std(0).min() > 0.03
    assert all(0.3 <= s.blur <= 0.9 and 0.8 <= s.noise <= 2.5 and 78 <= s.jpeg_quality <= 97 for s in sensors)
    np.testing.assert_array_equal(gains[:5], [s.gain for s in rig.make_sensors(0, 1, 5)])
    assert not np.array_equal(gains[0], rig.make_sensors(0, 2, 1)[0].gain)
