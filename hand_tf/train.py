"""Trains one regime.

    python -m hand_tf.train --flagfile=flags/pretrain.flags --data_dir=RECORDS --workdir=RUN

WORKDIR receives flags.txt (replays the run with --flagfile), checkpoints/, history.csv, pictures/, tensorboard/ and, at
the end, encoder.keras, decoder.keras, pose_head.keras (those that the regime has) and run.json. The same
command resumes a run that was killed; a finished run is left alone.
"""

import sys

from hand_tf.core import command_line
from hand_tf.training.settings import FLAGS


def main(_):
    """Trains the regime of the flags; see the module's docstring."""
    from hand_tf.training import trainer  # brings TensorFlow and Keras: not for --help, nor for a wrong flag

    trainer.run()


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
