"""Random cameras and hands for tests of the geometry."""

import numpy as np
from scipy.spatial.transform import Rotation

from hand_tf.core import geometry

DISTORTIONS = {
    "none": np.zeros(5),
    "barrel": np.array([-0.25, 0.08, 0.001, -0.002, 0.01]),
    "pincushion": np.array([0.12, 0.05, -0.001, 0.001, 0.02]),
}


def camera(seed=0, dist=DISTORTIONS["barrel"], width=640, height=480):
    """A camera 700-1100 mm from the world's origin that looks roughly, not exactly, at it."""
    generator = np.random.default_rng(seed)
    R = Rotation.from_rotvec(generator.uniform(-1.5, 1.5, 3)).as_matrix()
    K = np.array([[510.0 + 9 * seed, 0, width / 2 - 7], [0, 500.0, height / 2 + 4], [0, 0, 1]])
    t = np.array([*generator.uniform(-60, 60, 2), generator.uniform(700, 1100)])
    return geometry.Camera(f"00_{seed:02d}", width, height, K, np.asarray(dist, float), R, t)


def hand(seed=0):
    """World joints [21, 3] mm within 90 mm of their centre, which lies near the origin."""
    generator = np.random.default_rng(100 + seed)
    joints = generator.normal(size=(21, 3))
    radius = generator.uniform(20, 90, (21, 1))
    return joints / np.linalg.norm(joints, axis=1, keepdims=True) * radius + generator.uniform(-50, 50, 3)
