"""Trains one regime.

    hand-tf train --flagfile=pretrain_aug --data_dir=RECORDS --workdir=RUN
    hand-tf train --flagfile=pose_head --data_dir=RECORDS --workdir=HEAD --init_from=RUN --scenario=S0:10%

WORKDIR receives flags.txt (replays the run with --flagfile), checkpoints/, history.csv, pictures/, tensorboard/ and, at
the end, encoder.keras, decoder.keras, pose_head.keras (those that the regime has) and run.json. The same command
resumes a run that was killed; a finished run is left alone.
"""

from hand_tf.core import command_line
from hand_tf.training.settings import TrainingSettings


def main(settings: TrainingSettings) -> None:
    """Trains the regime of the settings."""
    from hand_tf.training import trainer  # TensorFlow and Keras: not for --help, nor for a wrong flag

    trainer.run(settings)


if __name__ == "__main__":
    command_line.execute(main)
