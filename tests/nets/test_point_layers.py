"""Layers on the points: geometric identities."""

import numpy as np
import pytest
from keras import ops
from random_rotations import rotations
from scipy.spatial.transform import Rotation

from hand_tf.nets import point_layers


def test_rotate_points_follows_scipy(generator):
    points = generator.normal(size=(4, 9, 3)).astype("float32")
    turns = Rotation.random(4, rng=generator)
    rotated = ops.convert_to_numpy(point_layers.RotatePoints()([points, turns.as_matrix().astype("float32")]))
    for sample, turn, expected in zip(rotated, turns, points, strict=True):
        np.testing.assert_allclose(sample, turn.apply(expected), atol=1e-5)


def test_rotate_points_is_a_group_action(generator):
    rotate = point_layers.RotatePoints()
    points = generator.normal(size=(4, 9, 3)).astype("float32")
    first, second = rotations(generator, 4), rotations(generator, 4)
    one_by_one = rotate([rotate([points, first]), second])
    np.testing.assert_allclose(one_by_one, rotate([points, second @ first]), atol=1e-5)
    back = rotate([rotate([points, first]), first.swapaxes(1, 2)])
    np.testing.assert_allclose(back, points, atol=1e-5)


def test_rotate_points_keeps_lengths_and_angles(generator):
    points = generator.normal(size=(4, 9, 3)).astype("float32")
    rotated = ops.convert_to_numpy(point_layers.RotatePoints()([points, rotations(generator, 4)]))
    np.testing.assert_allclose(rotated @ rotated.swapaxes(1, 2), points @ points.swapaxes(1, 2), atol=1e-4)


def test_splatted_points_are_gaussians_where_the_points_are(generator):
    points = generator.uniform(-2, 2, (2, 3, 3)).astype("float32")
    maps = ops.convert_to_numpy(point_layers.SplatPoints(8, extent=2.0, sigma=1.5)(points))
    x, y = (points[..., axis] * 2 + 3.5 for axis in range(2))  # cells
    for sample, row, column, point in np.ndindex(2, 8, 8, 3):
        squared = (column - x[sample, point]) ** 2 + (row - y[sample, point]) ** 2
        dot = np.exp(-squared / (2 * 1.5**2))
        assert maps[sample, row, column, point] == pytest.approx(dot, abs=1e-5)
        assert maps[sample, row, column, 3 + point] == pytest.approx(dot * points[sample, point, 2], abs=1e-5)


def test_heat_at_one_cell_is_a_point_where_splatting_draws_it(generator):
    """Heat map to point and point to map are inverse: one cell's heat is drawn as a dot on that cell."""
    maps = np.full((3, 8, 8, 2), -50, "float32")
    cells, depths = [(1, 6), (3, 0), (7, 7)], generator.normal(size=3)
    for sample, ((row, column), depth) in enumerate(zip(cells, depths, strict=True)):
        maps[sample, row, column, 0] = 50
        maps[sample, ..., 1] = generator.normal(size=(8, 8))
        maps[sample, row, column, 1] = depth
    points = point_layers.HeatmapPoints(extent=2.0)(maps)
    np.testing.assert_allclose(ops.convert_to_numpy(points)[:, 0, 2], depths, atol=1e-5)
    drawn = ops.convert_to_numpy(point_layers.SplatPoints(8, extent=2.0, sigma=0.5)(points))[..., 0]
    assert [np.unravel_index(dot.argmax(), dot.shape) for dot in drawn] == cells
    np.testing.assert_allclose(drawn.max((1, 2)), 1, atol=1e-4)


def test_spread_heat_is_the_mean_place(generator):
    maps = generator.normal(size=(2, 4, 6, 6)).astype("float32")
    points = ops.convert_to_numpy(point_layers.HeatmapPoints(extent=1.0)(maps))
    x, y = (np.arange(6) + 0.5) / 3 - 1, (np.arange(4) + 0.5) / 2 - 1
    for sample, point in np.ndindex(2, 3):
        heat = np.exp(maps[sample, :, :, point])
        heat /= heat.sum()
        expected = [(heat * x).sum(), (heat * y[:, None]).sum(), (heat * maps[sample, :, :, 3 + point]).sum()]
        np.testing.assert_allclose(points[sample, point], expected, atol=1e-5)


def test_centred_and_normalised_points_turn_as_the_points_do(generator):
    points, turn = generator.normal(2, 1, (4, 9, 3)).astype("float32"), rotations(generator, 4)
    for layer in (point_layers.CentrePoints(), point_layers.NormalizePoints()):
        turned = ops.convert_to_numpy(layer(points)) @ turn.swapaxes(1, 2)
        np.testing.assert_allclose(layer(points @ turn.swapaxes(1, 2)), turned, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(point_layers.CentrePoints()(points)).mean(1), 0, atol=1e-5)


def test_dropped_points_lie_at_the_origin_and_the_others_stay(generator):
    points = generator.normal(size=(50, 40, 3)).astype("float32")
    layer = point_layers.DropPoints(0.3, seed=0)
    np.testing.assert_array_equal(layer(points), points)
    found = ops.convert_to_numpy(layer(points, training=True))
    dropped = (found == 0).all(-1)
    np.testing.assert_array_equal(found[~dropped], points[~dropped])
    assert 0.25 < dropped.mean() < 0.35


def test_partners_are_neighbours(generator):
    values = generator.normal(size=(6, 4)).astype("float32")
    np.testing.assert_array_equal(point_layers.SwapPartners()(values), values[[1, 0, 3, 2, 5, 4]])


def test_placed_points_are_those_of_the_crop_that_was_meant(generator):
    """A point at the hand's centre goes to the origin; a crop twice as wide shows everything half as large."""
    layer = point_layers.PlacePoints(extent=2.0)
    placement = np.float32([[0.25, -0.1, 2.0]])
    points = np.float32([[[1.0, -0.4, 0.0], [1.5, -0.4, 0.3]]])
    np.testing.assert_allclose(layer([points, placement]), [[[0, 0, 0], [1.0, 0, 0.6]]], atol=1e-6)
