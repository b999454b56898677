"""A parametric right hand: skeleton, one closed skin, and posing by linear-blend skinning.

Hand frame (mm): origin at the wrist crease, +y along the fingers, +z out of the palm, +x towards the thumb. Every bone
has a frame of the same kind (y along the bone, z palmar), so flexion is a turn about x and abduction one about z:

    R_first = B_finger Rz(s * abduction) Rx(flexion),   R_next = R_previous Rx(flexion)
    joint_child = joint_parent + length * R y
    v(angles) = sum_b w_b (G_b(angles) G_b(bind)^-1) v_bind        linear-blend skinning

`angles` [22] degrees: per finger (flexion, abduction, PIP, DIP), thumb first (CMC flexion, CMC abduction, MCP, IP),
then wrist flexion and wrist deviation. Bones: 0 the palm, 1..15 the phalanges by finger, 16 the forearm.

The skin is the zero level of a smooth union of tapered capsules in the bind pose, meshed once per subject:

    d_i(x) = |x - nearest point of capsule i| - radius_i,   d(x) = -k log sum_i exp(-d_i / k)

and the same distances give the weights, w_b ~ exp(-d_b / tau).
"""

import dataclasses

import numpy as np
import scipy.sparse
from scipy.spatial.transform import Rotation
from skimage import measure

from hand_tf import skeleton

NUM_ANGLES, NUM_BONES = 22, 17
FOREARM = 16
ABDUCTION = (1, 5, 9, 13, 17)
_THUMB_LIMITS = [(-18, 45), (-25, 45), (-10, 60), (-10, 80)]
_FINGER_LIMITS = [(-15, 90), (-12, 18), (0, 105), (0, 75)]
# Choice: textbook active ranges of motion, in degrees, [22, 2].
LIMITS = np.array([*_THUMB_LIMITS, *(_FINGER_LIMITS * 4), (-40, 45), (-20, 25)], np.float64)
SPREAD_SIGN = np.array([-1.0, -1.0, -1.0, 1.0, 1.0])

# A median hand of length 1 (wrist to middle finger tip): first joint of each finger, and bone lengths after it.
_BASES = np.array(
    [[0.115, 0.12, 0.055], [0.13, 0.475, 0], [0.01, 0.485, -0.012], [-0.095, 0.455, -0.006], [-0.185, 0.4, 0.012]]
)
_LENGTHS = np.array(
    [[0.235, 0.17, 0.13], [0.225, 0.135, 0.11], [0.25, 0.155, 0.11], [0.23, 0.145, 0.11], [0.18, 0.1, 0.1]]
)
# Radii at the four joints of each finger, mm, for a hand of median thickness.
_RADII = np.array(
    [[15, 11.4, 10.4, 7.8], [10.4, 9.2, 8.2, 6.8], [10.6, 9.4, 8.4, 6.9], [10.2, 8.8, 7.8, 6.5], [9.2, 7.7, 6.8, 5.8]]
)
_FAN = np.array([0.0, 5.0, 0.0, -5.0, -11.0])  # degrees about z at zero abduction, thumb side positive
# Bind pose: everything spread, so that the capsules of neighbouring fingers do not merge.
_BIND = np.zeros(NUM_ANGLES)
_BIND[list(ABDUCTION)] = [12.0, 7.0, 0.0, 7.0, 11.0]
_BIND[[0, 2]] = [-8.0, 8.0]
# Skin under white light, sRGB 0..1, from very light to very dark.
_SKIN = np.array([[247, 219, 199], [232, 190, 160], [208, 158, 124], [170, 117, 83], [120, 78, 54], [72, 48, 38]]) / 255


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One person's right hand. Lengths in mm; mesh in the bind pose; `weights` [v, 17]; `colours` [v, 3] in 0..1."""

    name: str
    bases: np.ndarray
    lengths: np.ndarray
    radii: np.ndarray
    vertices: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    colours: np.ndarray
    faces_of_vertex: scipy.sparse.csr_matrix


def _thumb_base():
    """Frame of the thumb's metacarpal at rest: pointing up, out and forward, its pad facing the fingers."""
    y = np.array([0.64, 0.72, 0.26]) / np.linalg.norm([0.64, 0.72, 0.26])
    z = np.array([-0.85, 0.1, 0.5]) - (np.array([-0.85, 0.1, 0.5]) @ y) * y
    z /= np.linalg.norm(z)
    return np.column_stack([np.cross(y, z), y, z])


_FINGER_BASES = np.stack([_thumb_base(), *(Rotation.from_euler("z", a, degrees=True).as_matrix() for a in -_FAN[1:])])


def forward(bases, lengths, angles):
    """Joints [21, 3] mm and bone transforms [17, 3, 4] in the hand frame. `bases` [5, 3], `lengths` [5, 3] mm."""
    grid = np.asarray(angles, np.float64)[:20].reshape(5, 4)
    joints, bones = np.zeros((skeleton.NUM_JOINTS, 3)), np.zeros((NUM_BONES, 3, 4))
    # Choice: the saddle joint turns the thumb's pad inwards as it flexes (opposition), half as far as it flexes.
    opposition = 0.5 * grid[:, 0] * (np.arange(5) == 0)
    first = np.stack([grid[:, 1] * SPREAD_SIGN, grid[:, 0], opposition], 1)
    turn = _FINGER_BASES @ Rotation.from_euler("ZXY", first, degrees=True).as_matrix()
    bends = Rotation.from_rotvec(grid[:, 2:].reshape(10, 1) * [1.0, 0, 0], degrees=True).as_matrix().reshape(5, 2, 3, 3)
    position = np.asarray(bases, np.float64)
    fingers = np.array(list(skeleton.FINGERS.values()))
    joints[fingers[:, 0]] = position
    for k in range(3):
        turn = turn @ bends[:, k - 1] if k else turn
        bones[1 + k + 3 * np.arange(5)] = np.concatenate([turn, position[..., None]], -1)
        position = position + lengths[:, k, None] * turn[..., 1]
        joints[fingers[:, k + 1]] = position
    bones[0, :, :3] = np.eye(3)
    # The forearm turns against the hand about the wrist, hence the minus signs.
    bones[FOREARM, :, :3] = Rotation.from_euler("xz", -np.asarray(angles)[20:], degrees=True).as_matrix()
    return joints, bones


def _capsules(bases, lengths, radii, thickness):
    """The flesh in the bind pose: arrays start [c, 3], end [c, 3], radii [c, 2], bone [c]."""
    joints, bones = forward(bases, lengths, _BIND)
    parts = []
    for finger, ids in enumerate(skeleton.FINGERS.values()):
        for k in range(3):
            a, b = joints[ids[k]], joints[ids[k + 1]]
            # The last capsule ends before the tip joint, so that this lies inside the finger tip.
            b = b - (0.5 * radii[finger, 3]) * bones[1 + 3 * finger + k, :, 1] if k == 2 else b
            parts.append((a, b, radii[finger, k], radii[finger, k + 1], 1 + 3 * finger + k))
    s, unit = thickness, np.linalg.norm(bases[2])  # unit: wrist to middle knuckle
    wrist = unit * np.array([[0.13, 0.06, 0], [0.06, 0.06, 0], [0, 0.06, 0], [-0.08, 0.06, 0], [-0.14, 0.06, 0.01]])
    for finger, radius in zip(range(1, 5), (10.5, 10.5, 10.0, 9.5), strict=True):
        parts.append((wrist[finger], bases[finger], 13.5 * s, radius * s, 0))
        if finger < 4:
            middle = (bases[finger] + bases[finger + 1]) / 2 - [0, 6, 0]
            parts.append(((wrist[finger] + wrist[finger + 1]) / 2, middle, 13 * s, 9.5 * s, 0))
    parts.append((unit * np.array([-0.2, 0.2, 0.07]), unit * np.array([-0.33, 0.62, 0.06]), 14 * s, 11 * s, 0))
    parts.append((unit * np.array([0.16, 0.2, 0.1]), joints[2] * 0.85 + [0, 4, 1], 16.0 * s, 11.0 * s, 1))
    # The web between thumb and index finger.
    parts.append(
        (unit * np.array([0.24, 0.3, 0.08]), bases[1] - unit * np.array([-0.02, 0.32, -0.05]), 11 * s, 9.0 * s, 0)
    )
    for x in (-1, 0, 1):
        start, end = np.array([x * 10.5, 2, 0]) * unit / 90, np.array([x * 12.0, -150, 0]) * unit / 90
        parts.append((start, end, 15 * s, 21 * s, FOREARM))
    columns = list(zip(*parts, strict=True))
    return np.array(columns[0]), np.array(columns[1]), np.array(columns[2:4], float).T, np.array(columns[4])


def _distances(points, capsules):
    """Signed distance of `points` [n, 3] to each capsule, [n, c] mm."""
    start, end, radii, _ = capsules
    axis = end - start
    along = np.einsum("ncd,cd->nc", points[:, None] - start, axis) / np.sum(axis * axis, -1)
    along = np.clip(along, 0, 1)
    gap = np.linalg.norm(points[:, None] - start - along[..., None] * axis, axis=-1)
    return gap - (radii[:, 0] + along * (radii[:, 1] - radii[:, 0]))


def _bone_distances(distances, bone_of):
    """Distance to the nearest capsule of each bone, [n, 17]."""
    return np.stack([distances[:, bone_of == bone].min(1) for bone in range(NUM_BONES)], 1)


def _field(points, capsules):
    """Smooth union [n]: soft in the palm (5 mm), tight along the fingers (1.3 mm), so knuckles do not swell."""
    distances = _distances(points, capsules)
    palm = np.min(distances[:, np.isin(capsules[3], (0, FOREARM))], axis=1)
    k = 5.0 - 3.7 * np.clip(palm / 16.0, 0, 1)
    low = distances.min(1)
    return low - k * np.log(np.sum(np.exp((low[:, None] - distances) / k[:, None]), 1))


def _mesh(capsules):
    """Closed skin by marching cubes: vertices [v, 3] mm, triangles [m, 3] with outward normals (counter-clockwise)."""
    # Cells are longer along the fingers than across them, where the curvature is.
    spacing = np.array([4.2, 5.6, 4.2])
    low = np.minimum(capsules[0], capsules[1]).min(0) - 32
    high = np.maximum(capsules[0], capsules[1]).max(0) + 32
    axes = [np.arange(a, b, step) for a, b, step in zip(low, high, spacing, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    field = np.concatenate([_field(slab.reshape(-1, 3), capsules) for slab in points])
    field = field.reshape(points.shape[:3])
    vertices, faces, _, _ = measure.marching_cubes(field, 0.0, spacing=spacing, gradient_direction="ascent")
    return vertices + low, faces[:, ::-1].astype(np.int32)


def _bell(x, width):
    return np.exp(-0.5 * (x / width) ** 2)


def _paint(vertices, weights, bones, lengths, tone, sleeve):
    """Vertex colours [v, 3]: palm against back, redder finger tips, creases at the joints, nails, a sleeve."""
    skin = np.array([np.interp(tone, np.linspace(0, 1, len(_SKIN)), channel) for channel in _SKIN.T])
    bone = weights.argmax(1)
    local = np.einsum("vij,vi->vj", bones[bone, :, :3], vertices - bones[bone, :, 3])
    radial = np.hypot(local[:, 0], local[:, 2]) + 1e-6
    palmar = np.clip(local[:, 2] / np.where(bone % FOREARM, radial, 12.0), -1, 1)
    inner = (np.clip(palmar + 0.25, 0, 1) * (bone != FOREARM))[:, None]
    # Palms carry little pigment: light even on a dark hand, and pinker than the back.
    palm_skin = skin + (np.array([0.86, 0.62, 0.54]) - skin) * (0.25 + 0.35 * tone)
    colours = skin * (1 - inner) + palm_skin * inner
    length = np.append(lengths.ravel(), 1.0)[np.clip(bone - 1, 0, 15)]
    phalanx = (bone > 0) & (bone < FOREARM)
    along = np.where(phalanx, local[:, 1], 1e3)
    tip = phalanx & (bone % 3 == 0)
    red = np.where(tip, np.clip(along / length, 0, 1), 0.0)[:, None]
    colours = colours * (1 - red * np.array([0.02, 0.16, 0.14]))
    crease = np.maximum(_bell(along, 2.2), np.where(tip, 0, _bell(along - length, 2.2)))
    colours = colours * (1 - (crease * np.where(palmar > 0, 0.28, 0.2))[:, None] * np.array([0.8, 1, 1]))
    nail = tip & (palmar < -0.45) & (along > 0.52 * length) & (along < length + 2)
    colours[nail] = 0.45 * colours[nail] + 0.55 * np.array([0.95, 0.74, 0.72])
    cloth, edge, stripe = sleeve
    covered = (bone == FOREARM) & (vertices[:, 1] < edge)
    colours[covered] = cloth * (1 - stripe * (np.sin(vertices[covered, 1] / 5.0) > 0.3))[:, None]
    return np.clip(colours, 0, 1)


def _traits(seed, index):
    """Size, proportions, skin tone and sleeve of subject `index`; subject 0 is a median person for every seed."""
    rng = np.random.default_rng([seed, 101, index])
    vary = 0.0 if index == 0 else 1.0
    # Choice: additive recurrences spread few subjects evenly over the range, where draws would clump.
    fraction = (0.5 + index * np.array([0.6180340, 0.7548777, 0.5698403])) % 1.0
    hand = 165 + 40 * fraction[0] if vary else 186.0
    bases = _BASES * hand * np.array([1 + vary * rng.uniform(-0.07, 0.07), 1, 1])
    lengths = (
        _LENGTHS * hand * (1 + vary * rng.uniform(-0.05, 0.05, (5, 1))) * (1 + vary * rng.uniform(-0.03, 0.03, (5, 3)))
    )
    thickness = hand / 186 * (1 + vary * 0.24 * (fraction[1] - 0.5))
    cloth = np.array([rng.uniform(0.08, 0.9), rng.uniform(0.08, 0.9), rng.uniform(0.08, 0.9)])
    sleeve = (cloth, -rng.uniform(12, 75), vary * rng.choice([0.0, 0.3]))
    return bases, lengths, thickness, 0.05 + 0.9 * fraction[2] if vary else 0.42, sleeve


def make_subject(seed, index):
    """The hand of subject `index`, a pure function of `(seed, index)`; takes about a second."""
    bases, lengths, thickness, tone, sleeve = _traits(seed, index)
    radii = _RADII * thickness
    capsules = _capsules(bases, lengths, radii, thickness)
    vertices, triangles = _mesh(capsules)
    distances = _bone_distances(_distances(vertices, capsules), capsules[3])
    weights = np.exp(-(distances - distances.min(1, keepdims=True)) / 1.3)
    weights[weights < 0.01] = 0
    weights /= weights.sum(1, keepdims=True)
    _, bones = forward(bases, lengths, _BIND)
    colours = _paint(vertices, weights, bones, lengths, tone, sleeve)
    ones = np.ones(triangles.size)
    faces = np.repeat(np.arange(len(triangles)), 3)
    incidence = scipy.sparse.csr_matrix((ones, (triangles.ravel(), faces)), (len(vertices), len(triangles)))
    return Subject(f"S{index}", bases, lengths, radii, vertices, triangles, weights, colours, incidence)


def vertex_normals(subject, vertices):
    """Area-weighted unit normals [v, 3] of the posed mesh."""
    corners = vertices[subject.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = subject.faces_of_vertex @ faces
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def pose_mesh(subject, angles, R, t):
    """Vertices [v, 3], unit normals [v, 3] and joints [21, 3] in the world (mm): `X = R x + t`, wrist at `t`."""
    joints, bones = forward(subject.bases, subject.lengths, angles)
    _, bind = forward(subject.bases, subject.lengths, _BIND)
    turn = bones[:, :, :3] @ bind[:, :, :3].transpose(0, 2, 1)
    shift = bones[:, :, 3] - np.einsum("bij,bj->bi", turn, bind[:, :, 3])
    blended = subject.weights @ np.concatenate([turn.reshape(-1, 9), shift], 1)
    local = np.einsum("vij,vj->vi", blended[:, :9].reshape(-1, 3, 3), subject.vertices) + blended[:, 9:]
    vertices = local @ R.T + t
    return vertices, vertex_normals(subject, vertices), joints @ R.T + t
