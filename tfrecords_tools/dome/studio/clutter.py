"""Objects that stand on the floor of the room or hang in it, and where they are placed.

An object is a list of `solids.Part`s built about the point (0, 0, 0) on the floor, up being -y. It is then rotated
about the vertical and moved to its place.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import texture
from tfrecords_tools.dome.studio.solids import Part, about_vertical, ball, box, distance, intersect, rod

FREE_RADIUS = 900.0  # mm about the vertical axis through the centre: free for the person and the hands
FREE_CAMERA = 250.0  # mm about an optical centre
# Thin parts (poles, legs) may hide the centre from this fraction of the cameras; other parts from none.
HIDDEN_SHARE = 0.06
THIN = 40.0  # mm: largest half width of a thin part
_TRIES = 60


def _colours(rng):
    return np.stack([texture.colour(rng), texture.colour(rng)])


def _dark(rng):
    return np.full((2, 3), rng.uniform(0.05, 0.16))


# Each of the following gives the parts of one object for a room of some `height` mm.


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
    half = rng.uniform([250, 400, 200], [450, 900, 280])
    colours = np.stack([texture.muted(rng), texture.muted(rng) * 0.3])
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
    if rng.random() < 0.5:
        body = ball((0, -low, 0), rng.uniform(90, 170), colours)
    else:
        body = box((0, -low, 0), rng.uniform(60, 190, 3), colours, rng.uniform(0, 3), "tape")
    return [rod((0, -low, 0), (0, -height, 0), 7, _dark(rng)), body]


def _screen(rng, height):
    metal, tall = _dark(rng), rng.uniform(900, 1400)
    glow = np.stack([metal[0], rng.uniform(0.25, 1.0) * np.array([0.75, 0.9, 1.1])])
    parts = [box((0, -15, 0), (220, 15, 180), metal), rod((0, -20, 0), (0, -tall, 0), 28, metal)]
    return [*parts, box((0, -tall, -50), (380, 225, 22), glow, 0.0, "face")]


def _gym_ball(rng, height):
    radius = rng.uniform(200, 340)
    return [ball((0, -radius, 0), radius, _colours(rng))]


_OBJECTS = (_lamp_stand, _tripod, _chair, _boxes, _cabinet, _balloons, _pipe, _pendant, _screen, _gym_ball)


def _moved(parts, heading, place):
    """`parts` rotated about the vertical by `heading` radians and moved by `place` [3] mm."""
    R = about_vertical(heading)
    return [dataclasses.replace(p, centre=R @ p.centre + place, rotation=p.rotation @ R.T) for p in parts]


def hidden_from(parts: Sequence[Part], centre: np.ndarray, cameras: Sequence[geometry.Camera]) -> np.ndarray:
    """From which of n `cameras` one of `parts` hides the point `centre` [3], [n] bool."""
    found = np.zeros(len(cameras), bool)
    for i, camera in enumerate(cameras):
        ray = (centre - camera.centre)[None].astype(np.float32)
        found[i] = any(intersect(part, camera.centre, ray)[0] < 1 for part in parts)
    return found


def _fits(parts, centre, normals, offsets, cameras, others):
    """Whether `parts` are in the room, and clear of the free space, of the cameras and of the parts `others`."""
    axis = centre + np.linspace(-3000, 3000, 121)[:, None] * [0.0, 1.0, 0.0]
    lenses = np.array([camera.centre for camera in cameras]).reshape(-1, 3)
    for part in parts:
        reach = np.array([part.extent(normal) for normal in normals])
        if np.any(normals @ (part.centre - centre) + reach > offsets + 1) or distance(part, axis).min() < FREE_RADIUS:
            return False
        if np.sort(part.half)[1] > THIN and hidden_from([part], centre, cameras).any():
            return False
        # Choice: the larger a part, the farther it stays from cameras, or it would fill a picture.
        if len(lenses) and distance(part, lenses).min() < FREE_CAMERA + 3 * np.sort(part.half)[1]:
            return False
        if any(np.linalg.norm((part.centre - one.centre)[[0, 2]]) < 250 for one in others):
            return False
    return True


def place_objects(
    rng: np.random.Generator,
    count: int,
    centre: np.ndarray,
    normals: np.ndarray,
    offsets: np.ndarray,
    cameras: Sequence[geometry.Camera],
) -> list[Part]:
    """The parts of `count` random objects in the room {X: normals (X - centre) <= offsets}.

    Three quarters stand near the walls, the others where they may hide a hand from a camera. An object for which no
    free place is found is left out. Together they hide the centre from at most a fraction HIDDEN_SHARE of the cameras,
    rounded up or down at random.

    Args:
        normals, offsets: outward normals [k, 3] and distances [k] mm of the walls; first the floor, last the ceiling.
    """
    floor, height = offsets[0], offsets[0] + offsets[-1]
    wall = offsets[1:-1].min()
    allowed, hidden, parts = int(HIDDEN_SHARE * len(cameras) + rng.random()), np.zeros(len(cameras), bool), []
    for _ in range(count):
        candidate = _OBJECTS[rng.integers(len(_OBJECTS))](rng, height)
        # Choice: bulky objects stand by the wall, or they would hide half the room.
        near = rng.random() < 0.75 or max(np.sort(part.half)[1] for part in candidate) > 230
        for _ in range(_TRIES):
            away = rng.uniform(0.62 * wall, wall) if near else rng.uniform(950, 0.62 * wall)
            around = rng.uniform(0, 2 * np.pi)
            place = centre + np.array([away * np.cos(around), floor, away * np.sin(around)])
            # Objects roughly turn their back (+z) to the wall.
            moved = _moved(candidate, np.pi / 2 - around + rng.normal(0, 0.3), place)
            if not _fits(moved, centre, normals, offsets, cameras, parts):
                continue
            then_hidden = hidden | hidden_from(moved, centre, cameras)
            if then_hidden.sum() <= max(allowed, hidden.sum()):
                parts, hidden = parts + moved, then_hidden
                break
    return parts
