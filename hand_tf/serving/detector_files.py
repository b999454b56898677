"""The two networks of the hand detector: fetched once into the user's cache, and loaded from there.

Both come from the wheel of MediaPipe (Apache-2.0), which is downloaded by the user's own pip and not installed. Any
platform's wheel has the same files.
"""

import pathlib

from hand_tf.core import fetching
from hand_tf.serving import hand_detector, litert

WHEEL = fetching.Wheel(
    "mediapipe==0.10.21",
    {
        "mediapipe/modules/palm_detection/palm_detection_full.tflite": (
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54"
        ),
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite": (
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"
        ),
    },
    options=("--platform=manylinux_2_28_x86_64", "--python-version=3.12"),
)


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Fetches the networks into `folder`, unless they are there; returns the folder. Errors as in `fetching.fetch`."""
    fetching.fetch(WHEEL, folder)
    return folder


def load_detector(
    min_score: float = hand_detector.MIN_SCORE, tiles: int = hand_detector.TILES, threads: int = 1
) -> hand_detector.HandDetector:
    """The detector, from the user's cache; see `hand_detector.HandDetector` for the arguments.

    Raises FileNotFoundError if it was not fetched, InputError if a file is damaged.
    """
    networks = []
    for member, path in WHEEL.paths(fetching.cache_folder()).items():
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: the hand detector is not there; `hand-tf fetch detector` brings it. Without it, say where the"
                " hands are: --box, --boxes or --centre"
            )
        fetching.check_kept(path, WHEEL.files[member])
        networks.append(litert.network(path.read_bytes(), threads))
    return hand_detector.HandDetector(*networks, min_score, tiles)
