"""What a capture shows beyond a studio: directions, cameras, light, sensors, objects; and views left out as hidden."""

import itertools

import cv2
import numpy as np
import pytest
from small_capture import SETTINGS

from hand_tf.core import geometry
from tfrecords_tools.dome import capture, dump, held, records
from tfrecords_tools.dome.person import motion, people
from tfrecords_tools.dome.studio import render, rig
from tfrecords_tools.dome.variety import STUDIO, Variety
from tfrecords_tools.records.settings import RecordsSettings

BROAD = Variety(
    arms="any",
    max_roll=180,
    min_distance=350,
    max_distance=2000,
    light="varied",
    sensors="varied",
    held_objects=0.6,
)


def planned(varied, subjects=1, **settings):
    return capture.plan(subjects=subjects, **(SETTINGS | settings), varied=varied)


def test_a_studio_is_what_a_capture_shows_without_saying_so():
    plain = capture.plan(subjects=1, **SETTINGS)[0]
    assert plain.varied == STUDIO
    assert capture.settings_of(plain)["varied"]["arms"] == "raised"
    assert plain == planned(STUDIO)[0] != planned(BROAD)[0]


def test_arms_in_any_direction_hang_and_lie_and_turn():
    times = np.arange(0, 200, 1.0)
    up = {}
    for arms in ("raised", "any"):
        moves = [motion.motion(3, k, "right", times, arms) for k in range(4)]
        up[arms] = np.concatenate([-m.R[:, 1, 1] for m in moves])  # of the fingers' direction; world Y points down
    assert np.mean(up["raised"] < -0.5) < 0.01
    assert np.mean(up["any"] < -0.5) > 0.15 and np.mean(up["any"] > 0.5) > 0.15
    fine = motion.motion(3, 1, "right", np.arange(0, 20, 1 / 120), "any").R
    turned = np.arccos(np.clip((np.einsum("nij,nij->n", fine[1:], fine[:-1]) - 1) / 2, -1, 1))
    assert np.rad2deg(turned.max()) * 120 < 1200  # degrees per second: no jumps


def test_near_and_rolled_cameras_show_the_hand_equally_large():
    size, reach = (256, 256), 245.0
    cameras = [c for k in range(12) for c in rig.make_cameras("ring8", 0, k, size, reach, varied=BROAD)[1]]
    centres = [rig.make_cameras("ring8", 0, k, size, reach)[0] for k in range(12) for _ in range(8)]
    away = np.array([np.linalg.norm(c.centre - p) for c, p in zip(cameras, centres, strict=True)])
    assert 350 <= away.min() < 600 and 1800 < away.max() <= 2000
    scale = np.array([c.K[0, 0] for c in cameras]) / away  # px per mm at the centre
    assert np.ptp(scale) / scale.mean() < 0.15
    upright = np.array([c.R[1, 1] / np.hypot(c.R[0, 1], c.R[1, 1]) for c in cameras])  # cosine of the roll
    assert upright.min() < -0.9 and upright.max() > 0.9


def test_light_differs_from_person_to_person_and_is_the_same_at_all_times():
    (sequence,) = planned(BROAD, subjects=3)
    lights = [capture.light(sequence, number) for number in range(3)]
    for light in lights:
        assert np.linalg.norm(light.key_direction) == pytest.approx(1)
        assert light.key_direction[1] < 0  # from above: world Y points down
        assert np.all(np.array([*light.key, *light.fill, *light.ambient]) > 0)
    assert all(a.key_direction @ b.key_direction < 0.999 for a, b in itertools.combinations(lights, 2))
    (plain,) = planned(STUDIO, subjects=2)
    np.testing.assert_array_equal(capture.light(plain, 0).key_direction, capture.light(plain, 1).key_direction)


def test_sensors_vary_from_sharp_to_bad():
    sensors = rig.make_sensors(0, 0, 200, "varied")
    blur, noise, quality = (np.array([getattr(s, name) for s in sensors]) for name in ("blur", "noise", "jpeg_quality"))
    assert blur.min() < 0.4 and 2 < blur.max() <= 3 and noise.min() < 1.1 and 7 < noise.max() <= 10
    assert quality.min() < 45 and quality.max() > 90
    assert np.ptp([s.gain.mean() for s in sensors]) > 0.4


@pytest.mark.parametrize("seed", range(12))
def test_objects_are_closed_and_their_normals_point_outwards(seed):
    mesh = held.draw(np.random.default_rng(seed), people.traits(0, 1))
    a, b, c = mesh.vertices[mesh.triangles].transpose(1, 0, 2)
    assert np.sum(np.cross(a, b) * c) > 0
    facing = np.cross(b - a, c - a)
    large = np.linalg.norm(facing, axis=1) > 1e-6
    normals = mesh.normals[mesh.triangles].mean(1)
    assert np.all(np.einsum("ij,ij->i", facing, normals)[large] > 0)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)
    volume = np.sum(np.cross(a, b) * c) / 6
    assert volume == pytest.approx(np.sum(np.cross(a + 50, b + 50) * (c + 50)) / 6, rel=1e-6)  # closed
    assert mesh.colours.min() >= 0 and mesh.colours.max() <= 1


def test_an_object_moves_with_the_palm_and_is_there_for_its_share_of_the_time():
    (sequence,) = planned(BROAD, frames=2000, fps=4.0)
    shown = [capture._object_at(sequence, 0, step) for step in range(0, 2000, 10)]  # one per hold
    assert np.mean([each is not None for each in shown]) == pytest.approx(0.6, abs=0.12)
    moves, place = capture.motions(sequence, 0)["right"]
    first = next(k for k, each in enumerate(shown) if each is not None) * 10
    local = []
    for step in (first, first + 5):
        vertices = capture._object_at(sequence, 0, step).vertices
        local.append((vertices - moves.t[step] - place[step]) @ moves.R[step])
    np.testing.assert_allclose(local[0], local[1], atol=1e-6)
    assert np.linalg.norm(local[0].mean(0)) < 400


def test_visible_share_is_what_pictures_show():
    """Against the masks of `dump`: the hand's area with everything in front of it, over that of the hand alone."""
    (sequence,) = planned(BROAD, num_cameras=8)
    cameras, hidden = capture.studio(sequence).cameras, []
    for frame in list(sequence.frame_numbers)[:3]:
        whole = capture.instant(sequence, frame)
        own = capture.vertices_of(whole, "right")
        alone = whole.mesh._replace(triangles=whole.hands[0].triangles)
        for camera in cameras:
            view = _far_view(camera)
            areas = [dump.hand_mask(view, whole._replace(mesh=mesh)).sum() for mesh in (whole.mesh, alone)]
            share = render.visible_share(whole.mesh, own, camera)
            assert share == pytest.approx(areas[0] / areas[1], abs=0.05)
            hidden.append(share)
    assert min(hidden) < 0.8 and max(hidden) > 0.95


def _far_view(camera):
    depth = np.full((camera.height, camera.width), 1e5, np.float32)
    return type("View", (), {"camera": camera, "depth": depth})


def test_a_board_before_the_hand_hides_it():
    (sequence,) = planned(STUDIO)
    whole = capture.instant(sequence, sequence.frame_numbers[0])
    own = capture.vertices_of(whole, "right")
    shares = {c.name: render.visible_share(whole.mesh, own, c) for c in capture.studio(sequence).cameras}
    camera = max(capture.studio(sequence).cameras, key=lambda c: shares[c.name])
    centre = whole.hands[0].vertices.mean(0) - 300 * camera.R[2]
    corners = centre + 400 * (np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ camera.R[:2])
    count = len(whole.mesh.vertices)
    both_sides = np.array([(0, 1, 2), (0, 2, 3), (2, 1, 0), (3, 2, 0)], np.int32) + count
    mesh = render.Mesh(
        np.concatenate([whole.mesh.vertices, corners]),
        np.concatenate([whole.mesh.triangles, both_sides]),
        np.concatenate([whole.mesh.colours, np.ones((4, 3))]),
    )
    assert render.visible_share(mesh, own, camera) == 0
    away = mesh._replace(vertices=np.concatenate([whole.mesh.vertices, corners + 900 * camera.R[2]]))
    assert render.visible_share(away, own, camera) == shares[camera.name] > 0.3


def test_hidden_views_are_left_out_and_counted(tmp_path):
    settings = RecordsSettings(output=tmp_path, crop_size=64)
    shows = {}
    for least in (0.0, 0.6):
        (sequence,) = planned(Variety(min_visible=least), frames=24, fps=1.0, num_cameras=8)
        shows[least], skipped = records.choose_views(sequence, settings, 0, 24)
        hidden = {reason: count for reason, count in skipped.counts.items() if "visible" in reason}
    assert np.all(shows[0.6] <= shows[0.0])
    assert hidden == {"views: less than 60% of the hand is visible": int(shows[0.0].sum() - shows[0.6].sum())}
    assert sum(hidden.values()) > 0
    for column, position in enumerate(records.Instants(sequence)):
        whole = capture.instant(sequence, position.frame)
        own = capture.vertices_of(whole, "right")
        for node in np.flatnonzero(shows[0.6][:, column]):
            assert render.visible_share(whole.mesh, own, capture.studio(sequence).cameras[node]) >= 0.6


def test_joints_still_lie_on_the_hand_in_near_rolled_cameras():
    (sequence,) = planned(BROAD, num_cameras=8)
    for frame in list(sequence.frame_numbers)[:3]:
        whole = capture.instant(sequence, frame)
        for camera in capture.studio(sequence).cameras:
            alone = whole.mesh._replace(triangles=whole.hands[0].triangles)
            mask = dump.hand_mask(_far_view(camera), whole._replace(mesh=alone))
            mask = cv2.dilate(mask, np.ones((5, 5), np.uint8))
            pixels = geometry.project(whole.hands[0].joints, camera)
            seen = np.rint(pixels[geometry.inside(pixels, camera)]).astype(int)
            assert np.all(mask[seen[:, 1], seen[:, 0]] > 0)
