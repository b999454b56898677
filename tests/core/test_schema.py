"""The record: what is encoded comes back, what does not fit is refused, and shards appear whole."""

import numpy as np
import pytest
import tensorflow as tf
from random_record import record

from hand_tf.core import schema


@pytest.mark.parametrize("views", [2, 3, 31])
def test_a_record_comes_back_as_it_was(views):
    original = record(views)
    parsed = schema.parse(schema.encode(original))
    assert parsed.keys() == original.keys() == schema.FEATURES.keys()
    for name, value in original.items():
        if name in ("key", "sequence", "subject", "side"):
            assert parsed[name].numpy().decode() == value
        elif name in ("cameras", "crops", "backgrounds"):
            expected = [item.encode() if isinstance(item, str) else item for item in value]
            assert parsed[name].numpy().tolist() == expected
        else:
            assert parsed[name].shape == np.shape(value)
            np.testing.assert_allclose(parsed[name], value, rtol=1e-6)


def test_what_agrees_per_view_is_the_schemas_variable_length():
    variable = {n for n, spec in schema.FEATURES.items() if isinstance(spec, tf.io.FixedLenSequenceFeature)}
    assert set(schema.PER_VIEW) == variable


def test_equal_records_give_equal_bytes():
    backwards = dict(reversed(record().items()))
    assert schema.encode(record()) == schema.encode(backwards)


def test_wrong_fields_are_refused():
    missing = {name: value for name, value in record().items() if name != "camera_centres"}
    for wrong in (missing, record() | {"colour": 1}):
        with pytest.raises(ValueError, match=r"record has fields .*, expected .*camera_centres"):
            schema.encode(wrong)


@pytest.mark.parametrize("name", schema.PER_VIEW)
def test_views_that_do_not_agree_in_number_are_refused(name):
    wrong = record() | {name: record()[name][:-1]}
    with pytest.raises(ValueError, match=f"pose1/S0/left/00000012: one entry per view expected, got .*'{name}': 2"):
        schema.encode(wrong)


def test_joints_of_another_number_cannot_be_read():
    with pytest.raises(tf.errors.InvalidArgumentError, match="joints"):
        schema.parse(schema.encode(record(joints=np.zeros((20, 3)))))


def test_keys_are_unique_and_sort_by_time():
    keys = [schema.record_key("pose1", "S0", side, frame) for side in ("left", "right") for frame in (2, 10, 48683)]
    assert len(set(keys)) == len(keys) and keys == sorted(keys)


def test_shards_hold_their_records_in_order(tmp_path):
    path = tmp_path / "a.tfrecord"
    serialized = [schema.encode(record(frame=frame)) for frame in (5, 3, 9)]
    schema.write_shard(path, serialized)
    assert [item.numpy() for item in tf.data.TFRecordDataset(str(path))] == serialized
    assert [file.name for file in tmp_path.iterdir()] == ["a.tfrecord"]


def test_a_shard_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.tfrecord"
    schema.write_shard(path, [b"old"])

    def fails():
        yield b"new"
        assert not path.exists() or path.read_bytes() == before
        raise RuntimeError("power cut")

    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power cut"):
        schema.write_shard(path, fails())
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["a.tfrecord"]


def test_a_shard_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/a\.tfrecord: cannot be written") as error:
        schema.write_shard(tmp_path / "nowhere" / "a.tfrecord", [b"record"])
    assert "\n" not in str(error.value)
