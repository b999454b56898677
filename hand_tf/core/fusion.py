"""Fusion of the poses that several views of one instant predict.

Notation (rows are joints): pose P_v [21, 3] of view v in the frame of its virtual camera, R_v [3, 3] from the world to
that frame.

    world pose       J_v = P_v R_v                      (and P_v = J_v R_v^T)
    fused joint      J   = argmin sum_v |A_v (J_v - J)|,   A_v = R_v^T diag(1, 1, sqrt(depth_weight)) R_v
    spread           mean_v |A_v (J_v - J)| / |A_v|, mm: how far the views lie from what they agree on

It is a geometric median, for which one wrong view counts little, and which trusts a camera less along its own line of
sight: there it has to guess, and another camera sees that direction from the side. Poses are relative to the wrist.

Points of a latent turn as poses do (Eq. 1), but have no unit, so they are fused with weights from the poses:

    residual         r_v = mean over joints of |A_v (J_v - J)|, mm
    fused points     L   = argmin sum_v |A_v (L_v - L)|^2 / max(r_v, NEAR)
"""

import numpy as np

# Chosen on poses that a network predicted for people of the dome without labels.
DEPTH_WEIGHT, NEAR = 0.15, 10.0  # of squared mm along the line of sight; mm within which a view is no outlier


def to_world(pose: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Poses [n, 21, 3] of views with rotations [n, 3, 3] (world to virtual camera), in the frame of the world."""
    return pose @ rotations


def to_views(world: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """World poses [n, 21, 3] in the frames of views with rotations [n, 3, 3]; the inverse of `to_world`."""
    return world @ rotations.swapaxes(-1, -2)


def fuse_instants(
    world: np.ndarray,
    instants: np.ndarray,
    rotations: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    depth_weight: float = DEPTH_WEIGHT,
    steps: int = 10,
) -> tuple[np.ndarray, np.ndarray]:
    """Fuses the views of many instants at once.

    Args:
        world: predicted poses [n, 21, 3] mm, one per view, in the frame of the world.
        instants: [n] whole numbers 0 .. m - 1, the instant that each view shows; every number occurs.
        rotations: [n, 3, 3], world to virtual camera.
        weights: [n, 21] or [n, 1], how much a view counts; all alike without.
        depth_weight: weight of an error along the line of sight, relative to one across; 1: a plain geometric median.
        steps: of iteratively reweighted least squares (Weiszfeld's algorithm).

    Returns:
        Fused poses [m, 21, 3] mm and spreads [m, 21] mm.
    """
    order, summed = _sums(instants)
    world, rotations, instants = world[order].astype(np.float64), rotations[order], instants[order]
    given = np.ones((len(world), 1)) if weights is None else weights[order]
    metric = _metrics(rotations, depth_weight)
    fused = summed(world * given[..., None]) / summed(given)[..., None]
    for _ in range(steps):
        fused = _mean(world, given / np.maximum(_distances(world - fused[instants], metric), NEAR), metric, summed)
    distance = _distances(world - fused[instants], metric) / np.sqrt((2 + depth_weight) / 3)
    return fused, summed(distance * given) / summed(given * np.ones_like(distance))


def residuals(world: np.ndarray, fused: np.ndarray, instants: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """How far the poses `world` [n, 21, 3] of views lie from the `fused` ones [m, 21, 3] of their instants, [n] mm."""
    return _distances(world - fused[instants], _metrics(rotations, DEPTH_WEIGHT)).mean(-1)


def fuse_points(
    points: np.ndarray, instants: np.ndarray, rotations: np.ndarray, residuals_mm: np.ndarray
) -> np.ndarray:
    """Fused points [m, N, 3] of `points` [n, N, 3] of views, in the frame of the world.

    Args:
        instants, rotations: as for `fuse_instants`.
        residuals_mm: [n], from `residuals`.
    """
    order, summed = _sums(instants)
    weights = 1 / np.maximum(residuals_mm[order, None], NEAR)
    return _mean(points[order].astype(np.float64), weights, _metrics(rotations[order], DEPTH_WEIGHT), summed)


def _sums(instants):
    """An order of the views by instant, and the function that sums views in that order over each instant."""
    order = np.argsort(instants, kind="stable")
    starts = np.flatnonzero(np.diff(instants[order], prepend=-1))
    return order, lambda values: np.add.reduceat(values, starts, axis=0)


def _metrics(rotations, depth_weight):
    """A_v^T A_v [n, 3, 3]."""
    axes = rotations[:, 2].astype(np.float64)  # lines of sight
    return np.eye(3) - (1 - depth_weight) * axes[:, :, None] * axes[:, None]


def _mean(world, weight, metric, summed):
    """The means of `world` [n, k, 3] over each instant, in the metrics [n, 3, 3], with weights [n, k] or [n, 1]."""
    left = summed(weight[..., None, None] * metric[:, None])
    right = summed(weight[..., None] * (world @ metric))
    return np.linalg.solve(left, right[..., None])[..., 0]


def disagreement(world: np.ndarray, instants: np.ndarray, rotations: np.ndarray) -> float:
    """How far single views are from what the other views of their instant say together, as a share of the hand's size.

    For each view, |s P - J| / |J| with the joints J that the other views give, fused, and the best scale s of its own
    pose P; the mean over views of the instants that have several. It needs no label: 0 if all views agree. Views that
    agree on a mistake agree.

    Args: as for `fuse_instants`.
    """
    _, instants, counts = np.unique(instants, return_inverse=True, return_counts=True)
    members = [np.flatnonzero(instants == n) for n in np.flatnonzero(counts > 1)]
    view, other = (np.concatenate(part) for part in zip(*map(_pairs, members), strict=True))
    alone, position = np.unique(view, return_inverse=True)
    fused, _ = fuse_instants(world[other], position, rotations[other])
    poses = world[alone]
    scale = np.sum(poses * fused, axis=(1, 2)) / np.maximum(np.sum(poses**2, axis=(1, 2)), 1e-9)
    distance = np.linalg.norm(np.maximum(scale, 0)[:, None, None] * poses - fused, axis=(1, 2))
    return float(np.mean(distance / np.maximum(np.linalg.norm(fused, axis=(1, 2)), 1e-9)))


def _pairs(members):
    """All ordered pairs of different members, as two arrays."""
    first, second = np.meshgrid(members, members, indexing="ij")
    different = first != second
    return first[different], second[different]


def _distances(difference, metric):
    """Lengths [n, 21] of differences [n, 21, 3] in the metrics [n, 3, 3] of their views."""
    return np.sqrt(np.maximum(np.sum((difference @ metric) * difference, axis=-1), 0.0))
