"""Virtual-camera crops: what a camera at the same position would see if it looked straight at the hand.

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
from collections.abc import Sequence

import cv2
import numpy as np

from hand_tf.core import geometry, skeleton
from hand_tf.core.errors import InputError

# How a crop is placed: about the 3D joints at one metric scale, as in the records, or about their tight 2D box.
CROP_RULES = ("box2d", "joints3d")  # what a user has comes first
# Side of a `box2d` crop over the longer side of the joints' box, unless somebody asks for another.
BOX_MARGIN = 1.5
# Choice: one pixel of a crop averages at most this many samples in each direction.
MAX_SHRINK = 8
# Width or height, px, from which OpenCV's remap refuses a picture.
MAX_REMAP = 32767
# Where maps send pixels that the camera does not see: far outside any image, so that cv2.remap fills them with 0.
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
        """R' [3, 3], world to virtual camera; in the mirrored world for mirrored crops."""
        rotation = self.R_virtual @ self.camera.R
        return skeleton.MIRROR @ rotation @ skeleton.MIRROR if self.mirrored else rotation

    @property
    def centre(self) -> np.ndarray:
        """Optical centre C [3] mm, in the mirrored world for mirrored crops; X is seen at K R' (X - C)."""
        return skeleton.MIRROR @ self.camera.centre if self.mirrored else self.camera.centre


def intrinsics(focal: float, size: int) -> np.ndarray:
    """K' [3, 3] px of a virtual camera.

    Its centre is (size-1)/2: with size/2 a flipped picture would be a pixel off.
    """
    return np.array([[focal, 0.0, (size - 1) / 2], [0.0, focal, (size - 1) / 2], [0.0, 0.0, 1.0]])


def virtual_crop(camera: geometry.Camera, centre: np.ndarray, side: float, size: int, mirrored: bool = False) -> Crop:
    """The virtual view of `camera` that looks at `centre` [3] (world, mm) and spans `side` mm in `size` px.

    Raises ValueError if the centre lies behind the camera.
    """
    position = camera.R @ np.asarray(centre, np.float64) + camera.t
    if position[2] <= 0:
        raise InputError(f"camera {camera.name}: the hand's centre lies behind it")
    focal = size * np.linalg.norm(position) / side
    return Crop(camera, geometry.rotation_to_z(position), intrinsics(focal, size), size, mirrored)


def box_crop(
    camera: geometry.Camera, box: Sequence[float], size: int, margin: float = 1.0, mirrored: bool = False
) -> Crop:
    """The virtual view of `size` px through the centre of a 2D box, `margin` times its longer side wide.

    `box` is x, y, width, height px, x and y the centre of its first pixel.
    """
    x, y, width, height = (float(value) for value in box)
    centre = np.array([[x + (width - 1) / 2, y + (height - 1) / 2]])
    ray = np.append(geometry.undistort(centre, camera)[0], 1.0)
    # The side of the crop at depth 1. Any other depth would give the same f'.
    side = margin * max(width, height) / np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    return Crop(
        camera, geometry.rotation_to_z(ray), intrinsics(size * np.linalg.norm(ray) / side, size), size, mirrored
    )


@functools.lru_cache(maxsize=8)
def _border(size):
    """Columns and rows [4 size] of the pixels on the border of a square."""
    span, first, last = np.arange(size), np.zeros(size, int), np.full(size, size - 1)
    return np.concatenate([span, span, first, last]), np.concatenate([first, last, span, span])


def _unseen(crop, K, u, v, map_x, map_y):
    """Which pixels (`u`, `v`) of the crop the camera does not see; they map to (`map_x`, `map_y`) of its picture.

    All four broadcast. `K` is that of the crop, or of the flipped crop.
    """
    to_ray = crop.R_virtual.T @ np.linalg.inv(K)
    x, y, z = (row[0] * u + row[1] * v + row[2] for row in to_ray)
    outside = ~geometry.inside(np.stack([map_x, map_y], -1), crop.camera)
    return (z <= 1e-9) | (x**2 + y**2 >= (crop.camera.max_radius * z) ** 2) | outside


def crop_maps(crop: Crop, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """`map_x, map_y` float32 [size, size] for `cv2.remap`: they undistort, rotate and scale in one step.

    Pixels whose ray leaves the frame, or lies where the distortion folds back, map to `OUTSIDE`. `whole` says that
    there are none, which saves the third of the time that goes into looking for them.
    """
    camera, size, K = crop.camera, (crop.size, crop.size), crop.K
    if crop.mirrored:  # flipped: u' = size - 1 - u about the centre (size - 1) / 2 negates the horizontal focal length
        K = K * [[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    # The same as projecting the ray of each pixel, but many times faster.
    maps = cv2.initUndistortRectifyMap(camera.K, camera.dist, crop.R_virtual, K, size, cv2.CV_32FC1)
    # If the border of a crop is seen, all of it is: the frame and what the lens sees are convex. This holds for most
    # crops, and testing the border is cheap.
    u, v = _border(crop.size)
    if not whole and _unseen(crop, K, u, v, *(each[v, u] for each in maps)).any():
        span = np.arange(crop.size)
        unseen = _unseen(crop, K, span, span[:, None], *maps)
        for each in maps:
            each[unseen] = OUTSIDE
    return maps[0], maps[1]


def samples_per_pixel(shrink: float) -> int:
    """k: a pixel of a crop that spans `shrink` pixels of the picture is the mean of k x k bilinear samples.

    A single sample would alias where the picture is shrunk. To apply it, cut the crop k times as wide and high and
    shrink it by `cv2.INTER_AREA`, as `render` does.
    """
    return min(max(round(shrink), 1), MAX_SHRINK)


def sampling_maps(crop: Crop, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The maps of `crop_maps` with k = `samples_per_pixel` samples per pixel: float32 [k * size, k * size] each."""
    k = samples_per_pixel(math.sqrt(crop.camera.K[0, 0] * crop.camera.K[1, 1]) / crop.K[0, 0])
    if k == 1:
        return crop_maps(crop, whole)
    # The centres of pixels agree: the k samples of pixel i lie about k i + (k-1)/2, as `intrinsics` has it.
    fine = dataclasses.replace(crop, K=intrinsics(crop.K[0, 0] * k, crop.size * k), size=crop.size * k)
    return crop_maps(fine, whole)


def render(image: np.ndarray, maps: tuple[np.ndarray, np.ndarray], size: int) -> np.ndarray:
    """The crop [size, size, 3] uint8 that `maps` cut out of `image` [height, width, 3]; 0 outside of the frame."""
    if max(image.shape[:2]) >= MAX_REMAP:
        image, maps = _part_for(image, maps)
    crop = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return crop if len(crop) == size else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def _part_for(image, maps):
    """The part of an image that `maps` show, and the maps into that part."""
    starts, stops, shifted = [], [], []
    for each, limit in zip(maps, image.shape[1::-1], strict=True):
        seen = each[each > OUTSIDE / 2]
        low, high = (seen.min(), seen.max()) if seen.size else (0, 0)
        starts.append(int(np.clip(low - 1, 0, limit - 1)))
        stops.append(int(np.clip(high + 3, 1, limit)))
        shifted.append(np.where(each > OUTSIDE / 2, each - starts[-1], OUTSIDE).astype(np.float32))
    return image[starts[1] : stops[1], starts[0] : stops[0]], tuple(shifted)


def project(points: np.ndarray, rotation: np.ndarray, K: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Points [n, 3] mm to pixels [n, 2] of the virtual camera that a record describes: K R' (X - C).

    Args:
        points: X, one per row; in the mirrored world for mirrored crops, as are the others.
        rotation: R' [3, 3], world to virtual camera.
        K: intrinsics [3, 3] px.
        centre: C [3] mm.
    """
    pixels = (points - centre) @ rotation.T @ K.T
    return pixels[:, :2] / pixels[:, 2:]
