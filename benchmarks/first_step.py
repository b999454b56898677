"""A training that notes when it passes each stage and ends after its first step; `benchmarks.startup` starts it.

    python -m benchmarks.first_step BEGAN FLAGS...

BEGAN is the time (s since the epoch) at which the process was started, FLAGS are those of hand-tf train. The last line
printed is JSON: [[stage, seconds since BEGAN, CPU seconds], ...].
"""

import json
import os
import sys
import time


def main(began: float, arguments: list[str]) -> int:
    """Trains until the first step is done, which ends the process. Returns a status if it does not get that far."""
    stages = []

    def passed(stage):
        stages.append((stage, time.time() - began, time.process_time()))

    passed("Python")
    import keras

    from hand_tf import train
    from hand_tf.core import command_line
    from hand_tf.training import networks, run_data, trainer

    passed("TensorFlow, Keras")

    def note(module, name, stage):
        function = getattr(module, name)

        def noted(*positional, **named):
            result = function(*positional, **named)
            passed(stage)
            return result

        setattr(module, name, noted)

    note(networks, "compile_model", "records, networks")
    note(trainer, "_probe", "pose probe: crops, references")
    note(run_data, "batches", "input pipeline")

    class FirstStep(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            passed("first batch: buffers, shapes")

        def on_train_batch_end(self, batch, logs=None):
            passed("first step: tracing")
            print(json.dumps(stages), flush=True)
            os._exit(0)

    callbacks = trainer._callbacks
    trainer._callbacks = lambda *all_arguments: [FirstStep(), *callbacks(*all_arguments)]
    return command_line.run(train.main, arguments)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
