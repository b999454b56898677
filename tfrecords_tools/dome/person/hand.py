"""A parametric right hand: skeleton, one closed surface, and posing by linear-blend skinning.

Hand frame (mm): origin at the wrist crease, +y along the fingers, +z out of the palm, +x towards the thumb. Every bone
has a frame of the same kind (y along the bone, z palmar), so flexion is a rotation about x and abduction one about z:

    R_first = B_finger Rz(s * abduction) Rx(flexion),   R_next = R_previous Rx(flexion)
    joint_child = joint_parent + length * R y
    v(angles) = sum_b w_b (G_b(angles) G_b(bind)^-1) v_bind        linear-blend skinning

`angles` [22] degrees: per finger (flexion, abduction, PIP, DIP), thumb first (CMC flexion, CMC abduction, MCP, IP),
then wrist flexion and wrist deviation. Bones: 0 the palm, 1..15 the phalanges by finger, 16 the forearm.

The surface (`flesh`) is meshed once per subject and follows 33 bones: these 17, and a helper at every joint that
rotates by half the joint's angle (`skinning`).
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse
from scipy.spatial.transform import Rotation

from hand_tf.core import skeleton
from tfrecords_tools.dome.person import capsule, flesh, people, skin, skinning

NUM_ANGLES, NUM_BONES = 22, 17
FOREARM = 16
ABDUCTION = (1, 5, 9, 13, 17)
_THUMB_LIMITS = [(-18, 45), (-25, 45), (-10, 60), (-10, 80)]
_FINGER_LIMITS = [(-15, 90), (-12, 18), (0, 105), (0, 75)]
# Choice: active ranges of motion as in textbooks, degrees, [22, 2].
LIMITS = np.array([*_THUMB_LIMITS, *(_FINGER_LIMITS * 4), (-40, 45), (-20, 25)], np.float64)
SPREAD_SIGN = np.array([-1.0, -1.0, -1.0, 1.0, 1.0])

_FAN = np.array([0.0, 5.0, 0.0, -5.0, -11.0])  # degrees about z at zero abduction, positive towards the thumb
# The bind pose has all fingers spread, so that the capsules of neighbours do not merge.
_BIND = np.zeros(NUM_ANGLES)
_BIND[list(ABDUCTION)] = [12.0, 15.0, 0.0, 14.0, 24.0]
_BIND[[0, 2]] = [-8.0, 8.0]
# For each of bones 1..16, its parent and the joint about which it rotates.
_PARENTS = np.array([*(b - 1 if b % 3 != 1 else 0 for b in range(1, FOREARM)), 0])
_HINGES = np.array([*(joint for finger in skeleton.FINGERS.values() for joint in finger[:3]), 0])


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One person's right hand, as a mesh in the bind pose, mm.

    Attributes:
        vertices: [v, 3]; `triangles` [m, 3]; `colours` [v, 3] in 0..1.
        weights: of the skinning bones, [v, 33].
        weighted_vertices: [v, 132], weights times homogeneous vertices, so that posing is one sparse product.
        faces_of_vertex: [v, m], see `flesh.incidence`.
        bind_joints: [21, 3] mm; `bind_bones` [17, 3, 4].
    """

    name: str
    traits: people.Traits
    vertices: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    colours: np.ndarray
    weighted_vertices: scipy.sparse.csr_matrix
    faces_of_vertex: scipy.sparse.csr_matrix
    bind_joints: np.ndarray
    bind_bones: np.ndarray


def _thumb_base():
    """Frame of the thumb's metacarpal at rest: it points up, out and forward, and its pad faces the fingers."""
    y = np.array([0.64, 0.72, 0.26]) / np.linalg.norm([0.64, 0.72, 0.26])
    z = np.array([-0.85, 0.1, 0.5]) - (np.array([-0.85, 0.1, 0.5]) @ y) * y
    z /= np.linalg.norm(z)
    return np.column_stack([np.cross(y, z), y, z])


_FINGER_BASES = np.stack([_thumb_base(), *(Rotation.from_euler("z", a, degrees=True).as_matrix() for a in -_FAN[1:])])


def _rotation(axis, degrees):
    """Rotations [..., 3, 3] about axis 0, 1 or 2 by `degrees` [...]."""
    radians = np.deg2rad(np.asarray(degrees, np.float64))
    cosine, sine = np.cos(radians), np.sin(radians)
    result = np.zeros((*radians.shape, 3, 3))
    j, k = (axis + 1) % 3, (axis + 2) % 3
    result[..., axis, axis] = 1
    result[..., j, j] = result[..., k, k] = cosine
    result[..., k, j], result[..., j, k] = sine, -sine
    return result


def forward(bases: np.ndarray, lengths: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints [..., 21, 3] mm and bone transforms [..., 17, 3, 4] in the hand frame, for `angles` [..., 22] degrees.

    `bases` [5, 3] and `lengths` [5, 3] mm are those of `people.Traits`.
    """
    angles = np.asarray(angles, np.float64)
    grid, batch = angles[..., :20].reshape(*angles.shape[:-1], 5, 4), angles.shape[:-1]
    joints, bones = np.zeros((*batch, skeleton.NUM_JOINTS, 3)), np.zeros((*batch, NUM_BONES, 3, 4))
    # Choice: as the thumb's saddle joint flexes, it also rotates the pad inwards (opposition), by half that angle.
    opposition = 0.5 * grid[..., 0] * (np.arange(5) == 0)
    rotation = _FINGER_BASES @ _rotation(2, grid[..., 1] * SPREAD_SIGN)
    rotation = rotation @ _rotation(0, grid[..., 0]) @ _rotation(1, opposition)
    bends = _rotation(0, grid[..., 2:])
    position = np.broadcast_to(np.asarray(bases, np.float64), (*batch, 5, 3))
    fingers = np.array(list(skeleton.FINGERS.values()))
    joints[..., fingers[:, 0], :] = position
    for k in range(3):
        rotation = rotation @ bends[..., k - 1, :, :] if k else rotation
        bones[..., 1 + k + 3 * np.arange(5), :, :] = np.concatenate([rotation, position[..., None]], -1)
        position = position + lengths[:, k, None] * rotation[..., 1]
        joints[..., fingers[:, k + 1], :] = position
    bones[..., 0, :, :3] = np.eye(3)
    # These angles bend the hand against the forearm. Here the forearm moves against the hand, hence the minus signs.
    bones[..., FOREARM, :, :3] = _rotation(2, -angles[..., 21]) @ _rotation(0, -angles[..., 20])
    return joints, bones


def forearm_length(traits: people.Traits) -> float:
    """Wrist to elbow, mm."""
    return people.FOREARM_RATIO * traits.length


def elbow(traits: people.Traits, angles: np.ndarray, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """World position [..., 3] mm of the elbow.

    `angles` [..., 22] are in degrees; `R` [..., 3, 3] and `t` [..., 3] mm place the hand as in `pose_mesh`.
    """
    angles = np.asarray(angles, np.float64)
    along = (_rotation(2, -angles[..., 21]) @ _rotation(0, -angles[..., 20]))[..., 1]
    return t - forearm_length(traits) * np.einsum("...ij,...j->...i", R, along)


def bind(traits: people.Traits) -> tuple[np.ndarray, np.ndarray]:
    """Joints [21, 3] mm and bones [17, 3, 4] of the bind pose, in which the surface is meshed."""
    return forward(traits.bases, traits.lengths, _BIND)


def capsules(traits: people.Traits) -> capsule.Capsules:
    """The capsules of the flesh in the bind pose."""
    return flesh.capsules(traits, *bind(traits))


def _half(rotations):
    """Rotations by half the angles of `rotations` [n, 3, 3], which must be below 180 degrees."""
    cosine = np.sqrt(np.maximum(1 + np.trace(rotations, axis1=1, axis2=2), 1e-6)) / 2
    skew = (rotations - rotations.transpose(0, 2, 1)) / (4 * cosine[:, None, None])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)[:, None, None]


def _skin_transforms(joints, bones, bind_joints, bind_bones):
    """Transforms [33, 3, 4] from the bind pose to a pose: of the 17 bones, then of the helper at each joint."""
    rotation = bones[:, :, :3] @ bind_bones[:, :, :3].transpose(0, 2, 1)
    shift = bones[:, :, 3] - np.einsum("bij,bj->bi", rotation, bind_bones[:, :, 3])
    relative = rotation[_PARENTS].transpose(0, 2, 1) @ rotation[1:]
    middle = rotation[_PARENTS] @ _half(relative)
    offset = joints[_HINGES] - np.einsum("bij,bj->bi", middle, bind_joints[_HINGES])
    return np.concatenate([np.concatenate([rotation, middle]), np.concatenate([shift, offset])[..., None]], -1)


@functools.lru_cache(maxsize=16)
def make_subject(seed: int, index: int, spacing: float = 1.0) -> Subject:
    """The hand of subject number `index`, a pure function of its arguments; `spacing` > 1 gives a coarser mesh."""
    traits = people.traits(seed, index)
    joints, bones = bind(traits)
    caps = capsules(traits)
    vertices, triangles = flesh.mesh(caps, traits, spacing)
    weights = skinning.skin_weights(vertices, triangles, caps, traits, joints, bones)
    faces_of_vertex = flesh.incidence(triangles, len(vertices))
    normals = flesh.vertex_normals(vertices, triangles, faces_of_vertex)
    colours = skin.paint(seed, index, traits, vertices, normals, weights, bones, caps)
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    weighted_vertices = (weights[:, :, None] * homogeneous[:, None]).reshape(len(vertices), -1)
    return Subject(
        traits.name,
        traits,
        vertices,
        triangles,
        weights,
        colours,
        scipy.sparse.csr_matrix(weighted_vertices.astype(np.float32)),
        faces_of_vertex,
        joints,
        bones,
    )


def pose_mesh(
    subject: Subject, angles: np.ndarray, R: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [v, 3] mm and unit normals [v, 3] (float32), and joints [21, 3] mm, in the world.

    `angles` [22] are in degrees; `R` [3, 3] and `t` [3] mm take the hand frame to the world, X = R x + t.
    """
    joints, bones = forward(subject.traits.bases, subject.traits.lengths, angles)
    maps = R @ _skin_transforms(joints, bones, subject.bind_joints, subject.bind_bones)
    local = subject.weighted_vertices @ maps.transpose(0, 2, 1).reshape(-1, 3).astype(np.float32)
    normals = flesh.vertex_normals(local, subject.triangles, subject.faces_of_vertex)
    return local + np.asarray(t, np.float32), normals, joints @ R.T + t
