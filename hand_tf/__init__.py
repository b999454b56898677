"""Semi-supervised monocular 3D hand pose estimation from multi-view images."""

import os

__version__ = "0.2.0"

# TensorFlow's start-up messages hide ours; must be set before it is imported, and a user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
