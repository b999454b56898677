"""Solids made of tapered capsules with flattened sections, which people's shapes are the smooth unions of.

In a capsule's frame (y along it, z palmar, z divided by the flatness), with r(s) between its two radii:

    d_i(x) = |q - s l e_y| - r(s),  s = clip(q_y / l, 0, 1),      d(x) = -k log sum_i exp(-d_i(x) / k)

k is how softly the solids merge, mm.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Capsules:
    """c tapered capsules, mm: `start`, `end` [c, 3]; `radii` [c, 2]; `flat` [c] z over x; `palmar` [c, 3]; `group`."""

    start: np.ndarray
    end: np.ndarray
    radii: np.ndarray
    flat: np.ndarray
    palmar: np.ndarray
    group: np.ndarray

    def maps(self):
        """Affine maps to the capsules' frames: matrix [3, 3 c], offset [3 c], and lengths [c]."""
        axis = self.end - self.start
        length = np.linalg.norm(axis, axis=1)
        y = axis / np.maximum(length, 1e-6)[:, None]
        z = self.palmar - np.sum(self.palmar * y, 1, keepdims=True) * y
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        rows = np.stack([np.cross(y, z), y, z / self.flat[:, None]], 1)
        return rows.reshape(-1, 3).T, np.einsum("cij,cj->ci", rows, self.start).ravel(), length


def distances(points, caps):
    """Signed distances [n, c] mm (float32) of `points` [n, 3] to each capsule; exact where its section is round."""
    matrix, offset, length = (value.astype(np.float32) for value in caps.maps())
    q = (np.asarray(points, np.float32) @ matrix - offset).reshape(len(points), -1, 3)
    along = np.clip(q[..., 1] / np.maximum(length, 1e-6), 0, 1)
    y = q[..., 1] - along * length
    gap = np.sqrt(q[..., 0] ** 2 + y * y + q[..., 2] ** 2)
    radii = caps.radii.astype(np.float32)
    return gap - (radii[:, 0] + along * (radii[:, 1] - radii[:, 0]))


def union(distance, softness):
    """The smooth union d [n] mm of solids at signed `distance` [n, c] mm; `softness` k [n] mm."""
    low, k = distance.min(1, keepdims=True), softness[:, None]
    return (low - k * np.log(np.sum(np.exp((low - distance) / k), 1, keepdims=True)))[:, 0]
