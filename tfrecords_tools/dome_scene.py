"""The synthetic dome: cameras, backgrounds, light, and the rasteriser that puts a mesh into a camera's picture.

World Y points down; light is fixed in the world, so a turning hand changes its shading and a walk around it does not.

    colour = skin * (ambient + key max(0, n . l_key) + fill max(0, n . l_fill)) * gain      per vertex
    window centre (cu, cv), half height F:   X = (u - cu) z / F,  Y = (v - cv) z / F,  Z = z

A vertex is projected by the camera's full model, distortion and all, to (u, v) and depth z; the second line is the
point that a plain pinhole centred on the *window* around the mesh would put at that very pixel. So pictures agree with
`geometry.project` by construction, and only the window is rasterised.
"""

import dataclasses

import cv2
import numpy as np

from hand_tf import geometry

UP = np.array([0.0, -1.0, 0.0])
ELEVATION = (-10.0, 60.0)  # degrees above the horizon
DISTANCE = (1500.0, 2000.0)  # mm
# Half the width that a camera shows at the dome's centre, mm; with two hands, these sit SEPARATION apart.
REACH = {"right": 245.0, "both": 370.0}
SEPARATION = 250.0
_FAR = 1e5
_NOISE_SPARE = 48


@dataclasses.dataclass(frozen=True, eq=False)
class Light:
    """Two directional lights (unit vectors [3] towards them, world) over an ambient one."""

    key_direction: np.ndarray
    fill_direction: np.ndarray
    key: float = 0.62
    fill: float = 0.16
    ambient: float = 0.48


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One camera with its empty scene [h, w, 3] uint8 RGB, its colour gain [3], and a field of sensor noise int16."""

    camera: geometry.Camera
    background: np.ndarray
    gain: np.ndarray
    noise: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Rig:
    """A dome: `centre` [3] mm in the world, its views and its light."""

    centre: np.ndarray
    views: tuple
    light: Light


def _unit(vector):
    return np.asarray(vector, np.float64) / np.linalg.norm(vector)


def _look_at(position, target, roll):
    """World to camera R [3, 3] and t [3] of a camera at `position` that looks at `target`, rolled by `roll` degrees."""
    z = _unit(target - position)
    x = _unit(np.cross(-UP, z))
    R = geometry.in_plane(roll) @ np.stack([x, np.cross(z, x), z])
    return R, -R @ position


def _lens(rng, corner):
    """OpenCV coefficients [5]: real HD lenses bend a frame's corner by some percent, however long the lens.

    `corner` is the normalised radius of the corner; scaling by its powers keeps the polynomial monotonic in the frame.
    """
    k1, k2, k3 = rng.uniform(-0.1, -0.03), rng.uniform(0, 0.02), rng.uniform(-0.002, 0.002)
    p1, p2 = rng.uniform(-0.002, 0.002, 2)
    return np.array([k1 / corner**2, k2 / corner**4, p1 / corner, p2 / corner, k3 / corner**6])


def make_cameras(rng, centre, num_cameras, size, reach):
    """`num_cameras` cameras of `size` px square all around `centre` [3] mm, each showing `reach` mm either way."""
    headings = 360.0 * (np.arange(num_cameras) + rng.uniform(-0.3, 0.3, num_cameras)) / num_cameras + rng.uniform(
        0, 360
    )
    share = (rng.permutation(num_cameras) + rng.random(num_cameras)) / num_cameras
    cameras = []
    for node, (heading, s) in enumerate(zip(np.deg2rad(headings), share, strict=True)):
        elevation = np.deg2rad(ELEVATION[0] + s * (ELEVATION[1] - ELEVATION[0]))
        level, distance = np.cos(elevation), rng.uniform(*DISTANCE)
        position = centre + distance * np.array([level * np.cos(heading), -np.sin(elevation), level * np.sin(heading)])
        R, t = _look_at(position, centre + rng.uniform(-12, 12, 3), rng.uniform(-10, 10))
        focal = size / 2 * distance / reach * rng.uniform(0.95, 1.05)
        cx, cy = (size - 1) / 2 + size * rng.uniform(-0.03, 0.03, 2)
        K = np.array([[focal, 0, cx], [0, focal * rng.uniform(0.995, 1.005), cy], [0, 0, 1]])
        dist = _lens(rng, size / np.sqrt(2) / focal)
        cameras.append(geometry.Camera(f"00_{node:02d}", size, size, K, dist, R, t))
    return cameras


def _noise_octaves(rng, size, cells):
    """Smooth noise [size, size, 3] in about -1..1, with `cells` bumps across."""
    grid = rng.uniform(-1, 1, (cells + 1, cells + 1, 3)).astype(np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def make_background(rng, size):
    """An empty scene [size, size, 3] float32 in 0..1: tinted wall, panels with edges, sometimes skin-like hues."""
    tint = rng.uniform(0.3, 0.65) + rng.uniform(-0.15, 0.15, 3)
    image = tint + 0.15 * _noise_octaves(rng, size, 3) + 0.05 * _noise_octaves(rng, size, 12)
    for _ in range(rng.integers(5, 10)):
        hue = rng.uniform(0.2, 0.8) + rng.uniform(0.05, 0.3) * rng.uniform(-1, 1, 3)
        if rng.random() < 0.2:
            hue = np.array([0.75, 0.52, 0.4]) * rng.uniform(0.45, 1.15)
        centre, extent, turn = rng.uniform(0, size, 2), rng.uniform(0.1, 0.5, 2) * size, rng.uniform(0, 180)
        corners = cv2.boxPoints((centre.tolist(), extent.tolist(), float(turn))).astype(np.int32)
        mask = cv2.fillConvexPoly(np.zeros((size, size), np.float32), corners, 1.0, cv2.LINE_AA)
        panel = hue + 0.12 * _noise_octaves(rng, size, 4)
        image = image + (mask * rng.uniform(0.5, 1.0))[..., None] * (panel - image)
    image = np.ascontiguousarray(image, np.float32)
    for _ in range(rng.integers(2, 6)):
        a, b = rng.integers(0, size, (2, 2)).tolist()
        shade = rng.uniform(0.05, 0.9, 3).tolist()
        cv2.line(image, a, b, shade, max(1, size // 100), cv2.LINE_AA)
    return np.clip(cv2.GaussianBlur(image, (0, 0), size / 200), 0.02, 0.98)


def make_rig(seed, sequence, num_cameras, size, hands="right"):
    """The dome of sequence number `sequence`: jittered cameras, a background each, one light. Pure in its arguments."""
    rng = np.random.default_rng([seed, 303, sequence])
    centre = np.array([100.0, -1100.0, 50.0]) + rng.uniform(-60, 60, 3)
    cameras = make_cameras(rng, centre, num_cameras, size, REACH[hands])
    turn = rng.uniform(0, 2 * np.pi)
    level = np.array([np.cos(turn), 0, np.sin(turn)])
    light = Light(_unit(UP + 0.9 * level), _unit(0.3 * UP - level))
    views = []
    for camera in cameras:
        gain = rng.uniform(0.82, 1.15) * rng.uniform(0.94, 1.06, 3)
        picture = np.rint(255 * np.clip(make_background(rng, size) * gain, 0, 1)).astype(np.uint8)
        extent = size + _NOISE_SPARE
        noise = np.rint(rng.normal(0, rng.uniform(1.0, 2.5), (extent, extent, 3))).astype(np.int16)
        views.append(View(camera, picture, gain, noise))
    return Rig(centre, tuple(views), light)


def shade(normals, colours, light):
    """Lit vertex colours [v, 3] of unit `normals` [v, 3] and skin `colours` [v, 3]; a little light comes from above."""
    facing = np.maximum(normals @ np.stack([light.key_direction, light.fill_direction], 1), 0)
    sky = 0.85 + 0.15 * (normals @ UP)
    return colours * (light.ambient * sky + facing @ [light.key, light.fill])[:, None]


def _rasterise(pixels, depth, triangles, colours, window, supersample):
    """Colour [h, w, 3] float32 over zero and coverage [h, w] of a mesh in `window` (left, top, width, height) px."""
    left, top, width, height = window
    rows, columns = height * supersample, width * supersample
    # The rasteriser covers pixel i where its centre i + 1/2 lies inside; OpenCV's cameras centre pixels at i.
    middle = np.array([left + width / 2 - 0.5, top + height / 2 - 0.5])
    plane = (pixels - middle) * (depth[:, None] * 2 / height)
    vertices = np.stack([plane[:, 0], -plane[:, 1], -depth], 1).astype(np.float32)
    picture, buffer = np.zeros((rows, columns, 3), np.float32), np.full((rows, columns), _FAR, np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_CW)
    world = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(vertices, triangles, colours, picture, buffer, world, np.pi / 2, 10.0, _FAR, settings)
    coverage = (buffer < _FAR).astype(np.float32)
    if supersample > 1:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        coverage = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA)
    return picture, coverage


def render(background, camera, vertices, triangles, colours, supersample=2):
    """Draws a mesh over `background` [h, w, 3] uint8 RGB as `camera` sees it.

    `vertices` [v, 3] world mm, `triangles` [m, 3] int32 (counter-clockwise from outside; back faces are not drawn),
    `colours` [v, 3] lit colours in 0..1. Returns the image [h, w, 3] uint8 and the coverage mask [h, w] uint8 (0..255).
    Triangles that reach behind the camera, or so far out that its distortion folds, are invisible and left out.
    """
    pixels = geometry.project(vertices, camera)
    depth = vertices @ camera.R[2] + camera.t[2]
    image, mask = background.copy(), np.zeros(background.shape[:2], np.uint8)
    seen = np.isfinite(pixels[:, 0])
    if not seen.all():
        triangles = triangles[seen[triangles].all(1)]
        pixels = np.where(seen[:, None], pixels, 0)
        if not triangles.size:
            return image, mask
    limit = [camera.width, camera.height]
    left, top = np.clip(np.floor(pixels[seen].min(0)).astype(int) - 1, 0, limit)
    right, bottom = np.clip(np.ceil(pixels[seen].max(0)).astype(int) + 2, 0, limit)
    if right <= left or bottom <= top:
        return image, mask
    window = (left, top, right - left, bottom - top)
    colours = np.clip(colours, 0, 1).astype(np.float32)
    picture, coverage = _rasterise(pixels, depth, triangles, colours, window, supersample)
    region = image[top:bottom, left:right]
    blended = 255 * picture + (1 - coverage)[..., None] * region
    image[top:bottom, left:right] = cv2.convertScaleAbs(blended)
    mask[top:bottom, left:right] = cv2.convertScaleAbs(coverage, alpha=255)
    return image, mask


def add_noise(image, view, key):
    """`image` [h, w, 3] uint8 with a piece of the view's sensor noise chosen by the integers `key`."""
    x, y = np.random.default_rng(key).integers(0, _NOISE_SPARE, 2)
    height, width = image.shape[:2]
    return cv2.add(image, np.ascontiguousarray(view.noise[y : y + height, x : x + width]), dtype=cv2.CV_8U)
