"""Light and rasteriser of the dome: puts a mesh into the picture of a camera.

World Y points down; light is fixed in the world, so a turning hand changes its shading and a walk around it does not.

    colour = skin (ambient sky(n) + key shadow wrap(n . l_key) + fill wrap(n . l_fill))       per vertex
    wrap(c) = max(0, (c + w) / (1 + w))        light that skin scatters softens the edge of the dark side
    window centre (cu, cv), half height F:   X = (u - cu) z / F,  Y = (v - cv) z / F,  Z = z

A vertex is projected by the camera's full model, distortion and all, to (u, v) and depth z; the last line is the
point that a plain pinhole centred on the *window* around the mesh would put at that very pixel. So pictures agree with
`geometry.project` by construction, and only the window is rasterised. The shadow is a depth map seen from the key
light, drawn by the same trick with u, v measured in mm across the light.
"""

import collections
import dataclasses
import math

import cv2
import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dome.studio.rig import UP

_FAR = 1e5
_WRAP = 0.2
# Shadow map: mm a pixel, mm that a surface must lie behind another to be in its shadow, pixels of soft edge.
_SHADOW_PIXEL, _SHADOW_BIAS, _SHADOW_EDGE = 2.5, 4.0, 2
_SHADOW_MARGIN = 20.0  # mm around the vertices that matter

# vertices [v, 3] mm (world), triangles [m, 3] int32 counter-clockwise from outside, colours [v, 3] 0..1, lit or not
Mesh = collections.namedtuple("Mesh", "vertices triangles colours")


@dataclasses.dataclass(frozen=True, eq=False)
class Light:
    """Two directional lights (unit vectors [3] towards them, world) over an ambient one."""

    key_direction: np.ndarray
    fill_direction: np.ndarray
    key: float = 0.66
    fill: float = 0.2
    ambient: float = 0.54


def make_light(lamp):
    """Light whose key comes from the `lamp` at [3] mm from the centre; the fill comes from the other side."""
    key = np.asarray(lamp, np.float64) / np.linalg.norm(lamp)
    fill = 0.5 * UP - key * [1, 0, 1]
    return Light(key, fill / np.linalg.norm(fill))


def _settings():
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_CW)
    return settings


def _to_plane(pixels, depth, width, height):
    """Vertices [v, 3] float32 that the rasteriser puts at `pixels` [v, 2] of a picture; pixel centres at +1/2."""
    plane = (pixels - [width / 2, height / 2]) * (depth[:, None] * 2 / height)
    return np.column_stack([plane[:, 0], -plane[:, 1], -depth]).astype(np.float32)


def shadows(vertices, normals, triangles, light, subject):
    """How much of the key light reaches each vertex, [v] in 0..1.

    Only within the bounds of the vertices `subject` (a slice), which is what the picture is about; others count as lit.
    """
    z = -light.key_direction
    x = np.cross(UP, z) / np.linalg.norm(np.cross(UP, z))
    across = np.stack([x, np.cross(z, x), z], 1)
    flat = vertices @ across
    low, high = flat[subject, :2].min(0) - _SHADOW_MARGIN, flat[subject, :2].max(0) + _SHADOW_MARGIN
    columns, rows = (int(n) for n in np.ceil((high - low) / _SHADOW_PIXEL))
    # The rasteriser wants depths well in front of it; parallel light has no origin, so any offset will do.
    flat -= [*low, flat[:, 2].min() - 1000]
    points = _to_plane(flat[:, :2] / _SHADOW_PIXEL, flat[:, 2], columns, rows)
    nearest = np.full((rows, columns), _FAR, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterizeDepth(points, triangles, nearest, eye, np.pi / 2, 10.0, _FAR, _settings())
    u, v, depth = (flat + _SHADOW_BIAS * (normals @ across)).T  # lifted off the surface, or it would shade itself
    u, v, edge = u / _SHADOW_PIXEL, v / _SHADOW_PIXEL, _SHADOW_EDGE
    inside = np.flatnonzero((u > edge) & (v > edge) & (u < columns - edge - 1) & (v < rows - edge - 1))
    u, v, depth = u[inside].astype(np.int32), v[inside].astype(np.int32), depth[inside]
    reached = np.ones(len(vertices), np.float32)
    taps = ((0, 0), (-edge, 0), (edge, 0), (0, -edge), (0, edge))
    reached[inside] = np.mean([nearest[v + down, u + right] > depth for down, right in taps], 0)
    return reached


def shade(normals, colours, light, lit=1.0):
    """Lit vertex colours [v, 3] of unit `normals` [v, 3] and `colours` [v, 3]; `lit` [v] is the share of key light."""
    facing = normals @ np.stack([light.key_direction, light.fill_direction], 1)
    facing = np.maximum((facing + _WRAP) / (1 + _WRAP), 0)
    sky = 0.82 + 0.18 * (normals @ UP)  # the upper half of the room is brighter
    return colours * (light.ambient * sky + light.key * lit * facing[:, 0] + light.fill * facing[:, 1])[:, None]


def _rasterise(pixels, depth, mesh, window, supersample, scene_depth):
    """Colour [h, w, 3] float32 over zero and coverage [h, w] of a mesh in `window` (left, top, width, height) px."""
    left, top, width, height = window
    rows, columns = height * supersample, width * supersample
    # The rasteriser covers pixel i where its centre i + 1/2 lies inside; OpenCV's cameras centre pixels at i.
    points = _to_plane(pixels - [left - 0.5, top - 0.5], depth, width, height)
    picture, nearest = np.zeros((rows, columns, 3), np.float32), np.full((rows, columns), _FAR, np.float32)
    colours = np.ascontiguousarray(mesh.colours, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(points, mesh.triangles, colours, picture, nearest, eye, np.pi / 2, 10.0, _FAR, _settings())
    coverage = nearest < _FAR
    front = scene_depth[top : top + height, left : left + width]
    if front.min() < depth.max():  # something of the scene may stand before the mesh
        coverage &= nearest < front.repeat(supersample, 0).repeat(supersample, 1)
        picture *= coverage[..., None]
    coverage = coverage.astype(np.float32)
    if supersample > 1:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        coverage = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA)
    return picture, coverage


def _bounds(pixels, window):
    """The part of `window` (left, top, width, height) that `pixels` [n, 2] reach, None if it is empty."""
    left, top, width, height = window
    # A column at a time: reducing [n, 2] along n is slow.
    low = [max(math.floor(pixels[:, i].min()) - 2, edge) for i, edge in enumerate((left, top))]
    high = [min(math.ceil(pixels[:, i].max()) + 3, edge) for i, edge in enumerate((left + width, top + height))]
    return (*low, high[0] - low[0], high[1] - low[1]) if high[0] > low[0] and high[1] > low[1] else None


def layer(mesh, camera, scene_depth, window, supersample=2):
    """What `camera` sees of a mesh, by itself: (left, top), premultiplied colour [h, w, 3] and coverage [h, w].

    Args:
        mesh: a lit `Mesh`; back faces are not drawn. Triangles that reach behind the camera, or so far out that its
            distortion folds, are invisible and left out.
        scene_depth: [height, width] mm along the camera's axis; what lies behind it is hidden.
        window: (left, top, width, height) px of interest.

    Returns None if nothing of the mesh is in the window.
    """
    pixels = geometry.project(mesh.vertices, camera)
    depth = mesh.vertices @ camera.R[2] + camera.t[2]
    seen = np.isfinite(pixels[:, 0])
    if not seen.all():
        mesh = mesh._replace(triangles=mesh.triangles[seen[mesh.triangles].all(1)])
        if not mesh.triangles.size:
            return None
        pixels = np.where(seen[:, None], pixels, pixels[seen][0])
    bounds = _bounds(pixels, window)
    if bounds is None:
        return None
    return bounds[:2], *_rasterise(pixels, depth, mesh, bounds, supersample, scene_depth)


def draw(view, mesh=None, key=None, window=None):
    """The picture [h, w, 3] uint8 RGB that `view` takes of its scene with `mesh` in it.

    Args:
        view: a `views.View`: camera, sensor, empty scene, its depth, sensor noise.
        mesh: a lit `Mesh`, None for the empty scene.
        key: integers that choose the sensor noise of this picture; None for none.
        window: (left, top, width, height) px; the whole frame by default.
    """
    left, top, width, height = window = window or (0, 0, view.camera.width, view.camera.height)
    image = np.array(view.scene[top : top + height, left : left + width])
    drawn = None
    if mesh is not None:
        # Gain and clipping belong to the sensor, but few vertices are cheaper than many pixels.
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
