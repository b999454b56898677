"""The dump and the records that the tests of builds share."""

import pytest
import tiny_dump
from tiny_build import settings

from tfrecords_tools import build


@pytest.fixture(scope="package")
def dump(tmp_path_factory):
    """A dump of images with both hands, not to be changed."""
    folder = tmp_path_factory.mktemp("dumps") / "pose1"
    tiny_dump.write(folder)
    return folder


@pytest.fixture(scope="package")
def built(dump, tmp_path_factory):
    """Records of `dump`, not to be changed."""
    output = tmp_path_factory.mktemp("records") / "out"
    build.build(settings(dump, output))
    return output
