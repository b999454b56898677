"""The cameras of the dome and their sensors: two synthetic rigs, and any rig from a calibration file.

    position = c + d (cos e cos h, -sin e, cos e sin h)     heading h, elevation e seen from centre c (Y points down)
    f = (shorter side / 2) * distance / reach * zoom        so the shorter side shows `reach` mm either way at c

"panoptic31" has the statistics of the 31 HD cameras of CMU Panoptic Studio (from calibration_160906_band2.json): rows
of five around the dome, optical axes that miss each other by decimetres, mixed zooms, and distortion that is largest
for wide views. At FULL_REACH and 1920x1080 it has their focal lengths. A smaller reach scales the errors of the aim
with the view, and limits both aim and zoom so that HANDS_REACH stays in the frame.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hand_tf.core import geometry
from hand_tf.core.errors import InputError
from tfrecords_tools.dome import variety
from tfrecords_tools.dome.random_keys import RandomKey
from tfrecords_tools.dump import panoptic

RIGS = ("ring8", "panoptic31")
UP = np.array([0.0, -1.0, 0.0])
HEIGHT = 1300.0  # mm; height of the centre above the floor, which is near y = 0, as in Panoptic
RING_ELEVATION = (-10.0, 60.0)  # degrees above the horizon
# Panoptic's rows of five cameras: elevation and heading of the first one, degrees; and the single low camera.
# Choice: the rows are staggered so that the 30 headings are evenly spaced.
ROWS = ((-2.5, 0.0), (4.3, 36.0), (13.9, 60.0), (23.1, 24.0), (40.7, 48.0), (48.2, 12.0))
LOW = (-12.0, 130.0)
RADIUS, RADIUS_SD = 2765.0, 21.0  # mm
MISS = (25.0, 310.0)  # mm between an optical axis and the centre; the median is 130
FULL_REACH = 1065.0  # mm; that of Panoptic, whose wide lenses have fx 1395..1405 px at 1920x1080
FULL_CORNER = np.hypot(960, 540) / (540 * RADIUS / FULL_REACH)  # normalised radius of the corner of such a frame
# Half the space that two hands need, mm. No camera zooms in so far, or aims so badly, that it leaves the frame.
HANDS_REACH = 370.0


@dataclasses.dataclass(frozen=True, eq=False)
class Sensor:
    """A camera's colour `gain` [3], Gaussian `blur` (sigma, px), `noise` (sigma, grey levels) and JPEG quality."""

    gain: np.ndarray
    blur: float
    noise: float
    jpeg_quality: int


def _varied_sensor(rng):
    """A sensor of any quality, from a good camera to a blurred, noisy, strongly compressed video."""
    gain = np.exp(rng.uniform(-0.35, 0.3)) * np.exp(rng.uniform(-0.1, 0.1, 3))
    blur, noise = np.exp(rng.uniform(*np.log([[0.3, 0.8], [3.0, 10.0]])))
    return Sensor(gain, float(blur), float(noise), int(rng.integers(35, 96)))


def make_sensors(seed: int, sequence: int, n: int, kind: str = "studio") -> list[Sensor]:
    """The sensors of `n` cameras, which differ in exposure, white balance, focus, noise and compression.

    `kind` is one of `variety.SENSORS`.
    """
    rng = np.random.default_rng([seed, RandomKey.SENSORS, sequence])
    if kind == "varied":
        return [_varied_sensor(rng) for _ in range(n)]
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


def look_at(position: np.ndarray, target: np.ndarray, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """World-to-camera R [3, 3] and t [3] mm of a camera at `position` that looks at `target`; `roll` in degrees."""
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(-UP, z)
    x /= np.linalg.norm(x)
    R = geometry.in_plane(roll) @ np.stack([x, np.cross(z, x), z])
    return R, -R @ position


def _camera(node, size, focal, aspect, offset, bend, pose):
    """A camera of `size` (w, h) px; the `offset` [2] of the principal point is a fraction of the shorter side.

    `bend` [5] are OpenCV's distortion coefficients k1, k2, p1, p2, k3 for radii in units of the frame's corner. Real
    lenses of any focal length displace the corner by some percent; scaling the coefficients by powers of its radius
    keeps the polynomial monotonic over the frame.
    """
    (width, height), (R, t) = size, pose
    cx, cy = (np.array([width, height]) - 1) / 2 + min(size) * np.asarray(offset)
    K = np.array([[focal, 0, cx], [0, focal * aspect, cy], [0, 0, 1]])
    dist = np.asarray(bend) / (np.hypot(width, height) / 2 / focal) ** np.array([2, 4, 1, 1, 6])
    return geometry.Camera(f"00_{node:02d}", width, height, K, dist, R, t)


def _ring(seed, sequence, centre, size, reach, num_cameras, varied):
    """`num_cameras` cameras all around; each sequence has its own headings and (stratified) elevations."""
    rng = np.random.default_rng([seed, RandomKey.RING, sequence])
    headings = np.arange(num_cameras) + rng.uniform(-0.3, 0.3, num_cameras) + rng.uniform(0, num_cameras)
    shares = (rng.permutation(num_cameras) + rng.random(num_cameras)) / num_cameras
    elevations = RING_ELEVATION[0] + shares * (RING_ELEVATION[1] - RING_ELEVATION[0])
    cameras = []
    for node, (heading, elevation) in enumerate(zip(360 / num_cameras * headings, elevations, strict=True)):
        distance = rng.uniform(varied.min_distance, varied.max_distance)
        aim = centre + reach * rng.uniform(-0.05, 0.05, 3)
        pose = look_at(
            centre + distance * _direction(heading, elevation), aim, rng.uniform(-varied.max_roll, varied.max_roll)
        )
        focal = min(size) / 2 * distance / reach * rng.uniform(0.95, 1.05)
        aspect, offset = rng.uniform(0.995, 1.005), rng.uniform(-0.03, 0.03, 2)
        k1, k2, k3 = rng.uniform(-0.1, -0.03), rng.uniform(0, 0.02), rng.uniform(-0.002, 0.002)
        bend = (k1, k2, *rng.uniform(-0.002, 0.002, 2), k3)
        cameras.append(_camera(node, size, focal, aspect, offset, bend, pose))
    return cameras


def _panoptic_lens(rng, zoom):
    """Distortion coefficients for radii in units of the corner of a 1920x1080 frame; zooming in reduces distortion."""
    k1 = -0.2855 * zoom**-1.75 + rng.uniform(-0.004, 0.004)
    k2 = rng.uniform(0.17, 0.2) + 0.08 * (zoom - 1)
    k3 = -0.05 + 0.4 * (zoom - 1) + 1.1 * (zoom - 1) ** 2 + rng.uniform(-0.006, 0.006)
    p1, p2 = np.clip(rng.normal([-0.0002, 0.0005], 0.00035), -0.001, 0.001)
    return np.array([k1, k2, p1, p2, k3]) * (FULL_CORNER / zoom) ** np.array([2, 4, 1, 1, 6])


def _panoptic_traits(rng):
    """Zoom, distance of the axis from the centre (mm at FULL_REACH) and roll (degrees) of all 31 cameras, [31] each."""
    # 18 lenses at the wide end, 12 zoomed in by some percent, one by a third.
    zoom = np.concatenate([rng.uniform(0.995, 1.003, 18), rng.uniform(1.02, 1.18, 12), [1.325]])
    shares = (rng.permutation(31) + rng.random(31)) / 31
    miss = MISS[0] + shares**1.44 * (MISS[1] - MISS[0])
    return rng.permutation(zoom), miss, np.clip(rng.normal(0, 3, 31), -7, 7)


def _panoptic(seed, sequence, centre, size, reach, num_cameras):
    """The dome of `seed`, or an evenly spread part of it; each sequence shifts the cameras by some millimetres."""
    rng, shift = np.random.default_rng([seed, RandomKey.DOME]), np.random.default_rng([seed, RandomKey.SHIFT, sequence])
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


def spread(directions: np.ndarray, n: int) -> list[int]:
    """Sorted indices of `n` evenly spread ones of the unit `directions` [m, 3]: each next one is farthest from all."""
    chosen, nearest = [0], directions @ directions[0]
    while len(chosen) < n:
        nearest[chosen[-1]] = np.inf  # never taken again, even if other directions are the same
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    return sorted(chosen)


def meeting_point(cameras: Sequence[geometry.Camera]) -> np.ndarray:
    """The point [3] mm nearest to all optical axes (least squares). Raises ValueError if the axes are parallel."""
    axes = np.array([camera.R[2] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    if np.linalg.eigvalsh(across.mean(0))[0] < 1e-4:
        raise InputError("the optical axes are parallel and meet nowhere")
    return np.linalg.solve(across.sum(0), np.einsum("nij,nj->i", across, [camera.centre for camera in cameras]))


def _scaled(camera, size):
    """`camera` with its picture resized to `size` (w, h) px; pixel centres are at integers."""
    x, y = np.array(size) / [camera.width, camera.height]
    resize = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    return dataclasses.replace(camera, width=size[0], height=size[1], K=resize @ camera.K)


def _calibrated(path, size, num_cameras):
    """Centre and cameras of a rig that consists of the HD cameras of a calibration file."""
    cameras = panoptic.read_calibration(path)
    for camera in cameras:
        if abs(size[0] / size[1] * camera.height / camera.width - 1) > 0.02:
            raise InputError(
                f"{path}: camera {camera.name} is {camera.width}x{camera.height}: "
                f"pictures of {size[0]}x{size[1]} would be distorted; choose a size with the same aspect ratio"
            )
    _check_count(num_cameras, len(cameras), path)
    try:
        centre = meeting_point(cameras)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    for camera in cameras:
        if camera.R[2] @ centre + camera.t[2] <= 0:
            raise InputError(f"{path}: camera {camera.name} looks away from where the optical axes meet")
    directions = np.array([camera.centre - centre for camera in cameras])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return centre, [_scaled(cameras[i], size) for i in spread(directions, num_cameras or len(cameras))]


def _check_count(num_cameras, most, where):
    if num_cameras != 0 and not 2 <= num_cameras <= most:
        raise InputError(f"{where}: 2 to {most} cameras are possible (0 for all), not {num_cameras}")


def make_cameras(
    rig: str | None,
    seed: int,
    sequence: int,
    size: tuple[int, int],
    reach: float | None,
    num_cameras: int = 0,
    calibration: str | os.PathLike | None = None,
    varied: variety.Variety = variety.STUDIO,
) -> tuple[np.ndarray, list[geometry.Camera]]:
    """The cameras of sequence number `sequence` and the point that they look at.

    Args:
        rig: "ring8" or "panoptic31"; not used with a calibration.
        size: (width, height) of the pictures, px.
        reach: half of what the shorter side of a picture shows at the centre, mm; not used with a calibration.
        num_cameras: 0 for all cameras of the rig. A smaller number of a fixed rig is evenly spread.
        calibration: path of a calibration file in Panoptic's format, whose HD cameras are used as they are.
        varied: distance and roll of the cameras of "ring8".

    Returns:
        centre [3] mm, and the cameras.

    Raises ValueError for an unknown rig or an impossible number of cameras; for a calibration file whose pictures have
    another aspect ratio, whose optical axes are parallel, with a camera that looks away from where they meet, or that
    `panoptic.read_calibration` refuses; FileNotFoundError if the file does not exist.
    """
    size = (int(size[0]), int(size[1]))
    if calibration is not None:
        return _calibrated(calibration, size, num_cameras)
    if rig not in RIGS:
        raise InputError(f"rig {rig!r}: one of {', '.join(RIGS)} expected")
    centre = np.array([0.0, -HEIGHT, 0.0])
    centre += np.random.default_rng([seed, RandomKey.CENTRE, sequence]).uniform(-60, 60, 3) * [1, 0.3, 1]
    if rig == "ring8":
        _check_count(num_cameras, 100, rig)
        return centre, _ring(seed, sequence, centre, size, reach, num_cameras or 8, varied)
    _check_count(num_cameras, 31, rig)
    return centre, _panoptic(seed, sequence, centre, size, reach, num_cameras or 31)
