"""The dome's cameras and their sensors: two synthetic rigs, and any rig of a calibration file.

    position = c + d (cos e cos h, -sin e, cos e sin h)     heading h, elevation e seen from centre c (Y points down)
    f = (shorter side / 2) * distance / reach * zoom        so the shorter side shows `reach` mm either way at c

"panoptic31" has the statistics of CMU Panoptic Studio's 31 HD cameras (read from calibration_160906_band2.json): rows
of five round the dome, optical axes that miss each other by decimetres, mixed zooms, lenses that bend a wide view most.
At FULL_REACH and 1920x1080 it has their focal lengths; a smaller reach scales the aim's errors along with the view, and
keeps both the aim and the zooms from cutting into HANDS_REACH.
"""

import dataclasses

import numpy as np

from hand_tf.core import geometry
from tfrecords_tools.dome.random_keys import Salt
from tfrecords_tools.dump import panoptic

RIGS = ("ring8", "panoptic31")
UP = np.array([0.0, -1.0, 0.0])
# The floor is near y = 0, as in Panoptic, and the focus this high above it, mm.
HEIGHT = 1300.0
RING_ELEVATION = (-10.0, 60.0)  # degrees above the horizon
RING_DISTANCE = (1500.0, 2000.0)  # mm
# Panoptic's rows of five cameras: elevation and heading of the first, degrees; then the one low camera by itself.
# Choice: the rows are staggered so that the 30 headings are evenly spread.
ROWS = ((-2.5, 0.0), (4.3, 36.0), (13.9, 60.0), (23.1, 24.0), (40.7, 48.0), (48.2, 12.0))
LOW = (-12.0, 130.0)
RADIUS, RADIUS_SD = 2765.0, 21.0  # mm
MISS = (25.0, 310.0)  # mm between an optical axis and the focus; the median is 130
FULL_REACH = 1065.0  # mm: Panoptic's, whose wide lenses have fx 1395..1405 px at 1920x1080
FULL_CORNER = np.hypot(960, 540) / (540 * RADIUS / FULL_REACH)  # normalised radius of such a frame's corner
# Half the space of two hands, mm. Nobody zooms in so far, or aims so badly, that it leaves the frame.
HANDS_REACH = 370.0


@dataclasses.dataclass(frozen=True, eq=False)
class Sensor:
    """What a camera does to light: colour `gain` [3], Gaussian `blur` (sigma, px), `noise` (sigma, grey levels)."""

    gain: np.ndarray
    blur: float
    noise: float
    jpeg_quality: int


def make_sensors(seed, sequence, n):
    """List of `n` sensors: exposure times white balance, focus, noise and compression differ between cameras."""
    rng = np.random.default_rng([seed, Salt.SENSORS, sequence])
    sensors = []
    for _ in range(n):
        gain = rng.uniform(0.82, 1.15) * rng.uniform(0.94, 1.06, 3)
        sensors.append(Sensor(gain, rng.uniform(0.3, 0.9), rng.uniform(0.8, 2.5), int(rng.integers(78, 98))))
    return sensors


def _direction(heading, elevation):
    """Unit vector [3] from the centre towards a camera; degrees."""
    heading, elevation = np.deg2rad([heading, elevation])
    level = np.cos(elevation)
    return np.array([level * np.cos(heading), -np.sin(elevation), level * np.sin(heading)])


def look_at(position, target, roll):
    """World to camera R [3, 3], t [3] mm of a camera at `position` that looks at `target`, rolled by `roll` degrees."""
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(-UP, z)
    x /= np.linalg.norm(x)
    R = geometry.in_plane(roll) @ np.stack([x, np.cross(z, x), z])
    return R, -R @ position


def _camera(node, size, focal, aspect, offset, bend, pose):
    """A camera of `size` (w, h) px; `offset` [2] of the principal point is in shorter sides.

    `bend` [5] are OpenCV's coefficients for radii in units of the frame's corner: real lenses bend a corner by some
    percent, however long they are, and scaling by powers keeps the polynomial monotonic over the frame.
    """
    (width, height), (R, t) = size, pose
    cx, cy = (np.array([width, height]) - 1) / 2 + min(size) * np.asarray(offset)
    K = np.array([[focal, 0, cx], [0, focal * aspect, cy], [0, 0, 1]])
    dist = np.asarray(bend) / (np.hypot(width, height) / 2 / focal) ** np.array([2, 4, 1, 1, 6])
    return geometry.Camera(f"00_{node:02d}", width, height, K, dist, R, t)


def _ring(seed, sequence, centre, size, reach, num_cameras):
    """`num_cameras` cameras all around, at headings and stratified elevations of the sequence's own."""
    rng = np.random.default_rng([seed, Salt.RING, sequence])
    headings = np.arange(num_cameras) + rng.uniform(-0.3, 0.3, num_cameras) + rng.uniform(0, num_cameras)
    shares = (rng.permutation(num_cameras) + rng.random(num_cameras)) / num_cameras
    elevations = RING_ELEVATION[0] + shares * (RING_ELEVATION[1] - RING_ELEVATION[0])
    cameras = []
    for node, (heading, elevation) in enumerate(zip(360 / num_cameras * headings, elevations, strict=True)):
        distance = rng.uniform(*RING_DISTANCE)
        aim = centre + reach * rng.uniform(-0.05, 0.05, 3)
        pose = look_at(centre + distance * _direction(heading, elevation), aim, rng.uniform(-10, 10))
        focal = min(size) / 2 * distance / reach * rng.uniform(0.95, 1.05)
        aspect, offset = rng.uniform(0.995, 1.005), rng.uniform(-0.03, 0.03, 2)
        k1, k2, k3 = rng.uniform(-0.1, -0.03), rng.uniform(0, 0.02), rng.uniform(-0.002, 0.002)
        bend = (k1, k2, *rng.uniform(-0.002, 0.002, 2), k3)
        cameras.append(_camera(node, size, focal, aspect, offset, bend, pose))
    return cameras


def _panoptic_lens(rng, zoom):
    """Coefficients for radii in units of the corner of a 1920x1080 frame: zooming in straightens the picture."""
    k1 = -0.2855 * zoom**-1.75 + rng.uniform(-0.004, 0.004)
    k2 = rng.uniform(0.17, 0.2) + 0.08 * (zoom - 1)
    k3 = -0.05 + 0.4 * (zoom - 1) + 1.1 * (zoom - 1) ** 2 + rng.uniform(-0.006, 0.006)
    p1, p2 = np.clip(rng.normal([-0.0002, 0.0005], 0.00035), -0.001, 0.001)
    return np.array([k1, k2, p1, p2, k3]) * (FULL_CORNER / zoom) ** np.array([2, 4, 1, 1, 6])


def _panoptic_traits(rng):
    """Zoom, the axis' distance from the focus (mm at FULL_REACH), and roll (degrees) of all 31 cameras, [31] each."""
    # 18 lenses at the wide end, 12 zoomed in by some percent, one far in.
    zoom = np.concatenate([rng.uniform(0.995, 1.003, 18), rng.uniform(1.02, 1.18, 12), [1.325]])
    shares = (rng.permutation(31) + rng.random(31)) / 31
    miss = MISS[0] + shares**1.44 * (MISS[1] - MISS[0])
    return rng.permutation(zoom), miss, np.clip(rng.normal(0, 3, 31), -7, 7)


def _panoptic(seed, sequence, centre, size, reach, num_cameras):
    """The dome of `seed`, all or an evenly spread part of it; each sequence shifts its cameras by some millimetres."""
    rng, shift = np.random.default_rng([seed, Salt.DOME]), np.random.default_rng([seed, Salt.SHIFT, sequence])
    places = [(elevation, first + 72 * k) for elevation, first in ROWS for k in range(5)] + [LOW]
    chosen = spread(np.array([_direction(heading, elevation) for elevation, heading in places]), num_cameras)
    zooms, misses, rolls = _panoptic_traits(rng)
    zooms = np.minimum(zooms, max(1.0, reach / HANDS_REACH))
    misses = np.minimum(misses * reach / FULL_REACH, max(0.05 * reach, reach - HANDS_REACH))
    cameras = []
    for (elevation, heading), zoom, miss, roll in zip(places, zooms, misses, rolls, strict=True):
        around, (e, h) = rng.uniform(0, 2 * np.pi), rng.normal([elevation, heading], [0.3, 1.0])
        distance = RADIUS + np.clip(rng.normal(0, RADIUS_SD), -45, 40)
        position = centre + distance * _direction(h, e) + shift.uniform(-6, 6, 3)
        sideways, upwards = look_at(position, centre, roll)[0][:2]
        aim = centre + miss * (np.cos(around) * sideways + np.sin(around) * upwards)
        offset = np.clip(rng.normal([-15, 18], [10, 7]), [-42, 4], [5, 33]) / 1080
        lens, aspect = _panoptic_lens(rng, zoom), rng.uniform(0.9971, 0.9979)
        focal = min(size) / 2 * RADIUS / reach * zoom
        cameras.append(_camera(0, size, focal, aspect, offset, lens, look_at(position, aim, roll)))
    return [dataclasses.replace(cameras[index], name=f"00_{node:02d}") for node, index in enumerate(chosen)]


def spread(directions, n):
    """Sorted indices of `n` of the unit `directions` [m, 3], evenly spread: each next one is the farthest from all."""
    chosen, nearest = [0], directions @ directions[0]
    while len(chosen) < n:
        nearest[chosen[-1]] = np.inf  # none is taken twice, even if others look in the very same direction
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    return sorted(chosen)


def meeting_point(cameras):
    """The point [3] mm nearest to all optical axes (least squares). Raises ValueError if the axes are parallel."""
    axes = np.array([camera.R[2] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    if np.linalg.eigvalsh(across.mean(0))[0] < 1e-4:
        raise ValueError("the optical axes are parallel and meet nowhere")
    return np.linalg.solve(across.sum(0), np.einsum("nij,nj->i", across, [camera.centre for camera in cameras]))


def _scaled(camera, size):
    """`camera` with its picture resized to `size` (w, h) px; pixel centres are at integers."""
    x, y = np.array(size) / [camera.width, camera.height]
    resize = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return dataclasses.replace(camera, width=size[0], height=size[1], K=resize @ camera.K)


def _calibrated(path, size, num_cameras):
    """(centre, cameras) of a calibration file's HD cameras."""
    cameras = panoptic.read_calibration(path)
    for camera in cameras:
        if abs(size[0] / size[1] * camera.height / camera.width - 1) > 0.02:
            raise ValueError(
                f"{path}: camera {camera.name} is {camera.width}x{camera.height}: "
                f"pictures of {size[0]}x{size[1]} would be squeezed; choose a size of the same shape"
            )
    _check_count(num_cameras, len(cameras), path)
    try:
        centre = meeting_point(cameras)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for camera in cameras:
        if camera.R[2] @ centre + camera.t[2] <= 0:
            raise ValueError(f"{path}: camera {camera.name} looks away from where the optical axes meet")
    directions = np.array([camera.centre - centre for camera in cameras])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return centre, [_scaled(cameras[i], size) for i in spread(directions, num_cameras or len(cameras))]


def _check_count(num_cameras, most, where):
    if num_cameras != 0 and not 2 <= num_cameras <= most:
        raise ValueError(f"{where}: 2 to {most} cameras can be had (0 for all), not {num_cameras}")


def make_cameras(rig, seed, sequence, size, reach, num_cameras=0, calibration=None):
    """The cameras of sequence number `sequence` and the point that they look at.

    Args:
        rig: "ring8" or "panoptic31"; not used with a calibration.
        size: (width, height) of the pictures, px.
        reach: half of what a picture's shorter side shows at the centre, mm; not used with a calibration.
        num_cameras: how many; 0 takes all the rig has. A part of a fixed rig is an evenly spread one.
        calibration: path of a calibration file in Panoptic's format, whose HD cameras are taken as they are.

    Returns:
        centre [3] mm, list of `geometry.Camera`.

    Raises ValueError for an unknown rig, an impossible number of cameras, or a calibration file whose pictures have
    another shape, whose optical axes are parallel, or one of whose cameras looks away from where they meet (or that
    `panoptic.read_calibration` refuses); FileNotFoundError without the file.
    """
    size = (int(size[0]), int(size[1]))
    if calibration is not None:
        return _calibrated(calibration, size, num_cameras)
    if rig not in RIGS:
        raise ValueError(f"rig {rig!r}: one of {', '.join(RIGS)} expected")
    centre = np.array([0.0, -HEIGHT, 0.0])
    centre += np.random.default_rng([seed, Salt.CENTRE, sequence]).uniform(-60, 60, 3) * [1, 0.3, 1]
    if rig == "ring8":
        _check_count(num_cameras, 100, rig)
        return centre, _ring(seed, sequence, centre, size, reach, num_cameras or 8)
    _check_count(num_cameras, 31, rig)
    return centre, _panoptic(seed, sequence, centre, size, reach, num_cameras or 31)
