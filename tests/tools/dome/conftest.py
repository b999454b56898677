"""The dump that tests of the dome share."""

import pytest
from small_capture import DUMP_SETTINGS, SETTINGS

from tfrecords_tools.dome import capture, dump


@pytest.fixture(scope="session")
def dumped(tmp_path_factory):
    """A dump of six people and its sequences, not to be changed."""
    output = tmp_path_factory.mktemp("dome") / "dump"
    sequences = capture.plan(subjects=6, **SETTINGS)
    assert dump.write(output, sequences, DUMP_SETTINGS) == 6 * 3 * 2
    return output, sequences
