"""A record with random content, for tests of the schema and of records folders."""

import numpy as np


def record(views=3, **changes):
    """A record as `schema.encode` takes it, every value different."""
    generator = np.random.default_rng(views)
    return {
        "key": "pose1/S0/left/00000012",
        "sequence": "pose1",
        "subject": "S0",
        "side": "left",
        "frame": 12,
        "mirrored": 1,
        "cameras": [f"00_{i:02d}" for i in range(views)],
        "crops": [bytes([0, 255, i]) for i in range(views)],
        "backgrounds": [b"background %d" % i for i in range(views)],
        "rotations": generator.normal(size=(views, 3, 3)),
        "intrinsics": generator.normal(size=(views, 3, 3)),
        "camera_centres": generator.normal(size=(views, 3)),
        "joints": generator.normal(size=(21, 3)),
        "joint_validity": generator.integers(0, 2, 21).astype(float),
    } | changes
