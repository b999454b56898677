"""What a crop shows, computed point by point, to compare crops, records and augmentations with."""

import numpy as np

from hand_tf.core import geometry, skeleton


def pose_in_crop(joints, crop):
    """Pose [21, 3]: world `joints` (mm) relative to the wrist, in the frame of the crop's virtual camera."""
    joints = geometry.mirror_joints(joints) if crop.mirrored else np.asarray(joints, np.float64)
    return (joints - joints[skeleton.ROOT]) @ crop.rotation.T


def project_in_crop(points, crop):
    """World points [n, 3] mm to pixels [n, 2] of the crop."""
    local = (np.asarray(points, np.float64) @ crop.camera.R.T + crop.camera.t) @ crop.R_virtual.T @ crop.K.T
    pixels = local[:, :2] / local[:, 2:]
    if crop.mirrored:
        pixels[:, 0] = crop.size - 1 - pixels[:, 0]
    return pixels
