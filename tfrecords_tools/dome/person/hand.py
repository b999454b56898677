"""A parametric right hand: skeleton, one closed skin, and posing by linear-blend skinning.

Hand frame (mm): origin at the wrist crease, +y along the fingers, +z out of the palm, +x towards the thumb. Every bone
has a frame of the same kind (y along the bone, z palmar), so flexion is a turn about x and abduction one about z:

    R_first = B_finger Rz(s * abduction) Rx(flexion),   R_next = R_previous Rx(flexion)
    joint_child = joint_parent + length * R y
    v(angles) = sum_b w_b (G_b(angles) G_b(bind)^-1) v_bind        linear-blend skinning

`angles` [22] degrees: per finger (flexion, abduction, PIP, DIP), thumb first (CMC flexion, CMC abduction, MCP, IP),
then wrist flexion and wrist deviation. Bones: 0 the palm, 1..15 the phalanges by finger, 16 the forearm.

The skin (`flesh`) is meshed once per subject and carried by 33 bones: the 17 and a half-turned helper at every joint
(`skinning`).
"""

import dataclasses
import functools

import numpy as np
import scipy.sparse
from scipy.spatial.transform import Rotation

from hand_tf.core import skeleton
from tfrecords_tools.dome.person import flesh, people, skin, skinning

NUM_ANGLES, NUM_BONES = 22, 17
FOREARM = 16
ABDUCTION = (1, 5, 9, 13, 17)
_THUMB_LIMITS = [(-18, 45), (-25, 45), (-10, 60), (-10, 80)]
_FINGER_LIMITS = [(-15, 90), (-12, 18), (0, 105), (0, 75)]
# Choice: textbook active ranges of motion, in degrees, [22, 2].
LIMITS = np.array([*_THUMB_LIMITS, *(_FINGER_LIMITS * 4), (-40, 45), (-20, 25)], np.float64)
SPREAD_SIGN = np.array([-1.0, -1.0, -1.0, 1.0, 1.0])

_FAN = np.array([0.0, 5.0, 0.0, -5.0, -11.0])  # degrees about z at zero abduction, thumb side positive
# Bind pose: everything spread, so that the capsules of neighbouring fingers do not merge.
_BIND = np.zeros(NUM_ANGLES)
_BIND[list(ABDUCTION)] = [12.0, 15.0, 0.0, 14.0, 24.0]
_BIND[[0, 2]] = [-8.0, 8.0]
# The bone that each of bones 1..16 hangs from, and the joint that it turns about.
_PARENTS = np.array([*(b - 1 if b % 3 != 1 else 0 for b in range(1, FOREARM)), 0])
_HINGES = np.array([*(joint for finger in skeleton.FINGERS.values() for joint in finger[:3]), 0])


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One person's right hand. Mesh in the bind pose, mm; `weights` [v, 33]; `colours` [v, 3] in 0..1.

    `carried` [v, 132] holds the weights times the homogeneous vertices, so that posing is one sparse product.
    """

    name: str
    traits: people.Traits
    vertices: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    colours: np.ndarray
    carried: scipy.sparse.csr_matrix
    faces_of_vertex: scipy.sparse.csr_matrix
    bind_joints: np.ndarray
    bind_bones: np.ndarray


def _thumb_base():
    """Frame of the thumb's metacarpal at rest: pointing up, out and forward, its pad facing the fingers."""
    y = np.array([0.64, 0.72, 0.26]) / np.linalg.norm([0.64, 0.72, 0.26])
    z = np.array([-0.85, 0.1, 0.5]) - (np.array([-0.85, 0.1, 0.5]) @ y) * y
    z /= np.linalg.norm(z)
    return np.column_stack([np.cross(y, z), y, z])


_FINGER_BASES = np.stack([_thumb_base(), *(Rotation.from_euler("z", a, degrees=True).as_matrix() for a in -_FAN[1:])])


def _turn(axis, degrees):
    """Rotations [..., 3, 3] about axis 0, 1 or 2 by `degrees` [...]."""
    radians = np.deg2rad(np.asarray(degrees, np.float64))
    cosine, sine = np.cos(radians), np.sin(radians)
    result = np.zeros((*radians.shape, 3, 3))
    j, k = (axis + 1) % 3, (axis + 2) % 3
    result[..., axis, axis] = 1
    result[..., j, j] = result[..., k, k] = cosine
    result[..., k, j], result[..., j, k] = sine, -sine
    return result


def forward(bases, lengths, angles):
    """Joints [..., 21, 3] mm and bone transforms [..., 17, 3, 4] in the hand frame, for `angles` [..., 22] degrees.

    `bases` [5, 3] and `lengths` [5, 3] mm are one subject's.
    """
    angles = np.asarray(angles, np.float64)
    grid, batch = angles[..., :20].reshape(*angles.shape[:-1], 5, 4), angles.shape[:-1]
    joints, bones = np.zeros((*batch, skeleton.NUM_JOINTS, 3)), np.zeros((*batch, NUM_BONES, 3, 4))
    # Choice: the saddle joint turns the thumb's pad inwards as it flexes (opposition), half as far as it flexes.
    opposition = 0.5 * grid[..., 0] * (np.arange(5) == 0)
    turn = _FINGER_BASES @ _turn(2, grid[..., 1] * SPREAD_SIGN) @ _turn(0, grid[..., 0]) @ _turn(1, opposition)
    bends = _turn(0, grid[..., 2:])
    position = np.broadcast_to(np.asarray(bases, np.float64), (*batch, 5, 3))
    fingers = np.array(list(skeleton.FINGERS.values()))
    joints[..., fingers[:, 0], :] = position
    for k in range(3):
        turn = turn @ bends[..., k - 1, :, :] if k else turn
        bones[..., 1 + k + 3 * np.arange(5), :, :] = np.concatenate([turn, position[..., None]], -1)
        position = position + lengths[:, k, None] * turn[..., 1]
        joints[..., fingers[:, k + 1], :] = position
    bones[..., 0, :, :3] = np.eye(3)
    # The forearm turns against the hand about the wrist, hence the minus signs.
    bones[..., FOREARM, :, :3] = _turn(2, -angles[..., 21]) @ _turn(0, -angles[..., 20])
    return joints, bones


def forearm_length(traits):
    """Wrist to elbow, mm."""
    return people.FOREARM_RATIO * traits.length


def elbow(traits, angles, R, t):
    """World position [..., 3] mm of the elbow for `angles` [..., 22] degrees, `R` [..., 3, 3], wrist `t` [..., 3]."""
    angles = np.asarray(angles, np.float64)
    along = (_turn(2, -angles[..., 21]) @ _turn(0, -angles[..., 20]))[..., 1]
    return t - forearm_length(traits) * np.einsum("...ij,...j->...i", R, along)


def bind(traits):
    """Joints [21, 3] and bones [17, 3, 4] of the pose in which the skin is meshed."""
    return forward(traits.bases, traits.lengths, _BIND)


def capsules(traits):
    """The flesh in the bind pose, as `capsule.Capsules`."""
    return flesh.capsules(traits, *bind(traits))


def _half(turns):
    """Rotations by half the angle of `turns` [n, 3, 3], which turn by less than 180 degrees."""
    cosine = np.sqrt(np.maximum(1 + np.trace(turns, axis1=1, axis2=2), 1e-6)) / 2
    skew = (turns - turns.transpose(0, 2, 1)) / (4 * cosine[:, None, None])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)[:, None, None]


def _skin_transforms(joints, bones, bind_joints, bind_bones):
    """Maps [33, 3, 4] from the bind pose to a pose: the 17 bones, then the helper of each joint, turned halfway."""
    turn = bones[:, :, :3] @ bind_bones[:, :, :3].transpose(0, 2, 1)
    shift = bones[:, :, 3] - np.einsum("bij,bj->bi", turn, bind_bones[:, :, 3])
    relative = turn[_PARENTS].transpose(0, 2, 1) @ turn[1:]
    middle = turn[_PARENTS] @ _half(relative)
    offset = joints[_HINGES] - np.einsum("bij,bj->bi", middle, bind_joints[_HINGES])
    return np.concatenate([np.concatenate([turn, middle]), np.concatenate([shift, offset])[..., None]], -1)


@functools.lru_cache(maxsize=16)
def make_subject(seed, index, spacing=1.0):
    """The hand of subject `index`, a pure function of its arguments; `spacing` > 1 gives a coarser mesh."""
    traits = people.traits(seed, index)
    joints, bones = bind(traits)
    caps = capsules(traits)
    vertices, triangles = flesh.mesh(caps, traits, spacing)
    weights = skinning.skin_weights(vertices, triangles, caps, traits, joints, bones)
    faces_of_vertex = flesh.incidence(triangles, len(vertices))
    normals = flesh.vertex_normals(vertices, triangles, faces_of_vertex)
    colours = skin.paint(seed, index, traits, vertices, normals, weights, bones, caps)
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    carried = (weights[:, :, None] * homogeneous[:, None]).reshape(len(vertices), -1)
    return Subject(
        traits.name,
        traits,
        vertices,
        triangles,
        weights,
        colours,
        scipy.sparse.csr_matrix(carried.astype(np.float32)),
        faces_of_vertex,
        joints,
        bones,
    )


def pose_mesh(subject, angles, R, t):
    """Vertices [v, 3], unit normals [v, 3] (float32) and joints [21, 3]; world, mm: `X = R x + t`, wrist at `t`."""
    joints, bones = forward(subject.traits.bases, subject.traits.lengths, angles)
    maps = R @ _skin_transforms(joints, bones, subject.bind_joints, subject.bind_bones)
    local = subject.carried @ maps.transpose(0, 2, 1).reshape(-1, 3).astype(np.float32)
    normals = flesh.vertex_normals(local, subject.triangles, subject.faces_of_vertex)
    return local + np.asarray(t, np.float32), normals, joints @ R.T + t
