"""Things in the room: boxes, cylinders and spheres (`Part`s) that stand on its floor or hang in it.

    local x = T (X - c),  |x_i| <= h_i        box: half sizes h;   cylinder: radius h_0, half length h_1 along local y;
                                              sphere: radius h_0

A thing is a list of parts built about the point (0, 0, 0) on the floor, up being -y, then turned about y and moved.
"""

import dataclasses

import numpy as np

from tfrecords_tools.dome.studio import texture

FREE_RADIUS = 900.0  # mm about the vertical axis through the centre: a person and the hands
FREE_CAMERA = 250.0  # mm about an optical centre
COVERED = 0.06  # share of cameras whose view of the centre thin things (poles, legs) may cover; others may in none
THIN = 40.0  # mm: half the width of a thin part, at most
_TRIES = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One solid: `centre` [3] mm, local axes `turn` [3, 3] (rows), `half` [3] mm, two colours [2, 3], a pattern."""

    kind: str
    centre: np.ndarray
    turn: np.ndarray
    half: np.ndarray
    colours: np.ndarray
    pattern: str = "plain"

    @property
    def radius(self):
        """Radius of the sphere about `centre` that holds the part, mm."""
        if self.kind == "sphere":
            return float(self.half[0])
        return float(np.linalg.norm(self.half if self.kind == "box" else self.half[:2]))

    def extent(self, direction):
        """How far the part reaches from its centre along the unit `direction` [3], mm (at most)."""
        return self.half[0] if self.kind == "sphere" else float(np.abs(self.turn @ direction) @ self.half)


def box(centre, half, colours, heading=0.0, pattern="plain"):
    """A box turned about the vertical by `heading` radians."""
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return Part("box", np.asarray(centre, float), turn, np.asarray(half, float), np.asarray(colours), pattern)


def rod(start, end, radius, colours, pattern="plain"):
    """A cylinder from `start` to `end` [3]."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    y = (end - start) / np.linalg.norm(end - start)
    x = np.cross(y, [1.0, 0, 0] if abs(y[0]) < 0.7 else [0, 0, 1.0])
    x /= np.linalg.norm(x)
    half = np.array([radius, np.linalg.norm(end - start) / 2, radius])
    return Part("cylinder", (start + end) / 2, np.stack([x, y, np.cross(x, y)]), half, np.asarray(colours), pattern)


def ball(centre, radius, colours, pattern="plain"):
    """A sphere."""
    return Part("sphere", np.asarray(centre, float), np.eye(3), np.full(3, float(radius)), np.asarray(colours), pattern)


def _hit_box(origin, rays, half):
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (-half * np.sign(rays) - origin) / rays, (half * np.sign(rays) - origin) / rays
    near, far = np.nanmax(near, 1), np.nanmin(far, 1)
    return np.where((near <= far) & (near > 0), near, np.inf)


def _hit_round(origin, rays, radius):
    """The nearer meeting with |x| = radius in as many dimensions as `rays` [n, d] has; inf for none."""
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


def intersect(part, origin, rays):
    """Lengths [n] along `rays` [n, 3] from `origin` [3], in units of the rays, to where they enter `part`, or inf."""
    turn, half = part.turn.T.astype(np.float32), part.half.astype(np.float32)
    local = np.broadcast_to(((np.asarray(origin) - part.centre) @ part.turn.T).astype(np.float32), rays.shape)
    rays = rays @ turn
    if part.kind == "box":
        return _hit_box(local, rays, half)
    return _hit_cylinder(local, rays, half) if part.kind == "cylinder" else _hit_round(local, rays, half[0])


def distance(part, points):
    """Distances [n] mm from `points` [n, 3] to the part; 0 or less inside."""
    local = (np.atleast_2d(points) - part.centre) @ part.turn.T
    if part.kind == "sphere":
        return np.linalg.norm(local, axis=1) - part.half[0]
    if part.kind == "cylinder":
        local = np.stack([np.hypot(local[:, 0], local[:, 2]), local[:, 1]], 1)
    out = np.abs(local) - part.half[: local.shape[1]]
    return np.linalg.norm(np.maximum(out, 0), axis=1) + np.minimum(out.max(1), 0)


def look(part, noise, points, width):
    """(reflectance [n, 3], outward unit normals [n, 3]) of the part at `points` [n, 3] on it."""
    turn, half = part.turn.astype(np.float32), part.half.astype(np.float32)
    local = (points - part.centre.astype(np.float32)) @ turn.T
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
    return colour, normals @ turn


def _marks(part, local, width):
    """Share [n] of the part's second colour."""
    if part.pattern == "stripes":
        return texture.cover(np.abs(np.mod(local[:, 1] / 120, 1) - 0.5) * 120 - 30, width)
    if part.pattern == "tape":
        return texture.cover(np.abs(local[:, 0]) - 30, width)
    if part.pattern == "drawers":
        gap = np.abs(np.mod(local[:, 1] / 190, 1) - 0.5) * 190
        handle = np.maximum(np.abs(local[:, 0]) - 60, np.abs(gap - 60) - 9)
        return texture.cover(np.minimum(92 - gap, handle), width)
    if part.pattern == "face":  # a screen or a lamp's diffuser on the side that looks along local -z
        rim = np.minimum(part.half[0] - np.abs(local[:, 0]), part.half[1] - np.abs(local[:, 1])).astype(np.float32) - 18
        return (local[:, 2] < 0.98 * -part.half[2]) * texture.cover(-rim, width)
    return np.zeros(len(local), np.float32)


def _colours(rng):
    return np.stack([texture.colour(rng), texture.colour(rng)])


def _dark(rng):
    return np.full((2, 3), rng.uniform(0.05, 0.16))


def _lamp_stand(rng, height):
    tall, metal = rng.uniform(1500, min(2300, height - 300)), _dark(rng)
    legs = [rod((0, -450, 0), (320 * np.cos(a), -8, 320 * np.sin(a)), 9, metal) for a in 2.1 * np.arange(3)]
    front = np.stack([metal[0], [1.5, 1.47, 1.4]])
    wide = rng.uniform(130, 300)
    head = box((0, -tall - wide * 0.7, 0), (wide, wide * 0.7, 70), front, 0.0, "face")
    return [rod((0, -10, 0), (0, -tall, 0), 15, metal), head, *legs]


def _tripod(rng, height):
    top, metal = rng.uniform(900, 1600), _dark(rng)
    legs = [rod((0, -top, 0), (380 * np.cos(a), -8, 380 * np.sin(a)), 13, metal) for a in 2.1 * np.arange(3)]
    return [*legs, box((0, -top - 60, 0), (55, 45, 80), metal), rod((0, -top - 60, 75), (0, -top - 60, 150), 32, metal)]


def _chair(rng, height):
    seat, colours, metal = 450, _colours(rng), _dark(rng)
    legs = [rod((x, -8, z), (x, -seat, z), 14, metal) for x in (-190, 190) for z in (-190, 190)]
    back = box((0, -seat - 280, 205), (205, 190, 18), colours, 0.0, rng.choice(["plain", "stripes"]))
    return [*legs, box((0, -seat - 20, 0), (220, 25, 220), colours), back]


def _boxes(rng, height):
    parts, top = [], 0.0
    for _ in range(rng.integers(2, 5)):
        half = rng.uniform([150, 90, 130], [280, 200, 240])
        cardboard = np.array([0.68, 0.5, 0.34]) * rng.uniform(0.75, 1.15)
        colours = np.stack([cardboard, [0.75, 0.68, 0.52]]) if rng.random() < 0.6 else _colours(rng)
        parts.append(box((0, top - half[1], 0), half, colours, rng.uniform(-0.3, 0.3), "tape"))
        top -= 2 * half[1]
    return parts


def _cabinet(rng, height):
    half, colours = (
        rng.uniform([250, 400, 200], [450, 900, 280]),
        np.stack([texture.muted(rng), texture.muted(rng) * 0.3]),
    )
    return [box((0, -half[1], 0), half, colours, 0.0, "drawers")]


def _balloons(rng, height):
    parts = [box((0, -40, 0), (50, 40, 50), _colours(rng))]
    for _ in range(rng.integers(1, 4)):
        place, radius = np.array([*rng.uniform(-220, 220, 2), 0])[[0, 2, 1]], rng.uniform(105, 150)
        place[1] = -rng.uniform(1200, min(2300, height - 200))
        parts += [rod((0, -80, 0), place, 2.5, np.full((2, 3), 0.75)), ball(place, radius, _colours(rng))]
    return parts


def _pipe(rng, height):
    return [rod((0, 0, 0), (0, -height, 0), rng.uniform(18, 38), _colours(rng), rng.choice(["plain", "stripes"]))]


def _pendant(rng, height):
    low, colours = rng.uniform(1500, height - 500), _colours(rng)
    body = (
        ball((0, -low, 0), rng.uniform(90, 170), colours)
        if rng.random() < 0.5
        else box((0, -low, 0), rng.uniform(60, 190, 3), colours, rng.uniform(0, 3), "tape")
    )
    return [rod((0, -low, 0), (0, -height, 0), 7, _dark(rng)), body]


def _screen(rng, height):
    metal, tall = _dark(rng), rng.uniform(900, 1400)
    glow = np.stack([metal[0], rng.uniform(0.25, 1.0) * np.array([0.75, 0.9, 1.1])])
    parts = [box((0, -15, 0), (220, 15, 180), metal), rod((0, -20, 0), (0, -tall, 0), 28, metal)]
    return [*parts, box((0, -tall, -50), (380, 225, 22), glow, 0.0, "face")]


def _gym_ball(rng, height):
    radius = rng.uniform(200, 340)
    return [ball((0, -radius, 0), radius, _colours(rng))]


_THINGS = (_lamp_stand, _tripod, _chair, _boxes, _cabinet, _balloons, _pipe, _pendant, _screen, _gym_ball)


def _placed(parts, heading, place):
    """`parts` turned about the vertical by `heading` radians and moved by `place` [3]."""
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return [dataclasses.replace(p, centre=turn @ p.centre + place, turn=p.turn @ turn.T) for p in parts]


def covered(parts, centre, cameras):
    """Which `cameras` have their view of `centre` covered by one of `parts`, [n] bool."""
    found = np.zeros(len(cameras), bool)
    for i, camera in enumerate(cameras):
        ray = (centre - camera.centre)[None].astype(np.float32)
        found[i] = any(intersect(part, camera.centre, ray)[0] < 1 for part in parts)
    return found


def _fits(parts, centre, normals, offsets, cameras, others):
    """Whether `parts` stay in the room, out of the free space, off the cameras, and out of other things."""
    axis = centre + np.linspace(-3000, 3000, 121)[:, None] * [0.0, 1.0, 0.0]
    lenses = np.array([camera.centre for camera in cameras]).reshape(-1, 3)
    for part in parts:
        reach = np.array([part.extent(normal) for normal in normals])
        if np.any(normals @ (part.centre - centre) + reach > offsets + 1) or distance(part, axis).min() < FREE_RADIUS:
            return False
        if np.sort(part.half)[1] > THIN and covered([part], centre, cameras).any():
            return False
        # Choice: what is large stays farther off, or it would fill a picture.
        if len(lenses) and distance(part, lenses).min() < FREE_CAMERA + 3 * np.sort(part.half)[1]:
            return False
        if any(np.linalg.norm((part.centre - one.centre)[[0, 2]]) < 250 for one in others):
            return False
    return True


def place_things(rng, count, centre, normals, offsets, cameras):
    """Parts of `count` things in the room {X: normals (X - centre) <= offsets}; the first plane is the floor.

    Three quarters stand near the walls, the others where they may hide a hand from a camera. A thing for which no free
    place is found is left out. In all, they cover the centre from at most a share COVERED of the cameras (rounded).
    """
    floor, height = offsets[0], offsets[0] + offsets[-1]
    wall = offsets[1:-1].min()
    allowed, hidden, parts = int(COVERED * len(cameras) + rng.random()), np.zeros(len(cameras), bool), []
    for _ in range(count):
        thing = _THINGS[rng.integers(len(_THINGS))](rng, height)
        # Choice: whatever is bulky stands by the wall, or it would hide half the room.
        near = rng.random() < 0.75 or max(np.sort(part.half)[1] for part in thing) > 230
        for _ in range(_TRIES):
            away, around = rng.uniform(*(0.62 * wall, wall) if near else (950, 0.62 * wall)), rng.uniform(0, 2 * np.pi)
            place = centre + np.array([away * np.cos(around), floor, away * np.sin(around)])
            # Things stand with their back (+z) to the wall, more or less.
            tried = _placed(thing, np.pi / 2 - around + rng.normal(0, 0.3), place)
            if not _fits(tried, centre, normals, offsets, cameras, parts):
                continue
            covers = hidden | covered(tried, centre, cameras)
            if covers.sum() <= max(allowed, hidden.sum()):
                parts, hidden = parts + tried, covers
                break
    return parts
