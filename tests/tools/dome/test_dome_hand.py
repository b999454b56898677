"""The parametric hand: a closed surface, posing, anatomy, colours."""

import numpy as np
import pytest
import scipy.sparse
from scipy.spatial.transform import Rotation

from hand_tf.core import crops, geometry, skeleton
from tfrecords_tools.dome.person import flesh, hand, people

OPEN = np.zeros(hand.NUM_ANGLES)
FINGERS = np.array(list(skeleton.FINGERS.values()))
INDICES = (0, 9, 10)


@pytest.fixture(scope="module")
def subjects():
    return [hand.make_subject(0, index) for index in INDICES]


@pytest.fixture(scope="module")
def poses():
    low, high = hand.LIMITS.T
    rng = np.random.default_rng(8)
    return np.concatenate([OPEN[None], low[None], high[None], rng.uniform(low, high, (21, hand.NUM_ANGLES))])


def curled():
    angles = OPEN.copy()
    angles[4:20:4], angles[6:20:4], angles[7:20:4] = 60, 60, 40
    return angles


def winding(points, vertices, triangles):
    """How often the surface encloses each point [n]: solid angles of its triangles (Van Oosterom & Strackee 1983)."""
    a, b, c = (vertices[corner][None] - points[:, None] for corner in triangles.T)
    la, lb, lc = (np.linalg.norm(side, axis=2) for side in (a, b, c))
    top = np.sum(a * np.cross(b, c), 2)
    bottom = la * lb * lc + np.sum(a * b, 2) * lc + np.sum(b * c, 2) * la + np.sum(c * a, 2) * lb
    return np.sum(2 * np.arctan2(top, bottom), 1) / (4 * np.pi)


def edges_of(triangles):
    return np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)


def test_skin_is_one_closed_sphere(subjects):
    for subject in [*subjects, hand.make_subject(0, 0, spacing=2.2)]:
        edges, uses = edges_of(subject.triangles)
        count = len(subject.vertices)
        assert np.all(uses == 2)
        assert count - len(edges) + len(subject.triangles) == 2  # Euler: no holes
        graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), (count, count))
        assert scipy.sparse.csgraph.connected_components(graph)[0] == 1
        directed = subject.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        assert len(np.unique(directed, axis=0)) == len(directed)  # neighbours agree on their orientation
        a, b, c = subject.vertices[subject.triangles].transpose(1, 0, 2)
        volume = np.sum(np.cross(a, b) * c) / 6
        assert 6e5 < volume < 2.5e6  # mm^3, forearm and sleeve included; positive: faces point outwards


def test_grids_that_bridge_a_notch_are_refined(monkeypatch):
    traits, genus, marching = people.traits(0, 10), [], flesh._marching

    def counted(*arguments):
        vertices, triangles = marching(*arguments)
        genus.append(1 - (len(vertices) - len(triangles) // 2) // 2)
        return vertices, triangles

    monkeypatch.setattr(flesh, "_marching", counted)
    vertices, triangles = flesh.mesh(hand.capsules(traits), traits, 2.6)
    assert len(genus) > 1 and all(handles > 0 for handles in genus[:-1]) and genus[-1] == 0
    edges, uses = edges_of(triangles)
    assert np.all(uses == 2) and len(vertices) - len(edges) + len(triangles) == 2


def test_a_skin_that_never_closes_is_refused(monkeypatch):
    tried = []

    def torus(caps, sleeve, spacing):
        tried.append(spacing)
        i, j = (each.ravel() for each in np.mgrid[:4, :4])
        a, b, c, d = (4 * ((i + p) % 4) + (j + q) % 4 for p, q in ((0, 0), (1, 0), (1, 1), (0, 1)))
        return np.zeros((16, 3)), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])

    monkeypatch.setattr(flesh, "_marching", torus)
    with pytest.raises(ValueError, match=r"S4: no closed skin without handles at a spacing of"):
        hand.make_subject(0, 4, spacing=2.6123)
    assert len(tried) > 2 and all(np.diff(tried) < 0)


def test_triangle_counts(subjects):
    for subject in subjects:
        assert 10000 <= len(subject.triangles) <= 13000
        assert subject.triangles.dtype == np.int32
    assert 1500 <= len(hand.make_subject(0, 0, spacing=2.2).triangles) <= 2800


def test_weights_are_shares(subjects):
    for subject in subjects:
        np.testing.assert_allclose(subject.weights.sum(1), 1)
        assert subject.weights.min() >= 0
        # Far from a joint, one bone carries the skin alone; neighbours never differ by much.
        assert np.mean(subject.weights.max(1) > 0.9) > 0.3
        edges, _ = edges_of(subject.triangles)
        steps = np.abs(subject.weights[edges[:, 0]] - subject.weights[edges[:, 1]]).max(1)
        assert np.quantile(steps, 0.99) < 0.5


def test_joints_lie_in_the_flesh(subjects, poses):
    for subject in subjects:
        for angles in poses[::2]:
            vertices, _, joints = hand.pose_mesh(subject, angles, np.eye(3), np.zeros(3))
            assert np.all(winding(joints, vertices.astype(float), subject.triangles) > 0.9)


def test_joints_lie_deep_where_anatomy_has_them(subjects):
    for subject in subjects:
        vertices, _, joints = hand.pose_mesh(subject, OPEN, np.eye(3), np.zeros(3))
        depth = np.linalg.norm(vertices[None] - joints[:, None], axis=2).min(1)
        scale = subject.traits.length / people.MEDIAN_LENGTH
        radii = subject.traits.radii
        for finger, ids in enumerate(FINGERS):
            assert np.all(depth[ids[1:3]] > 0.7 * radii[finger, 1:3])
            assert np.all(depth[ids[1:3]] < 1.25 * radii[finger, 1:3])
            assert depth[ids[3]] == pytest.approx(scale * people.SOFT_TIP[finger] / 2, abs=1.6)
        assert np.all(depth[[0, *FINGERS[1:, 0]]] > 6)


def test_the_mesh_has_the_sizes_of_its_traits(subjects):
    for subject in subjects:
        traits = subject.traits
        vertices, _, _ = hand.pose_mesh(subject, OPEN, np.eye(3), np.zeros(3))
        assert vertices[:, 1].max() == pytest.approx(traits.length, rel=0.01)
        thumb = subject.weights[:, [1, 2, 3, 17, 18, 19]].sum(1)
        scale = traits.length / people.MEDIAN_LENGTH
        knuckles = vertices[(np.abs(vertices[:, 1] - traits.bases[2, 1]) < 12 * scale) & (thumb < 0.1)]
        assert np.ptp(knuckles[:, 0]) == pytest.approx(traits.breadth, rel=0.03)
        assert np.ptp(knuckles[:, 2]) == pytest.approx(30 * scale, rel=0.2)
        wrist = vertices[np.abs(vertices[:, 1]) < 5]
        if traits.sleeve.edge < -10:
            assert np.ptp(wrist[:, 0]) == pytest.approx(58 * scale * traits.thickness, rel=0.1)
            assert np.ptp(wrist[:, 2]) == pytest.approx(40 * scale * traits.thickness, rel=0.1)
        elbow = hand.elbow(traits, OPEN, np.eye(3), np.zeros(3))
        assert elbow[1] == pytest.approx(-hand.forearm_length(traits))
        assert 20 < elbow[1] - vertices[:, 1].min() < 60  # the elbow's centre, and the flesh around it


def test_bent_fingers_keep_their_thickness(subjects):
    subject = subjects[0]
    for bend in (45, 95):
        angles = OPEN.copy()
        angles[6:20:4] = bend
        vertices, _, joints = hand.pose_mesh(subject, angles, np.eye(3), np.zeros(3))
        for finger in range(1, 5):
            own = subject.weights[:, [*range(1 + 3 * finger, 4 + 3 * finger), *range(17 + 3 * finger, 20 + 3 * finger)]]
            knuckle = joints[FINGERS[finger, 1]]
            before, after = (joints[FINGERS[finger, k]] - knuckle for k in (0, 2))
            outwards = -(before / np.linalg.norm(before) + after / np.linalg.norm(after))
            outwards /= np.linalg.norm(outwards)
            gaps = vertices[own.sum(1) > 0.95] - knuckle
            ahead = gaps @ outwards
            near = np.linalg.norm(gaps - ahead[:, None] * outwards, axis=1) < 3.5
            assert 0.75 < ahead[near].max() / subject.traits.radii[finger, 1] < 1.25


def test_bone_lengths_are_the_subjects(subjects, poses):
    for traits in (subject.traits for subject in subjects):
        joints, bones = hand.forward(traits.bases, traits.lengths, poses)
        np.testing.assert_allclose(
            np.linalg.norm(np.diff(joints[:, FINGERS], axis=2), axis=3), traits.lengths + 0 * joints[:, :1, :1]
        )
        np.testing.assert_allclose(np.linalg.det(bones[..., :3]), 1)
        np.testing.assert_allclose(joints[:, FINGERS[:, 0]], np.broadcast_to(traits.bases, (len(poses), 5, 3)))


def test_batched_forward_equals_single(subjects, poses):
    traits = subjects[1].traits
    joints, bones = hand.forward(traits.bases, traits.lengths, poses.reshape(4, 6, -1))
    assert joints.shape == (4, 6, 21, 3) and bones.shape == (4, 6, 17, 3, 4)
    for k, angles in enumerate(poses):
        one_joints, one_bones = hand.forward(traits.bases, traits.lengths, angles)
        np.testing.assert_allclose(joints[k // 6, k % 6], one_joints, atol=1e-9)
        np.testing.assert_allclose(bones[k // 6, k % 6], one_bones, atol=1e-9)


def test_flexion_and_abduction_turn_about_the_fingers_axes(subjects):
    traits = subjects[0].traits
    for finger, sign in zip(range(1, 5), (-1, -1, 1, 1), strict=True):
        angles = OPEN.copy()
        angles[4 * finger : 4 * finger + 4] = (30, 0, 40, 20)
        _, flat = hand.forward(traits.bases, traits.lengths, OPEN)
        _, bent = hand.forward(traits.bases, traits.lengths, angles)
        for k, total in enumerate((30, 70, 90)):
            bone = 1 + 3 * finger + k
            turn = Rotation.from_matrix(flat[bone, :, :3].T @ bent[bone, :, :3]).as_rotvec(degrees=True)
            np.testing.assert_allclose(turn, [total, 0, 0], atol=1e-9)
        angles[4 * finger : 4 * finger + 4] = (0, 10, 0, 0)
        _, spread = hand.forward(traits.bases, traits.lengths, angles)
        turn = Rotation.from_matrix(flat[1 + 3 * finger, :, :3].T @ spread[1 + 3 * finger, :, :3])
        np.testing.assert_allclose(turn.as_rotvec(degrees=True), [0, 0, 10 * sign], atol=1e-9)


def test_elbow_stays_on_the_forearm_bone(subjects, poses):
    traits = subjects[0].traits
    rng = np.random.default_rng(0)
    R, t = Rotation.random(len(poses), rng=rng).as_matrix(), rng.normal(0, 300, (len(poses), 3))
    elbows = hand.elbow(traits, poses, R, t)
    np.testing.assert_allclose(np.linalg.norm(elbows - t, axis=1), hand.forearm_length(traits))
    for k in (0, 5, 9):
        _, bones = hand.forward(traits.bases, traits.lengths, poses[k])
        expected = R[k] @ bones[hand.FOREARM] @ [0, -hand.forearm_length(traits), 0, 1] + t[k]
        np.testing.assert_allclose(elbows[k], expected)
        np.testing.assert_allclose(hand.elbow(traits, poses[k], R[k], t[k]), expected)


def test_posing_is_rigid_where_nothing_bends(subjects, poses):
    subject = subjects[0]
    R, t = Rotation.from_euler("xyz", [30, 50, -70], degrees=True).as_matrix(), np.array([100.0, -1100, 50])
    for angles in poses[3:6]:
        still, normals, joints = hand.pose_mesh(subject, angles, np.eye(3), np.zeros(3))
        moved, turned, placed = hand.pose_mesh(subject, angles, R, t)
        np.testing.assert_allclose(moved, still @ R.T + t, atol=1e-3)
        np.testing.assert_allclose(turned, normals @ R.T, atol=1e-3)
        np.testing.assert_allclose(placed, joints @ R.T + t)
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-4)
    # Skin that one bone carries alone moves with that bone.
    bind_joints, bind_bones = hand.bind(subject.traits)
    _, bones = hand.forward(subject.traits.bases, subject.traits.lengths, poses[4])
    vertices, _, _ = hand.pose_mesh(subject, poses[4], np.eye(3), np.zeros(3))
    for bone in (0, 2, 6, 12, 16):
        own = subject.weights[:, bone] > 1 - 1e-9
        assert own.sum() > 3
        local = (subject.vertices[own] - bind_bones[bone, :, 3]) @ bind_bones[bone, :, :3]
        np.testing.assert_allclose(vertices[own], local @ bones[bone, :, :3].T + bones[bone, :, 3], atol=1e-3)
    np.testing.assert_allclose(bind_joints, subject.bind_joints)


def test_right_hand_is_right_handed(subjects):
    traits = subjects[0].traits
    flat, _ = hand.forward(traits.bases, traits.lengths, OPEN)
    bent, _ = hand.forward(traits.bases, traits.lengths, curled())
    # In a right hand, turning from the index to the little knuckle about the wrist points out of the palm.
    palm = np.cross(flat[5] - flat[0], flat[17] - flat[0])
    assert np.all((bent - flat)[[8, 12, 16, 20]] @ palm > 0)
    # Seen from its back with the fingers up, its thumb is on the left.
    R = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
    K = crops.intrinsics(500.0, 256)
    camera = geometry.Camera("00_00", 256, 256, K, np.zeros(5), R, np.array([0, 0, 1000.0]))
    pixels = geometry.project(flat, camera)
    assert pixels[4, 0] < pixels[8, 0] < pixels[20, 0] and pixels[12, 1] < pixels[0, 1]
    assert camera.R[2] @ palm > 0  # the palm looks away from this camera


def test_people_look_different(subjects):
    colours = np.array([np.median(subject.colours[subject.vertices[:, 1] > 0], 0) for subject in subjects])
    assert np.abs(colours[1] - colours[2]).max() > 0.15
    assert abs(subjects[1].vertices[:, 1].max() - subjects[2].vertices[:, 1].max()) > 5
    for subject in subjects:
        assert subject.colours.min() >= 0 and subject.colours.max() <= 1


def test_palms_are_lighter_than_backs(subjects):
    ratios = {}
    for subject in subjects:
        _, normals, _ = hand.pose_mesh(subject, OPEN, np.eye(3), np.zeros(3))
        solid = (subject.vertices[:, 1] > 30) & (np.abs(normals[:, 2]) > 0.8)
        palm, back = (subject.colours[solid & (sign * normals[:, 2] > 0)].mean(0) for sign in (1, -1))
        assert palm[0] / palm[2] > 1.1  # skin is reddish
        ratios[subject.traits.tone] = palm.mean() / back.mean()
    assert ratios[max(ratios)] > 1.2 * ratios[min(ratios)] > 1.0


def test_the_sleeve_covers_the_arm_up_to_its_edge(subjects):
    subject = subjects[0]
    sleeve = subject.traits.sleeve
    y = subject.vertices[:, 1]
    inside, outside = (
        subject.vertices[band]
        for band in ((y < sleeve.edge - 2) & (y > sleeve.edge - 16), (y > sleeve.edge + 4) & (y < sleeve.edge + 18))
    )
    assert np.ptp(inside[:, 0]) > np.ptp(outside[:, 0]) + 3  # cloth stands off the arm
    cloth = subject.colours[y < sleeve.edge - 20]
    assert np.all(cloth.mean(0) < np.maximum(sleeve.colour, sleeve.colour2) * 1.1 + 0.02)
    bare = next(index for index in range(1, 60) if people.traits(0, index).sleeve.edge == people.BARE)
    arm = hand.make_subject(0, bare, spacing=2.2)
    forearm, back = (arm.colours[mask].mean(0) for mask in (arm.vertices[:, 1] < -60, arm.vertices[:, 1] > 20))
    assert np.abs(forearm - back).max() < 0.15


def test_subjects_are_a_function_of_their_arguments(subjects):
    hand.make_subject.cache_clear()
    again = hand.make_subject(0, 9)
    np.testing.assert_array_equal(again.vertices, subjects[1].vertices)
    np.testing.assert_array_equal(again.colours, subjects[1].colours)
