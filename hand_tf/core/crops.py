"""Virtual-camera crops: the picture of a camera that stands where a real one stands and looks straight at the hand.

    X_c = R c + t,  r = X_c / |X_c|,  R_virtual = smallest rotation with R_virtual r = e_z,  R' = R_virtual R
    side = 2 * margin * max_k |J_k - c|   one metric side for all views of an instant
    f' = size * |X_c| / side,  K' = [[f', 0, (size-1)/2], [0, f', (size-1)/2], [0, 0, 1]]

Because every crop shows the hand from straight ahead at one metric scale, the change from view i to view j is the
rotation `R'_j R'_i^T` alone. A left hand is mirrored into a right one: its crop is flipped, and with
`M = diag(-1, 1, 1)` rotations become `M R' M` and world points `M X`, so that every identity holds unchanged.
"""

import dataclasses
import functools
import math

import cv2
import numpy as np

from hand_tf.core import geometry, skeleton

# Crop rules: as built, about the 3D joints at one metric scale; cut again about the joints' tight 2D box.
CROP_RULES = ("joints3d", "box2d")
# Choice: one pixel of a crop averages at most this many samples in each direction.
MAX_SHRINK = 8
# Far outside any image: cv2.remap fills such pixels with its border value, 0.
OUTSIDE = -1e6


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """A square virtual view of `size` px cut out of `camera`; `mirrored` if it shows a left hand as a right one."""

    camera: geometry.Camera
    R_virtual: np.ndarray
    K: np.ndarray
    size: int
    mirrored: bool = False

    @property
    def rotation(self) -> np.ndarray:
        """World to virtual camera, [3, 3]; in the mirrored world for mirrored crops."""
        rotation = self.R_virtual @ self.camera.R
        return skeleton.MIRROR @ rotation @ skeleton.MIRROR if self.mirrored else rotation

    @property
    def centre(self) -> np.ndarray:
        """Optical centre [3] mm; in the mirrored world for mirrored crops. X is seen at K rotation (X - centre)."""
        return skeleton.MIRROR @ self.camera.centre if self.mirrored else self.camera.centre


def intrinsics(focal, size):
    """K' of a virtual camera. The centre is (size-1)/2: with size/2 a flipped picture would be a pixel off."""
    return np.array([[focal, 0.0, (size - 1) / 2], [0.0, focal, (size - 1) / 2], [0.0, 0.0, 1.0]])


def virtual_crop(camera, centre, side, size, mirrored=False):
    """The virtual view of `camera` that looks at `centre` [3] (world, mm) and spans `side` mm in `size` px.

    Raises ValueError if the centre lies behind the camera.
    """
    position = camera.R @ np.asarray(centre, np.float64) + camera.t
    if position[2] <= 0:
        raise ValueError(f"camera {camera.name}: the hand's centre lies behind it")
    focal = size * np.linalg.norm(position) / side
    return Crop(camera, geometry.rotation_to_z(position), intrinsics(focal, size), size, mirrored)


def box_crop(camera, box, size, margin=1.0, mirrored=False):
    """The virtual view through the centre of a 2D box (x, y, width, height) px, `margin` times its longer side wide."""
    x, y, width, height = (float(value) for value in box)
    centre = [[x + (width - 1) / 2, y + (height - 1) / 2]]
    ray = np.append(geometry.undistort(centre, camera)[0], 1.0)
    # At depth 1 the side in "mm" is the side in pixels over the focal length; the scale cancels in f'.
    side = margin * max(width, height) / np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    return Crop(
        camera, geometry.rotation_to_z(ray), intrinsics(size * np.linalg.norm(ray) / side, size), size, mirrored
    )


@functools.lru_cache(maxsize=8)
def _border(size):
    """Columns and rows [4 size] of the outermost pixels of a square."""
    span, first, last = np.arange(size), np.zeros(size, int), np.full(size, size - 1)
    return np.concatenate([span, span, first, last]), np.concatenate([first, last, span, span])


def _unseen(crop, K, u, v, map_x, map_y):
    """Which pixels (`u`, `v`) of the crop, which map to (`map_x`, `map_y`), the camera cannot show; broadcasts.

    `K` is the crop's, or that of its mirror image.
    """
    to_ray = crop.R_virtual.T @ np.linalg.inv(K)
    x, y, z = (row[0] * u + row[1] * v + row[2] for row in to_ray)
    outside = ~geometry.inside(np.stack([map_x, map_y], -1), crop.camera)
    return (z <= 1e-9) | (x**2 + y**2 >= (crop.camera.max_radius * z) ** 2) | outside


def crop_maps(crop, whole=False):
    """`map_x, map_y` float32 [size, size] for `cv2.remap`: undistorts, turns and scales in one step.

    Pixels whose ray leaves the frame, or lies where the distortion is no longer monotonic, map to `OUTSIDE`; `whole`
    says that the caller knows of none (a third of the time goes into looking).
    """
    camera, size, K = crop.camera, (crop.size, crop.size), crop.K
    if crop.mirrored:  # u' = size - 1 - u, and the centre is (size - 1) / 2: the focal length changes its sign
        K = K * [[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    # Many times faster than projecting every pixel's ray, and the same.
    maps = cv2.initUndistortRectifyMap(camera.K, camera.dist, crop.R_virtual, K, size, cv2.CV_32FC1)
    # A crop whose border is seen is seen as a whole: frame and lens are convex. Most are, and the border is cheap.
    u, v = _border(crop.size)
    if not whole and _unseen(crop, K, u, v, *(each[v, u] for each in maps)).any():
        span = np.arange(crop.size)
        unseen = _unseen(crop, K, span, span[:, None], *maps)
        for each in maps:
            each[unseen] = OUTSIDE
    return tuple(maps)


def samples_per_pixel(shrink: float) -> int:
    """How many samples k in each direction a crop pixel averages where it spans `shrink` pixels of the picture.

    Choice: the mean of k x k bilinear samples; a single one would alias where the picture is shrunk. Whoever
    cuts a crop makes it k times finer and then shrinks it with `cv2.INTER_AREA`, as `render` does.
    """
    return min(max(round(shrink), 1), MAX_SHRINK)


def sampling_maps(crop, whole=False):
    """The crop's maps, finer by `samples_per_pixel` in both directions; `whole` as in `crop_maps`."""
    k = samples_per_pixel(math.sqrt(crop.camera.K[0, 0] * crop.camera.K[1, 1]) / crop.K[0, 0])
    if k == 1:
        return crop_maps(crop, whole)
    # Pixel centres agree: the mean position of the k fine pixels of pixel i is k i + (k-1)/2, as in `intrinsics`.
    fine = dataclasses.replace(crop, K=intrinsics(crop.K[0, 0] * k, crop.size * k), size=crop.size * k)
    return crop_maps(fine, whole)


def render(image, maps, size):
    """`image` [height, width, 3] through `maps`: [size, size, 3] uint8, 0 outside the frame."""
    crop = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return crop if len(crop) == size else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def project(points, rotation, K, centre):
    """Points [n, 3] mm to pixels [n, 2] of the virtual camera that a record describes: K R' (X - C).

    Args:
        rotation: R' [3, 3], world to virtual camera; K: intrinsics [3, 3] px; centre: C [3] mm. For mirrored crops all
            of these and the points belong to the mirrored world.
    """
    pixels = (points - centre) @ rotation.T @ K.T
    return pixels[:, :2] / pixels[:, 2:]
