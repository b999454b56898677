"""The hand skeleton: 21 joints in the order of CMU Panoptic and OpenPose.

Joint 0 is the wrist and the root of every root-relative pose; each finger follows from its base to its tip
(thumb 1-4, index 5-8, middle 9-12, ring 13-16, little 17-20). Sides are anatomical. Networks see right hands only:
left hands are mirrored into right ones by `MIRROR`.
"""

import numpy as np

ROOT = 0
FINGERS = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "little": (17, 18, 19, 20),
}
MIDDLE_KNUCKLE = FINGERS["middle"][0]
JOINT_NAMES = ("wrist", *(f"{finger}_{i + 1}" for finger in FINGERS for i in range(4)))
NUM_JOINTS = len(JOINT_NAMES)
PARENTS = (-1, *(ROOT if i == 0 else joints[i - 1] for joints in FINGERS.values() for i in range(4)))
BONES = tuple((parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0)

# M, the reflection through the plane x = 0: a left hand seen by camera R becomes a right hand seen by M R M.
MIRROR = np.diag([-1.0, 1.0, 1.0])
SIDES = ("left", "right")
