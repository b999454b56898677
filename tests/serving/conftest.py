"""A small run with random networks, and its export as a SavedModel."""

import pytest
import random_run

from hand_tf import export
from hand_tf.core import command_line


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of `random_run`."""
    return random_run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def model(run, tmp_path_factory):
    """`run`, exported by the command over an older export."""
    folder = tmp_path_factory.mktemp("export") / "model"
    folder.mkdir()
    for name in ("saved_model.pb", "old"):
        (folder / name).touch()
    assert command_line.run(export.main, [f"--run={run}", f"--output={folder}", "--overwrite"]) == 0
    return folder
