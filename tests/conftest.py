"""Shared data of the tests: one tiny dome, built into records once a session, and two logical CPUs."""

import pytest

FPS = 5.0


@pytest.fixture(scope="session")
def strategy():
    """The one MirroredStrategy of the process: several would crash in their collectives."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])


@pytest.fixture(scope="module")
def one_replica():
    """Training on one replica under a real strategy, though the logical CPUs are two devices to MirroredStrategy."""
    import tensorflow as tf

    from hand_tf.training import trainer

    one = tf.distribute.OneDeviceStrategy("CPU:0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "strategy", lambda: one)
        yield


def pytest_configure():
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def dump(tmp_path_factory):
    """A dump of six subjects, both hands, three cameras, ten instants at 5 per second."""
    from tfrecords_tools.dome import capture, dump

    folder = tmp_path_factory.mktemp("dump")
    settings = {"frames": 10, "fps": FPS, "num_cameras": 3, "width": 96, "height": 96, "hands": "both"}
    dump.write(folder, capture.plan(subjects=6, seed=3, **settings), dump.DumpSettings(jpeg_quality=95))
    return folder


@pytest.fixture(scope="session")
def records(dump, tmp_path_factory):
    """Records of `dump`, 32 px."""
    from tfrecords_tools import build

    folder = tmp_path_factory.mktemp("records")
    settings = {"crop_size": 32, "fps": FPS, "workers": 1, "records_per_shard": 6}
    build.build(build.BuildSettings(input=(str(dump),), output=str(folder), **settings))
    return folder
