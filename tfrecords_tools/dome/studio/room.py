"""The empty scene that a camera sees: a room of textured walls around the dome, with lamps and objects in it.

    ray of pixel p:  X(z) = C + z R^T (x, y, 1),  (x, y) = undistort(p),  so that z is the depth in the camera
    wall k:          n_k . (X - c) = o_k,  hit at the smallest z > 0 over all k          (the room is convex)

Walls are the facets of a convex polyhedron around the centre c: a floor, a ring of upright walls, two rings that lean
inwards, a ceiling. Colours are functions of the point that a pixel sees, so all cameras agree, whatever their lenses.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hand_tf.core import geometry
from hand_tf.core.errors import InputError
from tfrecords_tools.dome.random_keys import RandomKey
from tfrecords_tools.dome.studio import clutter, decals, solids, texture

FLOOR = 1300.0  # mm below the centre
RADIUS = (2920.0, 3250.0)  # mm from the centre to the nearest wall; more if a camera is farther away
CEILING = (2450.0, 2900.0)  # mm above the centre
_BAND = 1 << 16  # pixels traced at a time
_SPARE = 160.0  # mm between a camera and the wall behind it, at least


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """A room with k facets, of which the first is the floor and the last the ceiling.

    Attributes:
        centre: [3] mm, in the world; positions of facets and lamps are relative to it.
        normals, offsets: outward normals [k, 3] and distances from the centre [k] mm of the facets.
        axes: in the planes of the facets, [k, 2, 3].
        surfaces: k `texture.Surface`s.
        beam: colour [3] of the beams along the edges between facets; `beam_width` is half their width, mm.
        noise: random numbers of the patterns.
        lamps: position in mm and power, [m, 4].
        ambient: level of the ambient light.
        parts: the solids of the objects.
        mounts: the bodies of the cameras, and brackets.
    """

    centre: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    axes: np.ndarray
    surfaces: tuple
    beam: np.ndarray
    beam_width: float
    noise: texture.Noise
    lamps: np.ndarray
    ambient: float
    parts: tuple
    mounts: tuple


def _facets(rng, radius, floor, ceiling):
    """Normals [k, 3] and offsets [k] mm of the facets, the floor first and the ceiling last."""
    normals, offsets = [np.array([0.0, 1.0, 0.0])], [floor]
    count = rng.integers(9, 15)
    for elevation, number in ((0.0, count), (38.0, count), (66.0, max(5, count // 2))):
        first = rng.uniform(0, 360)
        for k in range(number):
            heading = np.deg2rad(first + 360 / number * (k + rng.uniform(-0.12, 0.12)))
            e = np.deg2rad(elevation)
            normals.append(np.array([np.cos(e) * np.cos(heading), -np.sin(e), np.cos(e) * np.sin(heading)]))
            offsets.append(radius + rng.uniform(0, 120))
    return np.array([*normals, [0.0, -1.0, 0.0]]), np.array([*offsets, ceiling])


def _in_plane(normals):
    """Axes [k, 2, 3] in the facets: u is level; v points down, except on floor and ceiling."""
    upright = np.abs(normals[:, 1]) < 0.99
    u = np.where(upright[:, None], np.cross(normals, [0.0, 1.0, 0.0]), [1.0, 0.0, 0.0])
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return np.stack([u, np.cross(u, normals)], 1)


def _surface(rng, kind, place, share):
    """A random surface with a pattern of some `kind`; `place` and `share` as for `decals.draw`."""
    colours = [texture.muted(rng), texture.muted(rng), texture.colour(rng), texture.colour(rng)]
    cell = rng.uniform(260, 620, 2)
    if kind == "wood":
        colours[:2] = texture.wood_colours(rng) if rng.random() < 0.75 else np.stack([colours[0], colours[0] * 0.8])
        cell = rng.uniform([90, 300], [220, 600])
    elif kind == "bricks":
        colours[0] = np.array([0.55, 0.36, 0.28]) * rng.uniform(0.7, 1.3) if rng.random() < 0.5 else colours[0]
        cell = rng.uniform([180, 60], [320, 110])
    elif kind == "fabric":
        colours[0], cell = texture.colour(rng) * 0.85, rng.uniform(110, 260, 2)
    elif kind == "foam":
        colours[0] *= 0.7
    elif kind == "shelf":
        colours = [texture.colour(rng) for _ in range(4)]
    elif kind in ("tiles", "carpet"):
        cell = np.full(2, rng.uniform(280, 600))
    drawn = decals.draw(rng, place, share)
    return texture.Surface(kind, np.float32(colours), np.float32(cell), int(rng.integers(1 << 10)), drawn)


def _surfaces(rng, normals):
    """A surface for each facet. About half of the walls are alike, as in a real room."""
    main, share = rng.choice(["panels", "wood", "plaster", "panels"]), rng.uniform(0.25, 0.6)
    surfaces = [_surface(rng, rng.choice(texture.FLOORS), "floor", share)]
    for normal in normals[1:]:
        other = rng.choice(texture.KINDS)
        place = "wall" if normal[1] > -0.1 else "slope"
        if place == "slope" and other in ("shelf", "bricks", "pegboard"):
            other = "panels"
        surfaces.append(_surface(rng, main if rng.random() < 0.45 else other, place, share))
    return tuple(surfaces)


def _mounts(cameras, centre, normals, offsets):
    """The bodies of `cameras` and the brackets that hold them: small, dark, and behind the optical centre."""
    parts = []
    for camera in cameras:
        back = -camera.R[2]
        body, black = camera.centre + 110 * back, np.full((2, 3), 0.07)
        size = np.array([38.0, 34.0, 75.0])
        parts.append(solids.Part("box", body, camera.R, size, black))
        # The wall behind the camera is the facet with the largest reciprocal distance, as in `_hits`.
        end = body + back / (normals @ back / (offsets - normals @ (body - centre))).max()
        parts.append(solids.rod(body, end, 16, np.full((2, 3), 0.42)))
    return tuple(parts)


def _lamps(rng, radius, ceiling):
    """Positions about the centre (mm) and powers of the lamps, [m, 4]. The first is the brightest by far."""
    count = rng.integers(2, 5)
    around, away = rng.uniform(0, 2 * np.pi) + 2.4 * np.arange(count), rng.uniform(0.2, 0.55, count) * radius
    power = np.concatenate([[rng.uniform(0.65, 0.95)], rng.uniform(0.15, 0.4, count - 1)])
    return np.stack([away * np.cos(around), np.full(count, -0.8 * ceiling), away * np.sin(around), power], 1)


def make_room(
    seed: int, sequence: int, centre: np.ndarray, num_objects: int, cameras: Sequence[geometry.Camera] = ()
) -> Room:
    """The room of sequence number `sequence` around `centre` [3] mm, with up to `num_objects` objects in it.

    `cameras` are those that will take pictures: the room is made large enough for them, shows their bodies, and no
    object stands in front of their lenses. Raises ValueError if `num_objects` is negative.
    """
    if num_objects < 0:
        raise InputError(f"clutter {num_objects}: expected 0 or more objects")
    rng, centre = np.random.default_rng([seed, RandomKey.ROOM, sequence]), np.asarray(centre, np.float64)
    away = np.array([camera.centre for camera in cameras]).reshape(-1, 3) - centre
    radius = max(rng.uniform(*RADIUS), np.linalg.norm(away, axis=1).max(initial=0) + _SPARE)
    floor = max(FLOOR, away[:, 1].max(initial=0) + _SPARE)
    ceiling = max(rng.uniform(*CEILING), -away[:, 1].min(initial=0) + _SPARE)
    normals, offsets = _facets(rng, radius, floor, ceiling)
    surfaces, noise = _surfaces(rng, normals), texture.Noise(rng)
    beam = rng.choice([texture.wood_colours(rng)[0], np.full(3, 0.5), np.full(3, 0.12), np.full(3, 0.75)])
    beam_width, lamps, ambient = rng.uniform(15, 50), _lamps(rng, radius, ceiling), rng.uniform(0.42, 0.56)
    parts = clutter.place_objects(rng, num_objects, centre, normals, offsets, cameras)
    return Room(
        centre, normals, offsets, _in_plane(normals), surfaces, beam, float(beam_width), noise, lamps, float(ambient),
        tuple(parts), _mounts(cameras, centre, normals, offsets),
    )  # fmt: skip


def _light(room, points, normals):
    """Light [n] on `points` [n, 3] about the centre with `normals` [n, 3]: ambient, and lamps that fade with distance.

    Even edge-on to a lamp a surface gets a quarter of its light, which stands for reflections in the room.
    """
    light = room.ambient * (1 - 0.15 * normals[:, 1])
    for *place, power in room.lamps.astype(np.float32):
        towards = np.asarray(place) - points
        square = np.einsum("nd,nd->n", towards, towards)
        facing = np.einsum("nd,nd->n", towards, normals) / np.sqrt(square)
        light += power * np.maximum(0.25 + 0.75 * facing, 0) / (0.35 + square / np.float32(3000**2))
    return light


def _wall_colours(room, facet, points, width):
    """Reflectance [n, 3] of facet number `facet` at `points` [n, 3] about the centre, with beams and darker corners."""
    axes = room.axes[facet].astype(np.float32)
    u, v, surface = points @ axes[0], points @ axes[1], room.surfaces[facet]
    colours = texture.pattern(surface, room.noise, u, v, width)
    for decal in surface.decals:
        colours = decals.paint(colours, decal, room.noise, u, v, width)
    # The edge with facet j is at a distance of slack_j / sin(angle between both facets).
    sines = np.sqrt(np.maximum(1 - (room.normals @ room.normals[facet]) ** 2, 0))
    near = np.flatnonzero(sines > 1e-3)
    scale = (1 / sines[near]).astype(np.float32)
    slack = room.offsets[near].astype(np.float32) * scale - points @ (room.normals[near].astype(np.float32).T * scale)
    edge = slack.min(1)
    rim = texture.cover(np.abs(edge - room.beam_width) - 4, width)
    beam = (0.75 + 0.35 * np.clip(edge / room.beam_width, 0, 1))[:, None] * room.beam.astype(np.float32)
    colours = texture.mix(colours, beam, texture.cover(edge - room.beam_width, width))
    return colours * ((0.72 + 0.28 * np.clip(edge / 300, 0, 1)) * (1 - 0.5 * rim))[:, None]


def _shadows(room, points):
    """Fraction of light [n] left at `points` [n, 3] (about the centre) of the floor, under and beside the parts."""
    light = np.ones(len(points), np.float32)
    for part in room.parts:
        place = (part.centre - room.centre).astype(np.float32)
        above = room.offsets[0] - place[1] - part.extent(np.array([0.0, 1.0, 0.0]))
        wide = max(part.extent(np.array([1.0, 0, 0])), part.extent(np.array([0, 0, 1.0]))) + 40 + 0.3 * above
        square = (points[:, 0] - place[0]) ** 2 + (points[:, 2] - place[2]) ** 2
        depth = np.float32(0.5 * np.exp(-above / 500) * min(1, part.half[[0, 2]].max() / wide * 1.5))
        light *= 1 - depth * np.exp(-((square / np.float32(wide**2)) ** 2))
    return light


def _in_view(room, camera):
    """(number, part) of all parts and mounts that the camera may see: their bounding spheres reach into its view."""
    frame = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * [camera.width, camera.height] - 0.5
    corners = np.linalg.norm(geometry.undistort(frame, camera), axis=1)
    found = []
    for number, part in enumerate(room.parts + room.mounts, start=len(room.normals)):
        towards = part.centre - camera.centre
        away = np.linalg.norm(towards)
        angle = np.arccos(np.clip(camera.R[2] @ towards / away, -1, 1)) - np.arcsin(min(1, part.radius / away))
        if angle < np.arctan(1.02 * corners.max()):
            found.append((number, part))
    return found


def _hits(room, camera, rays, visible):
    """Depth [n] mm, and what is hit [n]: the number of a facet, or k plus that of a part or mount."""
    origin = camera.centre - room.centre
    gaps = room.offsets - room.normals @ origin
    if gaps.min() <= 0:
        raise InputError(f"camera {camera.name} is outside the room: make_room must be given the cameras")
    speeds = rays @ (room.normals / gaps[:, None]).astype(np.float32).T  # 1 / depth
    found = np.argmax(speeds, 1)
    depth = 1 / np.take_along_axis(speeds, found[:, None], 1)[:, 0]
    squares = np.einsum("nd,nd->n", rays, rays)
    for number, part in visible:
        towards = part.centre - camera.centre
        outside = towards @ towards - part.radius**2
        along = rays @ towards.astype(np.float32)
        maybe = np.flatnonzero((along > 0) & (along * along >= np.float32(outside) * squares)) if outside > 0 else ...
        t = solids.intersect(part, camera.centre, rays[maybe])
        closer = t < depth[maybe]
        depth[maybe] = np.where(closer, t, depth[maybe])
        found[maybe] = np.where(closer, number, found[maybe])
    return depth, found


def _trace(room, camera, pixels, visible):
    """Colours [n, 3], depth [n] mm and what is seen [n] (see `_hits`) at `pixels` [n, 2] of the camera."""
    plane = geometry.undistort(pixels, camera)
    rays = (plane @ camera.R[:2] + camera.R[2]).astype(np.float32)
    depth, found = _hits(room, camera, rays, visible)
    points = (camera.centre - room.centre).astype(np.float32) + depth[:, None] * rays
    width = depth / np.float32(camera.K[0, 0])
    colours, normals = np.empty_like(points), np.empty_like(points)
    for number in np.unique(found):
        one = np.flatnonzero(found == number)
        if number < len(room.normals):
            inwards = -room.normals[number].astype(np.float32)
            normals[one] = inwards
            # At a slant, a pixel covers more of the wall in one direction; the geometric mean is a compromise.
            slant = np.abs(rays[one] @ inwards) / np.linalg.norm(rays[one], axis=1)
            colours[one] = _wall_colours(room, number, points[one], width[one] / np.sqrt(np.maximum(slant, 0.05)))
            if number == 0:
                colours[one] *= _shadows(room, points[one])[:, None]
        else:
            part = (room.parts + room.mounts)[number - len(room.normals)]
            world = points[one] + room.centre.astype(np.float32)
            colours[one], normals[one] = solids.appearance(part, room.noise, world, width[one])
    # Choice: highlights roll off as in film instead of clipping, so that lamps and white walls keep their texture.
    return 1 - np.exp(-1.5 * colours * _light(room, points, normals)[:, None] - 0.02), depth, found


def picture(room: Room, camera: geometry.Camera) -> tuple[np.ndarray, np.ndarray]:
    """What `camera` sees of the room: image [h, w, 3] float32 in 0..1, and depth [h, w] float32 mm along its z axis.

    Silhouettes of objects get four rays per pixel. Raises ValueError for a camera outside the room.
    """
    height, width, visible = camera.height, camera.width, _in_view(room, camera)
    image, depth = np.empty((height * width, 3), np.float32), np.empty(height * width, np.float32)
    seen = np.empty(height * width, np.int32)
    for start in range(0, height * width, _BAND):
        index = np.arange(start, min(start + _BAND, height * width))
        pixels = np.stack([index % width, index // width], 1)
        image[index], depth[index], seen[index] = _trace(room, camera, pixels, visible)
    edges = np.flatnonzero(_silhouettes(seen.reshape(height, width), len(room.normals)))
    corners = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]])
    for start in range(0, len(edges), _BAND // 4):
        index = edges[start : start + _BAND // 4]
        pixels = np.stack([index % width, index // width], 1)[:, None] + corners
        image[index] = _trace(room, camera, pixels.reshape(-1, 2), visible)[0].reshape(-1, 4, 3).mean(1)
    return image.reshape(height, width, 3), depth.reshape(height, width)


def _silhouettes(seen, facets):
    """Pixels [h, w] bool next to one that shows something else, where one of the two shows an object."""
    edge = np.zeros(seen.shape, bool)
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = (seen[a] != seen[b]) & (np.maximum(seen[a], seen[b]) >= facets)
        edge[a] |= differ
        edge[b] |= differ
    return edge
