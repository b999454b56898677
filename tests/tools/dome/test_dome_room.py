"""The empty room: cameras agree about it, every view is its own, things keep their distance."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import clutter, rig, room, solids, texture


@functools.cache
def scene(name="panoptic31", sequence=0, size=(96, 96), reach=245.0, num_cameras=0, things=12):
    centre, cameras = rig.make_cameras(name, 0, sequence, size, reach, num_cameras)
    return centre, cameras, room.make_room(0, sequence, centre, things, cameras)


def sample(picture, pixels):
    """`picture` [h, w, 3] at `pixels` [n, 2], bilinearly."""
    if not len(pixels):
        return np.empty((0, 3), np.float32)
    x, y = np.float32(pixels).T
    return cv2.remap(picture, x[:, None], y[:, None], cv2.INTER_LINEAR)[:, 0]


@pytest.mark.parametrize("name", rig.RIGS)
def test_a_point_has_one_colour_in_all_cameras_that_see_it(name):
    _, cameras, place = scene(name, 1, (288, 162), 1065.0, 6)
    pictures = [room.picture(place, camera) for camera in cameras]
    compared, wrong, depths = 0, 0, 0
    for a, (image, depth) in zip(cameras, pictures, strict=True):
        y, x = np.mgrid[4 : a.height : 5, 4 : a.width : 5]
        pixels = np.stack([x.ravel(), y.ravel()], 1)
        rays = np.column_stack([geometry.undistort(pixels, a), np.ones(len(pixels))])
        points = (rays * depth[pixels[:, 1], pixels[:, 0], None] - a.t) @ a.R
        for b, (other, there) in zip(cameras, pictures, strict=True):
            landed = geometry.project(points, b)
            use = np.isfinite(landed[:, 0]) & geometry.inside(landed, b) & (a is not b)
            far = points[use] @ b.R[2] + b.t[2]
            nearest = np.clip(np.rint(landed[use]).astype(int), 0, [b.width - 1, b.height - 1])
            use[use] = np.abs(there[nearest[:, 1], nearest[:, 0]] - far) < 0.02 * far
            depths += use.sum()
            # Only where both pictures are smooth: elsewhere a pixel's footprint decides.
            flat = [cv2.dilate(i, np.ones((5, 5))) - cv2.erode(i, np.ones((5, 5))) for i in (image, other)]
            rough = np.maximum(flat[0][pixels[use][:, 1], pixels[use][:, 0]], sample(flat[1], landed[use])).max(1)
            gap = np.abs(image[pixels[use][:, 1], pixels[use][:, 0]] - sample(other, landed[use])).max(1)
            compared += (rough < 0.1).sum()
            wrong += ((gap > 0.08) & (rough < 0.1)).sum()
    assert depths > 2000 and compared > 400
    assert wrong < 0.02 * compared


def test_pictures_are_their_own_textured_and_muted():
    _, cameras, place = scene()
    pictures = np.array([room.picture(place, camera)[0] for camera in cameras])
    assert pictures.dtype == np.float32 and pictures.min() >= 0 and pictures.max() <= 1
    assert 0.2 < pictures.mean() < 0.65
    assert np.median(pictures.std((1, 2)).mean(1)) > 0.05 and pictures.std((1, 2)).mean(1).min() > 0.012
    top, bottom = pictures.max(-1), pictures.min(-1)
    saturation = (top - bottom) / np.maximum(top, 0.05)
    assert saturation.mean() < 0.4
    flat = pictures.reshape(len(cameras), -1)
    for i in range(len(flat)):
        assert np.abs(flat[i] - np.delete(flat, i, 0)).mean(1).min() > 0.02


def test_the_room_is_a_function_of_its_numbers():
    centre, cameras, place = scene()
    again = room.make_room(0, 0, centre, 12, cameras)
    other = room.make_room(0, 1, centre, 12, cameras)
    image, depth = room.picture(place, cameras[3])
    for one, same in zip((image, depth), room.picture(again, cameras[3]), strict=True):
        np.testing.assert_array_equal(one, same)
    assert np.abs(image - room.picture(other, cameras[3])[0]).mean() > 0.03


def test_bands_leave_no_trace(monkeypatch):
    _, cameras, place = scene()
    whole = room.picture(place, cameras[0])
    monkeypatch.setattr(room, "_BAND", 1000)
    for one, same in zip(whole, room.picture(place, cameras[0]), strict=True):
        np.testing.assert_allclose(one, same, atol=2e-3)


def test_depth_is_the_nearest_surface():
    centre, cameras, place = scene("panoptic31", 2, (64, 36), 1065.0, 5, 20)
    for camera in cameras:
        _, depth = room.picture(place, camera)
        y, x = np.mgrid[0 : camera.height, 0 : camera.width]
        plane = geometry.undistort(np.stack([x.ravel(), y.ravel()], 1), camera)
        points = (np.column_stack([plane, np.ones(len(plane))]) * depth.reshape(-1, 1) - camera.t) @ camera.R
        parts = place.parts + place.mounts
        walls = place.offsets[:, None] - place.normals @ (points - centre).T
        outside = np.vstack([[solids.distance(part, points) for part in parts], walls])
        # Every point lies on some surface, inside the room and in no solid; and nothing is in the way.
        assert np.abs(outside.min(0)).max() < 1.0
        for share in np.linspace(0.05, 0.95, 12):
            between = camera.centre + share * (points - camera.centre)
            assert min(solids.distance(part, between).min() for part in parts) > -1.0


@pytest.mark.parametrize("name", rig.RIGS)
def test_things_leave_room_for_the_hands_and_the_cameras(name):
    hidden = views = 0
    for sequence in range(4):
        centre, cameras = rig.make_cameras(name, 0, sequence, (64, 64), 245.0)
        parts = room.make_room(0, sequence, centre, 14, cameras).parts
        assert len(parts) > 14
        axis = centre + np.linspace(-4000, 4000, 400)[:, None] * [0, 1, 0]
        lenses = np.array([camera.centre for camera in cameras])
        for part in parts:
            assert solids.distance(part, axis).min() >= 899
            assert solids.distance(part, lenses).min() >= 250
        hidden += clutter.hidden_from(parts, centre, cameras).sum()
        views += len(cameras)
    assert hidden <= 0.12 * views


@pytest.mark.parametrize("move", [(0, 0, 0), (4000, -900, 700)])
def test_brackets_end_at_the_walls_wherever_the_world_begins(move):
    for name in rig.RIGS:
        centre, cameras = rig.make_cameras(name, 0, 0, (64, 64), 245.0)
        cameras = [dataclasses.replace(camera, t=camera.t - camera.R @ move) for camera in cameras]
        place = room.make_room(0, 0, centre + move, 0, cameras)
        assert len(place.mounts) == 2 * len(cameras)
        for camera, body, bracket in zip(cameras, place.mounts[::2], place.mounts[1::2], strict=True):
            assert solids.distance(body, camera.centre) < 50
            ends = bracket.centre + np.array([[-1], [1]]) * bracket.half[1] * bracket.rotation[1]
            walls = (place.offsets - (ends - place.centre) @ place.normals.T).min(1)
            np.testing.assert_allclose(np.linalg.norm(ends - camera.centre, axis=1).min(), 110, atol=1e-6)
            assert abs(walls.min()) < 1e-6 and walls.max() > 20  # from a wall to a camera within the room
            assert np.linalg.norm(np.cross(ends - camera.centre, camera.R[2]), axis=1).max() < 1e-6  # behind it


def test_no_things_and_no_cameras():
    centre, cameras, _ = scene()
    bare = room.make_room(0, 0, centre, 0)
    assert not bare.parts and not bare.mounts
    _, depth = room.picture(bare, cameras[0])
    assert depth.min() > 2000
    with pytest.raises(ValueError, match="clutter -1"):
        room.make_room(0, 0, centre, -1)
    far = geometry.Camera(
        "00_00", 8, 8, cameras[0].K, cameras[0].dist, cameras[0].R, cameras[0].t + np.array([0, 0, 9e3])
    )
    with pytest.raises(ValueError, match="camera 00_00 is outside the room"):
        room.picture(bare, far)
    assert room.picture(room.make_room(0, 0, centre, 0, [far]), far)[1].min() > 0


@pytest.mark.parametrize("kind", ["box", "cylinder", "sphere"])
def test_rays_meet_solids_where_their_distance_vanishes(kind):
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    half = np.array([60.0, 130.0, 60.0]) if kind == "cylinder" else np.array([60.0, 130.0, 90.0])
    half = np.full(3, 80.0) if kind == "sphere" else half
    part = solids.Part(kind, np.array([30.0, -20.0, 500.0]), turn, half, np.full((2, 3), 0.5))
    origin, rays = np.array([0.0, 0, -200]), rng.normal([0, 0, 1], [0.25, 0.25, 0], (3000, 3)).astype(np.float32)
    t = solids.intersect(part, origin, rays)
    hit = np.isfinite(t)
    assert 200 < hit.sum() < 2800
    on = origin + t[hit, None] * rays[hit]
    np.testing.assert_allclose(solids.distance(part, on), 0, atol=0.05)
    steps = np.linspace(0, 1000, 300)
    marched = np.array([solids.distance(part, origin + steps[:, None] * ray).min() for ray in rays[~hit][:150]])
    assert marched.min() > -2.0  # a ray that misses never comes inside
    _, normals = solids.appearance(part, texture.Noise(rng), on.astype(np.float32), np.full(hit.sum(), 2, np.float32))
    outwards = solids.distance(part, on + 0.5 * normals) - solids.distance(part, on)
    assert np.mean(np.abs(outwards - 0.5) < 0.05) > 0.98 and np.all(np.sum(normals * rays[hit], 1) < 0.01)


def test_patterns_fade_to_their_mean_with_distance():
    rng = np.random.default_rng(0)
    noise = texture.Noise(rng)
    u, v = (np.float32(x) for x in rng.uniform(0, 2000, (2, 5000)))
    for scale in (10, 100):
        fine = noise.smooth(u, v, scale, np.full(5000, 1, np.float32))
        assert 0.2 < fine.std() < 0.6 and abs(fine.mean()) < 0.1
        assert not noise.smooth(u, v, scale, np.full(5000, 2.0 * scale, np.float32)).any()
