"""Trajectories as TRC, the marker files of OpenSim: cells separated by tabs, an empty cell for what is missing."""

from typing import IO

import numpy as np

from hand_tf.core import skeleton
from hand_tf.serving.trajectories import Trajectory

_FIELDS = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame")
_FIELDS += ("OrigNumFrames",)


def write(file: IO[str], trajectory: Trajectory) -> None:
    """Writes a trajectory: one marker per joint, in mm, and one line per frame, with its time in the video.

    Frames are numbered from 1 as in the video, counting those that were looked at.
    """
    start, end = trajectory.start, trajectory.start + trajectory.length
    rate, markers = f"{trajectory.rate:.10g}", len(skeleton.JOINT_NAMES)
    for cells in (
        ("PathFileType", "4", "(X/Y/Z)", f"{trajectory.name}.trc"),
        _FIELDS,
        (rate, rate, trajectory.length, markers, "mm", rate, start + 1, trajectory.length),
        ("Frame#", "Time", *(cell for name in skeleton.JOINT_NAMES for cell in (name, "", ""))),
        ("", "", *(f"{axis}{number}" for number in range(1, markers + 1) for axis in "XYZ")),
        (),
    ):
        file.write("\t".join(map(str, cells)) + "\n")
    for row, times, points in trajectory.chunks(start, end):
        for number, (time, joints) in enumerate(zip(times, points, strict=True), row + 1):
            cells = ("" if np.isnan(value) else f"{value:.3f}" for value in joints.ravel())
            file.write("\t".join((str(number), f"{time:.6f}", *cells)) + "\n")
