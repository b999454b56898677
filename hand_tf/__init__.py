"""Semi-supervised monocular 3D hand pose estimation from multi-view images.

The commands are `python -m hand_tf.train`, `evaluate`, `study`, `report`, `export` and `predict`.
"""

import os

from hand_tf.core import keras_registration

__version__ = "0.3.0.dev0"

# TensorFlow's start-up messages hide ours; must be set before it is imported, and a user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Keras then loads our .keras files, whichever of the two is imported first.
keras_registration.import_with_keras("hand_tf.nets.layers", "hand_tf.nets.metrics", "hand_tf.training.losses")
