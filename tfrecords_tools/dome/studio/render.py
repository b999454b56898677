"""Lighting and rasterisation: draws a mesh into the picture of a camera.

World Y points down. The light is fixed in the world: shading changes when a hand rotates, not with the camera.

    colour = skin (ambient sky(n) + key shadow wrap(n . l_key) + fill wrap(n . l_fill))       per vertex
    wrap(c) = max(0, (c + w) / (1 + w))        light scattered in the skin softens the edge of the dark side
    window centre (cu, cv), half height F:   X = (u - cu) z / F,  Y = (v - cv) z / F,  Z = z

A vertex is projected by the full camera model, with distortion, to (u, v) and depth z. The last line gives the point
that a plain pinhole camera centred on the *window* around the mesh projects to the same pixel. So pictures agree with
`geometry.project` by construction, and only the window is rasterised. The shadow is a depth map seen from the key
light, drawn in the same way with u and v in mm across the light.
"""

import collections
import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dome.studio import scenes
from tfrecords_tools.dome.studio.rig import UP

_FAR = 1e5  # mm; depth of pixels that show nothing
_WRAP = 0.2  # w
# Shadow map: mm per pixel, mm that a surface must lie behind another one to be in its shadow, pixels of soft edge.
_SHADOW_PIXEL, _SHADOW_BIAS, _SHADOW_EDGE = 2.5, 4.0, 2
_SHADOW_MARGIN = 20.0  # mm around the vertices of the subject

# vertices [v, 3] mm (world), triangles [m, 3] int32 counter-clockwise from outside, colours [v, 3] 0..1, lit or not
Mesh = collections.namedtuple("Mesh", "vertices triangles colours")


@dataclasses.dataclass(frozen=True, eq=False)
class Light:
    """Two directional lights (unit vectors [3] towards them, in the world) and ambient light.

    Their strengths are numbers, or colours [3].
    """

    key_direction: np.ndarray
    fill_direction: np.ndarray
    key: float | np.ndarray = 0.66
    fill: float | np.ndarray = 0.2
    ambient: float | np.ndarray = 0.54


def make_light(lamp: np.ndarray) -> Light:
    """A light whose key comes from the `lamp` at [3] mm from the centre, and whose fill comes from the other side."""
    key = np.asarray(lamp, np.float64) / np.linalg.norm(lamp)
    fill = 0.5 * UP - key * [1, 0, 1]
    return Light(key, fill / np.linalg.norm(fill))


def vary_light(light: Light, rng: np.random.Generator) -> Light:
    """A light from any direction above the horizon, of another colour, contrast and brightness than `light`."""
    heading, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 1)
    level = np.sqrt(1 - height**2)
    towards = np.array([level * np.cos(heading), 0, level * np.sin(heading)]) + height * UP
    brightness, contrast = np.exp(rng.uniform(-0.3, 0.25)), rng.uniform(0.2, 1.6)
    warm = rng.uniform(-1, 1, 2)[:, None] * [0.12, 0.0, -0.16]  # lamps are warm, sky light is cold, or the reverse
    return dataclasses.replace(
        make_light(towards),
        key=brightness * contrast * light.key * (1 + warm[0]),
        fill=brightness * light.fill * (1 + warm[1]),
        ambient=brightness * light.ambient * (1.35 - 0.35 * contrast) * (1 + warm[1]),
    )


def _settings():
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_CW)
    return settings


def _to_plane(pixels, depth, width, height):
    """Vertices [v, 3] float32 that the rasteriser projects to `pixels` [v, 2], whose centres are at +1/2."""
    plane = (pixels - [width / 2, height / 2]) * (depth[:, None] * 2 / height)
    return np.column_stack([plane[:, 0], -plane[:, 1], -depth]).astype(np.float32)


def shadows(
    vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray, light: Light, subject: slice
) -> np.ndarray:
    """Fraction [v] of the key light that reaches each of the `vertices` [v, 3] mm with unit `normals` [v, 3].

    It is computed within the bounds of the vertices `subject`, which the picture is about; the rest counts as lit.
    """
    z = -light.key_direction
    x = np.cross(UP, z) / np.linalg.norm(np.cross(UP, z))
    across = np.stack([x, np.cross(z, x), z], 1)
    flat = vertices @ across
    low, high = flat[subject, :2].min(0) - _SHADOW_MARGIN, flat[subject, :2].max(0) + _SHADOW_MARGIN
    columns, rows = (int(n) for n in np.ceil((high - low) / _SHADOW_PIXEL))
    # The rasteriser needs depths well in front of it. Parallel light has no origin, so any offset will do.
    flat -= [*low, flat[:, 2].min() - 1000]
    points = _to_plane(flat[:, :2] / _SHADOW_PIXEL, flat[:, 2], columns, rows)
    nearest = np.full((rows, columns), _FAR, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterizeDepth(points, triangles, nearest, eye, np.pi / 2, 10.0, _FAR, _settings())
    u, v, depth = (flat + _SHADOW_BIAS * (normals @ across)).T  # lifted off the surface, which else would shade itself
    u, v, edge = u / _SHADOW_PIXEL, v / _SHADOW_PIXEL, _SHADOW_EDGE
    inside = np.flatnonzero((u > edge) & (v > edge) & (u < columns - edge - 1) & (v < rows - edge - 1))
    u, v, depth = u[inside].astype(np.int32), v[inside].astype(np.int32), depth[inside]
    reached = np.ones(len(vertices), np.float32)
    taps = ((0, 0), (-edge, 0), (edge, 0), (0, -edge), (0, edge))
    reached[inside] = np.mean([nearest[v + down, u + right] > depth for down, right in taps], 0)
    return reached


def shade(normals: np.ndarray, colours: np.ndarray, light: Light, lit: np.ndarray | float = 1.0) -> np.ndarray:
    """Lit vertex colours [v, 3] for unit `normals` and `colours` [v, 3]; `lit` [v] as given by `shadows`."""
    facing = normals @ np.stack([light.key_direction, light.fill_direction], 1)
    facing = np.maximum((facing + _WRAP) / (1 + _WRAP), 0)
    sky = 0.82 + 0.18 * (normals @ UP)  # the upper half of the room is brighter
    lit = np.reshape(lit, (-1, 1))
    return colours * (light.ambient * sky[:, None] + light.key * lit * facing[:, :1] + light.fill * facing[:, 1:])


def _rasterise(pixels, depth, mesh, window, supersample, scene_depth):
    """Premultiplied colour [h, w, 3] float32 and coverage [h, w] of a mesh in `window` (left, top, width, height) px.

    `pixels` [v, 2] and `depth` [v] mm are where its vertices are projected.
    """
    left, top, width, height = window
    rows, columns = height * supersample, width * supersample
    # For the rasteriser the centre of pixel i is at i + 1/2, for OpenCV's cameras at i.
    points = _to_plane(pixels - [left - 0.5, top - 0.5], depth, width, height)
    picture, nearest = np.zeros((rows, columns, 3), np.float32), np.full((rows, columns), _FAR, np.float32)
    colours = np.ascontiguousarray(mesh.colours, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(points, mesh.triangles, colours, picture, nearest, eye, np.pi / 2, 10.0, _FAR, _settings())
    coverage = nearest < _FAR
    front = scene_depth[top : top + height, left : left + width]
    if front.min() < depth.max():  # part of the scene may be in front of the mesh
        coverage &= nearest < front.repeat(supersample, 0).repeat(supersample, 1)
        picture *= coverage[..., None]
    coverage = coverage.astype(np.float32)
    if supersample > 1:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        coverage = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA)
    return picture, coverage


def _bounds(pixels, window):
    """The part of `window` (left, top, width, height) that `pixels` [n, 2] reach, or None."""
    left, top, width, height = window
    # One column at a time: reducing [n, 2] along n is slow.
    low = [max(math.floor(pixels[:, i].min()) - 2, edge) for i, edge in enumerate((left, top))]
    high = [min(math.ceil(pixels[:, i].max()) + 3, edge) for i, edge in enumerate((left + width, top + height))]
    return (*low, high[0] - low[0], high[1] - low[1]) if high[0] > low[0] and high[1] > low[1] else None


def layer(
    mesh: Mesh,
    camera: geometry.Camera,
    scene_depth: np.ndarray,
    window: tuple[int, int, int, int],
    supersample: int = 2,
) -> tuple[tuple[int, int], np.ndarray, np.ndarray] | None:
    """What `camera` sees of a mesh alone, as a layer over the scene.

    Args:
        mesh: lit. Back faces are not drawn, nor are triangles that reach behind the camera or into directions for
            which its distortion is not defined.
        scene_depth: [height, width] mm along the camera's axis; hides what lies behind it.
        window: (left, top, width, height) px of interest.
        supersample: samples per pixel along each axis.

    Returns:
        (left, top) px, premultiplied colour [h, w, 3] and coverage [h, w] of the part of the window that the mesh
        reaches; None if the mesh is not in the window.
    """
    pixels, depth, mesh = _seen(mesh, camera)
    bounds = _bounds(pixels, window) if mesh.triangles.size else None
    if bounds is None:
        return None
    return bounds[:2], *_rasterise(pixels, depth, mesh, bounds, supersample, scene_depth)


def _seen(mesh, camera):
    """Where the camera sees the vertices of a mesh, [v, 2] px, their depth [v] mm, and the mesh without triangles that
    it cannot project.
    """
    pixels = geometry.project(mesh.vertices, camera)
    depth = mesh.vertices @ camera.R[2] + camera.t[2]
    seen = np.isfinite(pixels[:, 0])
    if not seen.all():
        mesh = mesh._replace(triangles=mesh.triangles[seen[mesh.triangles].all(1)])
        pixels = np.where(seen[:, None], pixels, pixels[seen][0] if seen.any() else 0)
    return pixels, depth, mesh


def visible_share(mesh: Mesh, vertices: slice, camera: geometry.Camera) -> float:
    """The share of what a camera would see of a mesh's `vertices` alone that it sees of them with the whole mesh."""
    own = np.zeros((len(mesh.vertices), 3), np.float32)
    own[vertices] = 1
    pixels, depth, mesh = _seen(mesh._replace(colours=own), camera)
    bounds = _bounds(pixels[vertices], (0, 0, camera.width, camera.height))
    alone = mesh._replace(triangles=mesh.triangles[own[mesh.triangles, 0].all(1)])
    if bounds is None or not alone.triangles.size:
        return 0.0
    empty = np.full((camera.height, camera.width), _FAR, np.float32)
    areas = [_rasterise(pixels, depth, each, bounds, 1, empty)[0][..., 0].sum() for each in (mesh, alone)]
    return float(areas[0] / max(areas[1], 1.0))


def draw(
    view: scenes.View,
    mesh: Mesh | None = None,
    key: Sequence[int] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """The picture [h, w, 3] uint8 RGB that a view takes of its scene with `mesh` in it.

    Args:
        view: camera, sensor, empty scene, its depth, sensor noise.
        mesh: lit; None for the empty scene.
        key: integers that decide the sensor noise of this picture; None for a picture without noise.
        window: (left, top, width, height) px; the whole frame by default.
    """
    window = window or (0, 0, view.camera.width, view.camera.height)
    left, top, width, height = window
    image = np.array(view.scene[top : top + height, left : left + width])
    drawn = None
    if mesh is not None:
        # Gain and clipping belong to the sensor, but vertices are fewer than pixels.
        exposed = np.clip(mesh.colours * view.sensor.gain, 0, 1) * 255
        drawn = layer(mesh._replace(colours=exposed), view.camera, view.depth, window)
    if drawn is not None:
        (x, y), picture, coverage = drawn
        if view.sensor.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), view.sensor.blur, borderType=cv2.BORDER_REPLICATE)
            coverage = cv2.GaussianBlur(coverage, (0, 0), view.sensor.blur, borderType=cv2.BORDER_REPLICATE)
        region = image[y - top :, x - left :][: picture.shape[0], : picture.shape[1]]
        picture += (1 - coverage)[..., None] * region
        region[:] = cv2.convertScaleAbs(picture)
    if key is None:
        return image
    spare = np.array(view.noise.shape[:2]) - view.scene.shape[:2]
    down, right = np.random.default_rng(key).integers(0, spare)
    noise = view.noise[top + down :, left + right :][:height, :width]
    return cv2.add(image, np.ascontiguousarray(noise), dtype=cv2.CV_8U)
