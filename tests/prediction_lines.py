"""Lines of predictions.partial.jsonl about hands whose joints are known numbers."""

import json

import numpy as np

from hand_tf.core import skeleton

FPS = 25.0


def pose(frame, track=0):
    """Joints [21, 3] mm, different for each frame and track, with three decimals."""
    random = np.random.default_rng((frame, track))
    return np.round(random.normal(0, 60, (skeleton.NUM_JOINTS, 3)), 3)


def hand(frame, track=0, side="right", file="clip.mp4", unknown=(), time=None):
    """The line of a hand; `unknown` joints are null, and `time` is that of the frame, by default at `FPS`."""
    points = [None if joint in unknown else point for joint, point in enumerate(pose(frame, track).tolist())]
    places = [point and point[:2] for point in points]
    entry = {"hand": side, "track": track, "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0]}
    errors = [None if joint in unknown else 10.5 + joint for joint in range(skeleton.NUM_JOINTS)]
    return _line(file, frame, time, entry | {"pose_mm": points, "joints_2d": places, "joint_error_mm": errors})


def none(frame, file="clip.mp4", time=None):
    """The line of a frame without a hand; None is the `frame` of a picture."""
    return _line(file, frame, time, {"hand": None})


def _line(file, frame, time, entry):
    time = frame / FPS if time is None and frame is not None else time
    return json.dumps({"file": file, "frame": frame, "time_s": time} | entry) + "\n"
