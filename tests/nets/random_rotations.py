"""Random rotations for the tests of layers."""

import numpy as np
from scipy.spatial.transform import Rotation


def rotations(generator: np.random.Generator, batch: int) -> np.ndarray:
    """Rotation matrices, float32 [batch, 3, 3]."""
    return Rotation.random(batch, rng=generator).as_matrix().astype("float32")
