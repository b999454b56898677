"""The solids that objects consist of (boxes, cylinders, spheres): intersection with rays, distance, appearance.

local x = T (X - c),  |x_i| <= h_i    box: half sizes h; cylinder: radius h_0, half length h_1 along local y;
                                      sphere: radius h_0
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfrecords_tools.dome.studio import texture


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One solid.

    Attributes:
        kind: "box", "cylinder" or "sphere".
        centre: c, [3] mm.
        rotation: T, whose rows are the local axes, [3, 3].
        half: h, [3] mm.
        colours: two colours, [2, 3].
        pattern: in which the second colour appears.
    """

    kind: str
    centre: np.ndarray
    rotation: np.ndarray
    half: np.ndarray
    colours: np.ndarray
    pattern: str = "plain"

    @property
    def radius(self) -> float:
        """Radius of the bounding sphere about `centre`, mm."""
        if self.kind == "sphere":
            return float(self.half[0])
        return float(np.linalg.norm(self.half if self.kind == "box" else self.half[:2]))

    def extent(self, direction: np.ndarray) -> float:
        """An upper bound of how far the part reaches from its centre along the unit `direction` [3], mm."""
        return self.half[0] if self.kind == "sphere" else float(np.abs(self.rotation @ direction) @ self.half)


def about_vertical(angle: float) -> np.ndarray:
    """Rotation [3, 3] about the vertical by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def box(centre: ArrayLike, half: ArrayLike, colours: ArrayLike, heading: float = 0.0, pattern: str = "plain") -> Part:
    """A box rotated about the vertical by `heading` radians."""
    rotation = about_vertical(heading)
    return Part("box", np.asarray(centre, float), rotation, np.asarray(half, float), np.asarray(colours), pattern)


def rod(start: ArrayLike, end: ArrayLike, radius: float, colours: ArrayLike, pattern: str = "plain") -> Part:
    """A cylinder from `start` [3] to `end` [3]."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    y = (end - start) / np.linalg.norm(end - start)
    x = np.cross(y, [1.0, 0, 0] if abs(y[0]) < 0.7 else [0, 0, 1.0])
    x /= np.linalg.norm(x)
    half = np.array([radius, np.linalg.norm(end - start) / 2, radius])
    return Part("cylinder", (start + end) / 2, np.stack([x, y, np.cross(x, y)]), half, np.asarray(colours), pattern)


def ball(centre: ArrayLike, radius: float, colours: ArrayLike, pattern: str = "plain") -> Part:
    """A sphere."""
    return Part("sphere", np.asarray(centre, float), np.eye(3), np.full(3, float(radius)), np.asarray(colours), pattern)


def _hit_box(origin, rays, half):
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (-half * np.sign(rays) - origin) / rays, (half * np.sign(rays) - origin) / rays
    near, far = np.nanmax(near, 1), np.nanmin(far, 1)
    return np.where((near <= far) & (near > 0), near, np.inf)


def _hit_round(origin, rays, radius):
    """Lengths [n] to the nearer intersection with |x| = radius, in the d dimensions of `rays` [n, d]; inf for none."""
    a, b = np.einsum("nd,nd->n", rays, rays) + np.float32(1e-12), np.einsum("nd,nd->n", rays, origin)
    c = np.einsum("nd,nd->n", origin, origin) - radius**2
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    return np.where((root >= 0) & (t > 0), t, np.inf)


def _hit_cylinder(origin, rays, half):
    side = _hit_round(origin[:, ::2], rays[:, ::2], half[0])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        side = np.where(np.abs(origin[:, 1] + side * rays[:, 1]) <= half[1], side, np.inf)
        cap = (-half[1] * np.sign(rays[:, 1]) - origin[:, 1]) / rays[:, 1]
        inside = np.sum((origin[:, ::2] + cap[:, None] * rays[:, ::2]) ** 2, 1) <= half[0] ** 2
    return np.minimum(side, np.where(inside & (cap > 0), cap, np.inf))


def intersect(part: Part, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Where `rays` [n, 3] from `origin` [3] enter `part`: multiples [n] of the rays, inf for those that miss it."""
    rotation, half = part.rotation.T.astype(np.float32), part.half.astype(np.float32)
    local = np.broadcast_to(((np.asarray(origin) - part.centre) @ part.rotation.T).astype(np.float32), rays.shape)
    rays = rays @ rotation
    if part.kind == "box":
        return _hit_box(local, rays, half)
    return _hit_cylinder(local, rays, half) if part.kind == "cylinder" else _hit_round(local, rays, half[0])


def distance(part: Part, points: np.ndarray) -> np.ndarray:
    """Distances [n] mm from `points` [n, 3] to `part`; 0 or less inside it."""
    local = (np.atleast_2d(points) - part.centre) @ part.rotation.T
    if part.kind == "sphere":
        return np.linalg.norm(local, axis=1) - part.half[0]
    if part.kind == "cylinder":
        local = np.stack([np.hypot(local[:, 0], local[:, 2]), local[:, 1]], 1)
    out = np.abs(local) - part.half[: local.shape[1]]
    return np.linalg.norm(np.maximum(out, 0), axis=1) + np.minimum(out.max(1), 0)


def appearance(
    part: Part, noise: texture.Noise, points: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance [n, 3] and outward unit normals [n, 3] of `part` at `points` [n, 3] on its surface.

    A pixel is `width` [n] mm wide at each point.
    """
    rotation, half = part.rotation.astype(np.float32), part.half.astype(np.float32)
    local = (points - part.centre.astype(np.float32)) @ rotation.T
    share = local / half
    if part.kind == "box":
        face = np.argmax(np.abs(share), 1)
        normals = np.eye(3, dtype=np.float32)[face] * np.sign(np.take_along_axis(local, face[:, None], 1))
    else:
        cap = (part.kind == "cylinder") * (np.abs(share[:, 1]) > 0.999)
        flat = 1.0 if part.kind == "sphere" else 0.0
        normals = np.where(cap[:, None], share * [0, 1, 0], share * [1, flat, 1]).astype(np.float32)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    u, v = local[:, 0] + 0.6 * local[:, 2], local[:, 1] - 0.4 * local[:, 2]
    light = 1 + 0.1 * noise.rough(u, v, 120, width) + 0.05 * noise.rough(u, v, 9, width, 2)
    colour = texture.mix(
        light[:, None] * part.colours[0].astype(np.float32), part.colours[1], _marks(part, local, width)
    )
    if part.kind == "box":  # worn edges
        rim = np.sort(half - np.abs(local), 1)[:, 1]
        colour = colour * (1 - 0.35 * texture.cover(rim - 0.02 * half.max(), width))[:, None]
    return colour, normals @ rotation


def _marks(part, local, width):
    """Share [n] of the second colour at the points `local` [n, 3] in the part's frame."""
    if part.pattern == "stripes":
        return texture.cover(np.abs(np.mod(local[:, 1] / 120, 1) - 0.5) * 120 - 30, width)
    if part.pattern == "tape":
        return texture.cover(np.abs(local[:, 0]) - 30, width)
    if part.pattern == "drawers":
        gap = np.abs(np.mod(local[:, 1] / 190, 1) - 0.5) * 190
        handle = np.maximum(np.abs(local[:, 0]) - 60, np.abs(gap - 60) - 9)
        return texture.cover(np.minimum(92 - gap, handle), width)
    if part.pattern == "face":  # a screen, or the diffuser of a lamp, on the side that faces local -z
        rim = np.minimum(part.half[0] - np.abs(local[:, 0]), part.half[1] - np.abs(local[:, 1])).astype(np.float32) - 18
        return (local[:, 2] < 0.98 * -part.half[2]) * texture.cover(-rim, width)
    return np.zeros(len(local), np.float32)
