"""Cameras, projection, triangulation and the rotations of virtual cameras, in NumPy and OpenCV only.

Notation: `X` world point (mm), `R, t` world to camera (`X_cam = R X + t`), `K, dist` OpenCV's pinhole and distortion
model, pixel centres at integers. Module `crops` builds virtual cameras from these.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from hand_tf.core import skeleton
from hand_tf.core.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera. `K` [3, 3] px, `dist` [5] (k1, k2, p1, p2, k3), `R` [3, 3], `t` [3] mm."""

    name: str
    width: int
    height: int
    K: np.ndarray
    dist: np.ndarray
    R: np.ndarray
    t: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Optical centre in the world, [3] mm."""
        return -self.R.T @ self.t

    @functools.cached_property
    def max_radius(self) -> float:
        """Normalised radius up to which the radial distortion grows; points beyond it fold back into the frame."""
        k1, k2, _, _, k3 = self.dist
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])  # d/dr of r (1 + k1 r^2 + k2 r^4 + k3 r^6), in r^2
        squares = roots[np.isreal(roots) & (roots.real > 0)].real
        return float(np.sqrt(squares.min())) if squares.size else np.inf


def _distort(rays, camera):
    """Pixels [n, 2] of `rays` [n, 3] in the camera's frame; NaN behind the camera and where the distortion folds back.

    OpenCV's model with five coefficients, written out: `cv2.projectPoints` computes the same, but several times slower.
    """
    rays = np.asarray(rays, np.float64).reshape(-1, 3)
    k1, k2, p1, p2, k3 = camera.dist
    ahead = rays[:, 2] > 1e-9
    depth = np.where(ahead, rays[:, 2], 1.0)
    x, y = rays[:, 0] / depth, rays[:, 1] / depth
    r2 = x * x + y * y
    radial, xy = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 2 * x * y
    u = x * radial + p1 * xy + p2 * (r2 + 2 * x * x)
    v = y * radial + p2 * xy + p1 * (r2 + 2 * y * y)
    distorted = np.stack([u, v], 1)
    distorted[~(ahead & (r2 < camera.max_radius**2))] = np.nan
    return distorted * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """World points [n, 3] mm to pixels [n, 2] of the camera; NaN where the camera cannot see them."""
    return _distort(np.asarray(points, np.float64) @ camera.R.T + camera.t, camera)


def inside(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Which of `pixels` [..., 2] lie in the camera's frame, [...] bool; NaN lies outside."""
    limit = np.array([camera.width, camera.height]) - 0.5
    return np.all((pixels >= -0.5) & (pixels <= limit), axis=-1)


def rotation_to_z_entries(x: Any, y: Any, z: Any) -> tuple:
    """The nine entries, row by row, of the smallest rotation that turns the unit vector (x, y, z) onto +z.

    Rodrigues' formula with axis (y, -x, 0) / |(x, y)| and cosine z. It is arithmetic alone, so that numbers, NumPy
    arrays and tensors may be given. Undefined at z = -1.
    """
    h = 1.0 + z
    return 1.0 - x * x / h, -x * y / h, -x, -x * y / h, 1.0 - y * y / h, -y, x, y, z


def turn(angle: float) -> np.ndarray:
    """[2, 2], turns directions in a picture by `angle` (radians), clockwise since y points down."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def rotation_to_z(ray: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that turns `ray` [3], of any length, onto +z. Raises ValueError for -z."""
    x, y, z = np.asarray(ray, np.float64) / np.linalg.norm(ray)
    if z < -1 + 1e-9:
        raise InputError("a ray that points backwards has no smallest rotation onto the optical axis")
    return np.reshape(rotation_to_z_entries(x, y, z), (3, 3))


def in_plane_entries(cos: Any, sin: Any) -> tuple:
    """The nine entries, row by row, of Z(a) given cos(a) and sin(a): numbers, NumPy arrays or tensors."""
    zero = cos - cos
    return cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1.0


def in_plane(degrees: float) -> np.ndarray:
    """Z(a) [3, 3]: how the camera frame rotates when its picture is rotated clockwise on screen by `degrees`."""
    angle = np.deg2rad(degrees)
    return np.reshape(in_plane_entries(np.cos(angle), np.sin(angle)), (3, 3))


def mirror_joints(joints: np.ndarray) -> np.ndarray:
    """World joints [..., 3] of a left hand as those of a right hand in the mirrored world."""
    return np.asarray(joints) @ skeleton.MIRROR


def undistort(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels [n, 2] to undistorted image coordinates [n, 2], normalised: x / z and y / z in the camera's frame."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-10)
    pixels = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
    return cv2.undistortPoints(pixels, camera.K, camera.dist, criteria=criteria)[:, 0]


def triangulate(pixels: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray:
    """The world point [3] mm that `cameras` see at `pixels` [n, 2], by linear least squares.

    Raises ValueError for fewer than two views.
    """
    if len(cameras) < 2:
        raise InputError(f"triangulation needs at least two views, got {len(cameras)}")
    rows = []
    for pixel, camera in zip(pixels, cameras, strict=True):
        (x, y), P = undistort([pixel], camera)[0], np.column_stack([camera.R, camera.t])
        rows += [x * P[2] - P[0], y * P[2] - P[1]]
    rows = np.asarray(rows)
    return np.linalg.lstsq(rows[:, :3], -rows[:, 3], rcond=None)[0]
