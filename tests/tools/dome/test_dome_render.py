"""Pictures of the dome agree with its cameras, whatever the lens, and light falls from one side."""

import collections

import cv2
import numpy as np
import pytest

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import render, rig, scenes

Sensor = collections.namedtuple("Sensor", "gain blur noise jpeg_quality")
PLAIN = Sensor(np.ones(3), 0.0, 0.0, 95)


def cameras(sequence=1, count=4, size=256):
    return rig.make_cameras("ring8", 3, sequence, (size, size), 245.0, count)


def view_of(camera, level=0, depth=1e5, sensor=PLAIN):
    shape = (camera.height, camera.width)
    scene, noise = np.full((*shape, 3), level, np.uint8), np.zeros((shape[0] + 9, shape[1] + 9, 3), np.int8)
    return scenes.View(camera, sensor, scene, np.full(shape, depth, np.float32), noise)


def marker(centre, radius=3.0, colour=1.0):
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    triangles = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return render.Mesh(centre + radius * corners, np.array(triangles, np.int32), np.full((6, 3), colour))


def joined(*meshes):
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    triangles = np.concatenate([mesh.triangles + o for mesh, o in zip(meshes, offsets, strict=True)])
    vertices, colours = (np.concatenate([mesh[i] for mesh in meshes]) for i in (0, 2))
    return render.Mesh(vertices, triangles.astype(np.int32), colours)


def middle(image):
    """Centre of brightness [2] px."""
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: len(image), : image.shape[1]]
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("supersample", [1, 2, 4])
def test_pictures_agree_with_the_cameras(supersample):
    centre, rigged = cameras()
    hits = 0
    for camera in rigged:
        assert np.abs(camera.K[:2, 2] - 127.5).max() > 0.3 and np.abs(camera.dist).max() > 0.03
        for point in centre + np.array([[150.0, 60, 0], [-150, -60, 0], [0, 100, 150], [0, 0, 0]]):
            expected = geometry.project(point[None], camera)[0]
            if not np.all((expected > 5) & (expected < 250)):
                continue
            depth = np.full((256, 256), 1e5)
            (x, y), _, coverage = render.layer(marker(point), camera, depth, (0, 0, 256, 256), supersample)
            assert np.linalg.norm(np.add(middle(coverage[..., None]), (x, y)) - expected) < 0.5
            hits += 1
    assert hits > 10


def test_marker_position_is_unbiased():
    camera = cameras()[1][0]
    rng, gaps = np.random.default_rng(0), []
    for _ in range(150):
        ray = np.append(geometry.undistort(rng.uniform(30, 220, (1, 2)), camera)[0], 1) * 1600
        point = camera.R.T @ (ray - camera.t)
        image = render.draw(view_of(camera), marker(point, 12.0))
        gaps.append(middle(image) - geometry.project(point[None], camera)[0])
    assert np.abs(np.mean(gaps, 0)).max() < 0.05


def test_blur_keeps_position_and_light():
    centre, (camera, *_) = cameras()
    sharp = render.draw(view_of(camera), marker(centre, 20.0)).astype(float)
    soft = render.draw(view_of(camera, sensor=PLAIN._replace(blur=0.8)), marker(centre, 20.0)).astype(float)
    np.testing.assert_allclose(middle(soft), middle(sharp), atol=0.1)
    assert soft.sum() == pytest.approx(sharp.sum(), rel=0.02)
    assert np.abs(np.diff(soft, axis=1)).max() < np.abs(np.diff(sharp, axis=1)).max()


def test_nearer_surface_hides_the_farther_one():
    camera = cameras()[1][0]
    axis = camera.R[2]
    near, far = marker(camera.centre + 1500 * axis, 20.0, 0.5), marker(camera.centre + 1700 * axis, 20.0)
    image = render.draw(view_of(camera), joined(far, near))
    u, v = np.rint(geometry.project((camera.centre + 1500 * axis)[None], camera)[0]).astype(int)
    assert image[v, u, 0] == 128


@pytest.mark.parametrize("depth, hidden", [(1400.0, True), (1600.0, False)])
def test_the_scene_hides_what_is_behind_it(depth, hidden):
    camera = cameras()[1][0]
    mesh = marker(camera.centre + 1500 * camera.R[2], 20.0)
    image = render.draw(view_of(camera, 7, depth), mesh)
    assert (image.max() == 7) == hidden


def test_a_window_shows_what_the_whole_picture_shows_there():
    centre, (camera, *_) = cameras()
    view = view_of(camera, 90, sensor=PLAIN._replace(blur=0.5))
    noise = np.random.default_rng(0).integers(-9, 9, view.noise.shape).astype(np.int8)
    mesh, view = joined(*(marker(np.add(centre, (x, 0, 0)), 30.0) for x in (-60, 0, 60))), view._replace(noise=noise)
    whole = render.draw(view, mesh, [5])
    left, top, width, height = window = (70, 90, 100, 80)
    part = render.draw(view, mesh, [5], window)
    assert np.array_equal(part[4:-4, 4:-4], whole[top + 4 : top + height - 4, left + 4 : left + width - 4])
    assert part.shape == (height, width, 3)


def test_drawing_leaves_the_rest_alone():
    camera = cameras()[1][0]
    view = view_of(camera, 33)
    mesh = marker(camera.centre + 1600 * camera.R[2])
    image = render.draw(view, mesh)
    assert np.all(view.scene == 33)
    rows, columns = np.nonzero(image[..., 0] != 33)
    assert 0 < len(rows) < 40 and np.ptp(rows) < 8 and np.ptp(columns) < 8
    for away in (900 * camera.R[0], -3000 * camera.R[2]):  # beside the frame, behind the camera
        assert np.all(render.draw(view, mesh._replace(vertices=mesh.vertices + away)) == 33)


def test_noise_is_the_sensors_and_changes_with_the_frame():
    camera = cameras()[1][0]
    noise = np.rint(np.random.default_rng(1).normal(0, 3, (300, 300, 3))).astype(np.int8)
    view = view_of(camera, 120)._replace(noise=noise)
    first, again, other = (render.draw(view, None, key).astype(int) for key in ([1, 2], [1, 2], [1, 3]))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.mean() == pytest.approx(120, abs=0.2) and first.std() == pytest.approx(3, abs=0.2)


def test_the_gain_is_the_cameras():
    camera = cameras()[1][0]
    gain = np.array([1.1, 0.9, 0.8])
    mesh = marker(camera.centre + 1600 * camera.R[2], 30.0, 0.5)
    image = render.draw(view_of(camera, sensor=PLAIN._replace(gain=gain)), mesh)
    np.testing.assert_allclose(image.reshape(-1, 3).max(0), 127.5 * gain, atol=1)


def sheet(height, size=60.0, steps=30):
    """A square sheet that faces up, `size` mm wide, with its normals."""
    grid = np.linspace(-size / 2, size / 2, steps)
    x, z = (each.ravel() for each in np.meshgrid(grid, grid))
    corner = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).ravel()
    squares = np.stack([corner, corner + 1, corner + steps, corner + steps + 1])
    triangles = np.concatenate([squares[[0, 1, 2]].T, squares[[1, 3, 2]].T])
    vertices = np.stack([x, np.full_like(x, -height), z], 1)
    a, b, c = vertices[triangles[0]]
    if np.cross(b - a, c - a)[1] > 0:
        triangles = triangles[:, ::-1]
    return vertices, np.tile(render.UP, (len(vertices), 1)), triangles.astype(np.int32)


def test_a_roof_casts_its_shadow_where_the_light_says():
    ground, up, below = sheet(0.0, 300.0, 80)
    roof, roof_up, above = sheet(80.0, 60.0, 12)
    key = np.array([0.6, -0.8, 0.0])
    light = render.Light(key, -key)
    vertices, normals = np.concatenate([ground, roof]), np.concatenate([up, roof_up])
    triangles = np.concatenate([below, above + len(ground)])
    lit = render.shadows(vertices, normals, triangles, light, slice(None))
    assert lit[len(ground) :].min() > 0.9  # the roof itself is lit
    dark = ground[lit[: len(ground)] < 0.5]
    # A point of the ground is dark where the ray towards the light meets the roof.
    hit = ground + key * (80.0 / 0.8)
    expected = ground[np.all(np.abs(hit[:, [0, 2]]) < 30, axis=1)]
    np.testing.assert_allclose(dark.mean(0), expected.mean(0), atol=4)
    assert len(dark) == pytest.approx(len(expected), rel=0.3)


def test_nothing_shades_itself_in_the_open():
    vertices, normals, triangles = sheet(0.0, 200.0, 40)
    for slope, least in ((0.1, 1), (0.5, 1), (0.9, 0.8)):  # grazing light may nibble at an edge
        key = np.array([slope, -np.sqrt(1 - slope**2), 0.0])
        lit = render.shadows(vertices, normals, triangles, render.Light(key, -key), slice(None))
        assert lit.min() >= np.float32(least)


def test_light_falls_from_the_key():
    light = render.make_light([900.0, -1500.0, 400.0])
    for direction in (light.key_direction, light.fill_direction):
        assert np.linalg.norm(direction) == pytest.approx(1) and direction @ render.UP > 0
    normals = np.array([light.key_direction, -light.key_direction])
    bright, dim = render.shade(normals, np.ones((2, 3)), light)
    assert np.all(bright > 1.5 * dim) and dim.min() > 0.2
    shaded = render.shade(normals[:1], np.ones((1, 3)), light, np.zeros(1))
    assert np.all(shaded < bright)


def test_views_come_back_from_disk_as_they_were(tmp_path):
    camera = cameras()[1][0]
    view = view_of(camera, 5)
    scenes.save(view, tmp_path)
    loaded = scenes.load(tmp_path, camera, PLAIN)
    for name in ("scene", "depth", "noise"):
        assert np.array_equal(getattr(view, name), getattr(loaded, name))


def test_the_rasteriser_is_where_we_think_it_is():
    """OpenCV's rasteriser needs its depth buffer at the far plane; if a version changes that, this says so first."""
    assert cv2.triangleRasterize is not None
    camera = cameras()[1][0]
    image = render.draw(view_of(camera), marker(camera.centre + 1600 * camera.R[2], 30.0))
    assert image.max() == 255
