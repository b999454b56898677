"""`hand-tf COMMAND ...`: the commands of both packages under one name, as `python -m PACKAGE.COMMAND ...` runs them."""

import importlib
import sys

import hand_tf
from hand_tf.core import command_line

# In the order in which a newcomer needs them. Modules by name: core is imported by the commands, not the reverse.
COMMANDS = {
    "dome": ("tfrecords_tools.dome.__main__", "render a synthetic multi-view capture: a camera dump, or records"),
    "build": ("tfrecords_tools.build", "cut records out of camera dumps"),
    "inspect": ("tfrecords_tools.inspect", "show what records hold, and check that they are whole"),
    "fetch": ("hand_tf.fetch", "fetch published weights into your cache folder"),
    "train": ("hand_tf.train", "train one regime"),
    "evaluate": ("hand_tf.evaluate", "measure a trained run on subjects it has not seen"),
    "study": ("hand_tf.study", "train and measure a grid of regimes, scenarios and seeds"),
    "report": ("hand_tf.report", "put the results of many runs side by side"),
    "export": ("hand_tf.export", "turn a finished run into a SavedModel or a LiteRT model"),
    "predict": ("hand_tf.predict", "predict poses on images and videos"),
}


def usage() -> str:
    """What `hand-tf --help` prints."""
    lines = [f"hand-tf {hand_tf.__version__}: monocular 3D hand pose from multi-view video", ""]
    lines += ["usage: hand-tf COMMAND [FLAGS]", ""]
    lines += [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join([*lines, "", "hand-tf COMMAND --help lists the flags of a command."])


def main() -> None:
    """Runs the command that the first argument names; ends the process."""
    name, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("--help", "-h", "help"):
        command_line.end_with(lambda: print(usage()))
    elif name == "--version":
        command_line.end_with(lambda: print(hand_tf.__version__))
    elif name not in COMMANDS:
        print(f"error: {name}: no such command; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    else:
        command_line.execute(importlib.import_module(COMMANDS[name][0]).main, arguments)
