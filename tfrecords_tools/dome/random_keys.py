"""What the random numbers of the dome are for: `np.random.default_rng([seed, salt, ...])`.

Every use has a salt of its own, and keys of the same salt have the same length: NumPy pads short keys with zeros, so
that [seed, salt] and [seed, salt, 0] would give the same numbers. The numbers say nothing; changing one redraws a use.
"""

import enum


class Salt(enum.IntEnum):
    """Key after (seed, salt)."""

    CROWD = 101  # (): where the subjects' low-discrepancy sequence starts
    TRAITS = 102  # subject: sex, proportions, colours, sleeve
    SKIN = 103  # subject: veins, mottling, cloth
    ARM = 202  # subject, left, part: wrist, forearm, their sway, wandering
    TURN = 203  # subject: which way a person turns, and how fast
    FACING = 204  # (): where subject 0 faces
    FINGERS = 205  # subject, left, chunk: shapes and how they follow one another
    CENTRE = 310  # sequence: where the cameras look
    SENSORS = 311  # sequence: exposure, blur, noise, compression
    RING = 312  # sequence: the cameras of ring8
    DOME = 313  # (): the cameras of panoptic31
    SHIFT = 314  # sequence: how far those have moved
    ROOM = 320  # sequence: walls, lamps, things
    BODY = 606  # subject: clothes, hair, slow motion
    VIEW_NOISE = 707  # sequence, camera: noise of a sensor
