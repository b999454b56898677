"""How much the dome varies beyond a studio: for estimators that meet pictures of any kind.

The defaults are a studio's, and leave every capture as it was without this module. `flags/broad_dome.flags` sets all of
them for data to train a general estimator on.
"""

import dataclasses

ARMS = ("raised", "any")
LIGHTS = ("studio", "varied")
SENSORS = ("studio", "varied")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variety:
    """What a capture shows beyond a studio.

    Attributes:
        arms: "raised" in front of the chest, or "any" direction, so that hands also hang and lie sideways.
        max_roll: cameras of a ring are turned about their axis by up to so many degrees.
        min_distance, max_distance: of the cameras of a ring from the hand, mm. The hand is equally large in all
            pictures; near cameras show it with more perspective.
        light: one kind of "studio", or "varied" in direction, colour, contrast and brightness per person.
        sensors: those of a "studio", or "varied": from sharp to blurred and noisy, with more compression.
        held_objects: share of the instants that show an object in the hand or near it.
        min_visible: leave out views in which body, objects and the other hand hide more than the rest of a hand.
    """

    arms: str = "raised"
    max_roll: float = 10.0
    min_distance: float = 1500.0
    max_distance: float = 2000.0
    light: str = "studio"
    sensors: str = "studio"
    held_objects: float = 0.0
    min_visible: float = 0.0


STUDIO = Variety()
