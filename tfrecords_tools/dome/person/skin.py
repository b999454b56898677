"""Vertex colours of a hand, computed once in the bind pose: display colours under white light, RGB in 0..1.

    colour = back (1 - p) + palm p,   p: how far the surface faces the palmar side of its bone

Redness, pigment, creases, palm lines, veins, nails and mottling are multiplied or mixed in. Ambient occlusion from the
distance field d darkens the gaps between fingers: 1 - a max(0, 1 - d(x + h n) / h). A sleeve covers the forearm.
"""

import itertools

import numpy as np

from tfrecords_tools.dome.person import capsule, flesh, people
from tfrecords_tools.dome.random_keys import RandomKey

# Choice: the swatches are of paint; blood under the skin shifts them towards red, least where pigment hides it.
_BLOOD = np.array([1.0, 0.895, 0.86])
_PALM = np.array([0.86, 0.66, 0.57])
_NAIL = np.array([0.9, 0.7, 0.66])
# Heart, head and life line of the palm: points x, y as fractions of the distance from wrist to middle knuckle.
_LINES = (
    [(-0.47, 0.7), (-0.3, 0.74), (-0.05, 0.81), (0.1, 0.93)],
    [(0.33, 0.8), (0.15, 0.68), (-0.1, 0.57), (-0.34, 0.46)],
    [(0.33, 0.78), (0.2, 0.66), (0.1, 0.5), (0.06, 0.34), (0.1, 0.17), (0.19, 0.04)],
)


def _bell(x, width):
    return np.exp(-0.5 * (x / width) ** 2)


def _to_line(points, line):
    """Distance [n] from `points` [n, 2] to a polyline of points [m, 2]."""
    line = np.asarray(line)
    a, b = line[:-1], line[1:]
    along = np.einsum("nmk,mk->nm", points[:, None] - a, b - a) / np.sum((b - a) ** 2, 1)
    gap = points[:, None] - a - np.clip(along, 0, 1)[..., None] * (b - a)
    return np.linalg.norm(gap, axis=2).min(1)


def _noise(rng, points, period):
    """Smooth noise [n] of about unit amplitude, with bumps about `period` mm apart."""
    waves = rng.standard_normal((6, 3))
    waves *= 2 * np.pi / period / np.linalg.norm(waves, axis=1, keepdims=True)
    return np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 6)).sum(1) / np.sqrt(3)


class _Surface:
    """What painting needs for each vertex: its main bone, its position in that bone's frame, its place on the hand."""

    def __init__(self, traits, vertices, normals, weights, bones):
        solid = weights[:, :17].copy()
        solid[:, 1:] += weights[:, 17:][:, [*range(15), 15]]  # a helper counts as the child bone
        self.traits, self.vertices, self.bones = traits, vertices, bones
        self.normals = normals
        self.bone = solid.argmax(1)
        frame = bones[self.bone]
        self.local = np.einsum("vij,vi->vj", frame[:, :, :3], vertices - frame[:, :, 3])
        palmar = np.einsum("vi,bi->vb", self.normals, bones[:, :, 2])
        self.facing = np.sum(solid * palmar, 1)
        self.phalanx = (self.bone > 0) & (self.bone < 16)
        number = np.where(self.phalanx, self.bone - 1, 0)
        self.finger, self.segment = number // 3, number % 3
        self.length = np.where(self.phalanx, traits.lengths[self.finger, self.segment], 1.0)
        self.share = np.where(self.phalanx, self.local[:, 1] / self.length, -1.0)
        self.tip = self.phalanx & (self.segment == 2)
        self.arm = solid[:, 16]
        self.unit = np.linalg.norm(traits.bases[2])

    def joint_gaps(self):
        """Distance in mm along the finger from each vertex to the nearest joint crease of its finger, [v]."""
        proximal = np.abs(self.local[:, 1])
        distal = np.where(self.tip, np.inf, np.abs(self.local[:, 1] - self.length))
        first = (self.segment == 0) & (self.finger > 0)
        root = np.abs(self.share - 0.36) * self.length
        return np.where(self.phalanx, np.minimum(np.where(first, root, proximal), distal), np.inf)


def _base(surface, tone):
    """Base colours [v, 3] and palm share p [v]; palm and back meet along the sides of fingers and hand."""
    skin = surface.traits.skin * (1 - (1 - _BLOOD) * (1 - 0.5 * tone)) * (0.94 + 0.06 * tone)
    palm = skin + (_PALM - skin) * (0.3 + 0.42 * tone)
    inner = flesh.ease(surface.facing, -0.3, 0.35) * (1 - 0.75 * surface.arm)
    return skin + (palm - skin) * inner[:, None], inner


def _redness(surface, inner, tone):
    """Factors [v, 3]: redder tips, knuckles and ball of the thumb; more pigment on the knuckles."""
    tips = np.where(surface.tip, flesh.ease(surface.share, 0.1, 1.0), 0)
    joints = surface.bones[:, :, 3][[1 + 3 * f + k for f in range(5) for k in range(3)]]
    gaps = np.linalg.norm(surface.vertices[:, None] - joints, axis=2).min(1) / surface.unit * 82
    knuckle = (1 - inner) * _bell(gaps - 9, 2.6) * (1 - surface.arm)
    balls = inner * ((surface.bone == 1) | (surface.bone == 0)) * flesh.ease(surface.local[:, 2], 6, 14)
    red = 0.75 * tips * (0.5 + 0.5 * inner) + 0.5 * knuckle + 0.35 * balls
    strength = 0.16 - 0.07 * tone
    return (1 - red[:, None] * strength * [0.15, 1.0, 0.95]) * (1 - (0.04 + 0.1 * tone) * knuckle[:, None])


def _creases(surface, inner, tone):
    """Factors [v, 3]: folds at the joints, the three palm lines, wrinkles over the knuckles."""
    gaps = surface.joint_gaps()
    depth = 0.2 * inner * _bell(gaps, 1.9) + 0.08 * (1 - inner) * _bell(gaps, 3.0)
    plane = surface.vertices[:, :2] / surface.unit
    palm = inner * (surface.bone <= 1) * (surface.vertices[:, 1] > 0)
    near = np.min([_to_line(plane, line) for line in _LINES], axis=0) * surface.unit
    depth += 0.18 * palm * _bell(near, 2.1)
    depth += 0.16 * inner * _bell(surface.vertices[:, 1] / surface.unit * 82 - 1, 1.8) * (surface.arm < 0.9)
    return 1 - depth[:, None] * (1 + 0.3 * tone) * [0.75, 1.0, 1.0]


def _veins(rng, surface, inner, tone):
    """Factors [v, 3] for the back of the hand: bluish veins between the tendons, which are a little lighter."""
    back = (1 - inner) * (surface.bone == 0) * flesh.ease(surface.vertices[:, 1], 5, 25)
    plane, unit = surface.vertices[:, :2] / surface.unit, surface.unit
    knuckles = surface.traits.bases[1:, :2] / unit
    tendons = np.min([_to_line(plane, [(0.02 - 0.03 * i, 0.1), k]) for i, k in enumerate(knuckles)], axis=0) * unit
    veins = []
    for a, b in itertools.pairwise(knuckles):
        top = (a + b) / 2 - [0, 0.06]
        bend = top * [0.75, 0.6] + rng.uniform(-0.06, 0.06, 2)
        veins.append(_to_line(plane, [top, bend, (rng.uniform(-0.2, 0.2), 0.08)]))
    blue = back * _bell(np.min(veins, axis=0) * unit, 1.7) * (0.1 - 0.06 * tone)
    light = back * _bell(tendons, 2.0) * 0.035
    return 1 - blue[:, None] * [1.3, 0.8, 0.4] + light[:, None]


def _nails(surface, colours):
    """`colours` [v, 3] with nails on the last phalanges: a pink bed, a pale edge and lunula, darker folds around it."""
    finger, local = surface.finger, surface.local
    half = 0.82 * surface.traits.radii[finger, 3]
    middle, long = 0.8 * surface.length, np.where(finger == 0, 0.29, 0.31) * surface.length
    x, y = local[:, 0] / half, (local[:, 1] - middle) / long
    distance = (np.abs(x) ** 3 + np.abs(y) ** 3) ** (1 / 3)
    dorsal = np.where(surface.tip, flesh.ease(-surface.facing, 0.25, 0.5), 0)
    plate = (dorsal * (1 - flesh.ease(distance, 0.8, 1.12)))[:, None]
    fold = (dorsal * _bell(distance - 1.2, 0.16))[:, None]
    lunula = 0.5 * flesh.ease(-y, 0.55, 0.85) * (1 - flesh.ease(np.abs(x), 0.4, 0.8))
    pale = np.maximum(flesh.ease(y, 0.6, 0.9), lunula)[:, None]
    bed = colours * 0.35 + 0.65 * _NAIL * (0.55 + 0.45 * colours.max(1, keepdims=True))
    bed = bed + (np.array([0.93, 0.87, 0.8]) * (0.6 + 0.4 * colours.max(1, keepdims=True)) - bed) * 0.7 * pale
    return (colours + (bed - colours) * plate) * (1 - 0.16 * fold)


def _occlusion(surface, caps):
    """Factors [v, 1] that darken hollows: points h mm off the surface are nearer to it than h mm there."""
    hidden = 0
    for height, amount in ((4.0, 0.14), (11.0, 0.17)):
        clearance = flesh.field(surface.vertices + height * surface.normals, caps, surface.traits.sleeve)
        hidden = hidden + amount * np.clip(1 - clearance / height, 0, 1)
    return (1 - hidden)[:, None]


def _cloth(rng, surface):
    """Sleeve colours [v, 3]: plain, rings or checks with soft edges, or ribs along the arm."""
    sleeve, vertices = surface.traits.sleeve, surface.vertices
    around = np.arctan2(vertices[:, 2], vertices[:, 0]) * 38.0  # mm around an arm of this radius
    around *= 2 * np.pi / sleeve.period * round(2 * np.pi * 38.0 / sleeve.period) / (2 * np.pi * 38.0 / sleeve.period)
    along = 2 * np.pi * vertices[:, 1] / sleeve.period
    bands = {
        "plain": np.zeros(len(vertices)),
        "stripes": flesh.ease(np.sin(along), -0.1, 0.3),
        "checks": 0.5 * flesh.ease(np.sin(along), -0.1, 0.3) + 0.5 * flesh.ease(np.sin(around), -0.1, 0.3),
        "ribbed": 0.3 * flesh.ease(np.sin(around), -0.6, 0.6),
    }[sleeve.pattern]
    colours = sleeve.colour + (sleeve.colour2 - sleeve.colour) * bands[:, None]
    return colours * (1 + 0.035 * _noise(rng, vertices, 45) + 0.02 * _noise(rng, vertices, 17))[:, None]


def paint(
    seed: int,
    index: int,
    traits: people.Traits,
    vertices: np.ndarray,
    normals: np.ndarray,
    weights: np.ndarray,
    bones: np.ndarray,
    caps: capsule.Capsules,
) -> np.ndarray:
    """Vertex colours [v, 3] in 0..1 of the hand of subject number `index`.

    The hand is given in its bind pose: `vertices` [v, 3] mm, unit `normals` [v, 3], skinning `weights` [v, 33], `bones`
    [17, 3, 4] and the capsules of its flesh.
    """
    rng = np.random.default_rng([seed, RandomKey.SKIN, index])
    surface, tone = _Surface(traits, vertices, normals, weights, bones), traits.tone
    colours, inner = _base(surface, tone)
    colours = colours * _redness(surface, inner, tone) * _creases(surface, inner, tone)
    colours = colours * _veins(rng, surface, inner, tone)
    mottle = 0.022 * _noise(rng, vertices, 24) + 0.02 * _noise(rng, vertices, 9)
    blotch = 0.02 * (0.4 + 0.6 * inner) * _noise(rng, vertices, 15)
    colours = colours * (1 + mottle[:, None] - np.abs(blotch[:, None]) * [0.0, 1.0, 1.0])
    colours = _nails(surface, colours)
    covered = (vertices[:, 1] < traits.sleeve.edge + 0.6 * flesh.CUFF)[:, None]
    colours = np.where(covered, _cloth(rng, surface), colours)
    return np.clip(colours * _occlusion(surface, caps), 0, 1)
