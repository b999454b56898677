"""Tapered capsules with flattened cross sections. Bodies and hands are smooth unions of them.

In a capsule's frame (y along it, z palmar, z divided by the flatness), with r(s) interpolated between its two radii:

    d_i(x) = |q - s l e_y| - r(s),  s = clip(q_y / l, 0, 1),      d(x) = -k log sum_i exp(-d_i(x) / k)

The larger k (mm), the more softly the solids merge.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Capsules:
    """c tapered capsules, in mm.

    Attributes:
        start, end: ends of the axes, [c, 3].
        radii: at the two ends, [c, 2].
        flat: thickness along z divided by width along x, [c].
        palmar: a direction near the capsule's z axis, [c, 3].
        group: number of the body part, [c].
    """

    start: np.ndarray
    end: np.ndarray
    radii: np.ndarray
    flat: np.ndarray
    palmar: np.ndarray
    group: np.ndarray

    def maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Affine maps into the capsules' frames, matrix [3, 3 c] and offset [3 c]; and the capsules' lengths [c] mm."""
        axis = self.end - self.start
        length = np.linalg.norm(axis, axis=1)
        y = axis / np.maximum(length, 1e-6)[:, None]
        z = self.palmar - np.sum(self.palmar * y, 1, keepdims=True) * y
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        rows = np.stack([np.cross(y, z), y, z / self.flat[:, None]], 1)
        return rows.reshape(-1, 3).T, np.einsum("cij,cj->ci", rows, self.start).ravel(), length


def distances(points: np.ndarray, caps: Capsules) -> np.ndarray:
    """Signed distances [n, c] mm (float32) of `points` [n, 3] to each capsule; exact where its section is circular."""
    matrix, offset, length = (value.astype(np.float32) for value in caps.maps())
    q = (np.asarray(points, np.float32) @ matrix - offset).reshape(len(points), -1, 3)
    along = np.clip(q[..., 1] / np.maximum(length, 1e-6), 0, 1)
    y = q[..., 1] - along * length
    gap = np.sqrt(q[..., 0] ** 2 + y * y + q[..., 2] ** 2)
    radii = caps.radii.astype(np.float32)
    return gap - (radii[:, 0] + along * (radii[:, 1] - radii[:, 0]))


def union(distance: np.ndarray, softness: np.ndarray) -> np.ndarray:
    """Signed distance d [n] mm to the smooth union of c solids at `distance` [n, c] mm, with `softness` k [n] mm."""
    low, k = distance.min(1, keepdims=True), softness[:, None]
    return (low - k * np.log(np.sum(np.exp((low - distance) / k), 1, keepdims=True)))[:, 0]
