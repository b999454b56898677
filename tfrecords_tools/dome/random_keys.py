"""Keys of the dome's random numbers: `np.random.default_rng([seed, RandomKey.USE, ...])`.

Each use of random numbers has its own key, so that drawing more numbers in one place changes nothing elsewhere. All
keys of one use have the same length: NumPy pads short keys with zeros, so [seed, USE] and [seed, USE, 0] would give the
same numbers. The values have no meaning, but a changed value changes everything that its use draws.
"""

import enum


class RandomKey(enum.IntEnum):
    """The second integer of a key. Each comment lists the integers that follow it, then what is drawn."""

    CROWD = 101  # none: start of the subjects' low-discrepancy sequence
    TRAITS = 102  # subject: sex, proportions, colours, sleeve
    SKIN = 103  # subject: veins, mottling, cloth
    ARM = 202  # subject, left, part: wrist, forearm, their sway, wandering
    TURN = 203  # subject: direction and speed at which the person turns
    FACING = 204  # none: initial heading of subject 0
    FINGERS = 205  # subject, left, chunk: hand shapes and the movements between them
    CENTRE = 310  # sequence: point that the cameras look at
    SENSORS = 311  # sequence: exposure, blur, noise, compression
    RING = 312  # sequence: the cameras of ring8
    DOME = 313  # none: the cameras of panoptic31
    SHIFT = 314  # sequence: small displacements of the cameras of panoptic31
    ROOM = 320  # sequence: walls, lamps, objects
    HELD = 604  # subject, hold: whether there is an object, which, and how it is held
    LIGHT = 605  # sequence, subject: varied light
    BODY = 606  # subject: clothes, hair, slow motion
    VIEW_NOISE = 707  # sequence, camera: sensor noise
