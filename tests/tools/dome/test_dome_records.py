"""A capture as records: the same that a dump and `build` give, and a stopped run continues."""

import dataclasses
import pathlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from small_capture import digest

from hand_tf.core import records_folder, schema
from tfrecords_tools import build
from tfrecords_tools.dome import capture, dump, records
from tfrecords_tools.records.settings import RecordsSettings

# Pictures so narrow that some views are left out, for each of the two reasons.
LONG = dict(frames=14, fps=2.0, num_cameras=4, width=192, height=160, seed=8, hands="both", reach=215.0)


def read(folder):
    """{key: parsed record} of a records folder."""
    names = [shard.file for group in records_folder.load_manifest(folder).groups for shard in group.shards]
    parsed = map(schema.parse, tf.data.TFRecordDataset([str(pathlib.Path(folder) / name) for name in names]))
    return {record["key"].numpy().decode(): record for record in parsed}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory):
    """The same capture as records, by way of a dump and directly; two sequences, both hands."""
    folder = tmp_path_factory.mktemp("both_ways")
    sequences = [capture.plan(subjects=6, **LONG)[k] for k in (0, 1)]
    sequences[0] = dataclasses.replace(sequences[0], subjects=(0, 1))
    dump.write(folder / "dump", sequences, dump.DumpSettings(jpeg_quality=98), processes=2)
    same = dict(crop_size=64, margin=2.0, records_per_shard=7, seed=8)
    build.build(build.BuildSettings(input=(str(folder / "dump"),), output=str(folder / "long"), fps=2.0, **same))
    records.write(sequences, RecordsSettings(output=folder / "short", **same), 2)
    return folder, sequences


def test_both_ways_hold_the_same_records(both_ways):
    folder, _ = both_ways
    long, short = read(folder / "long"), read(folder / "short")
    assert list(long) == list(short) and 20 < len(long) <= 84  # the same order too
    for key, record in long.items():
        for name in schema.FEATURES:
            if name not in ("crops", "backgrounds"):
                assert np.array_equal(record[name].numpy(), short[key][name].numpy()), (key, name)
    left_out = []
    for name in ("long", "short"):
        loaded = records_folder.load_manifest(folder / name)
        assert loaded.crop_size == 64 and loaded.fps == 2.0
        left_out.append({reason: skip["count"] for reason, skip in loaded.report["skipped"].items()})
    assert left_out[0] == left_out[1]
    reasons = {"views: a joint leaves the frame", "views: less than 70% of the crop lies in the frame"}
    assert reasons <= set(left_out[0])
    indices = [(folder / name / records_folder.INDEX).read_text() for name in ("long", "short")]
    assert indices[0] == indices[1]


def test_both_ways_show_the_same_pictures(both_ways):
    folder, _ = both_ways
    long, short = read(folder / "long"), read(folder / "short")
    crops, scenes = [], []
    for key, record in long.items():
        for name, gaps in (("crops", crops), ("backgrounds", scenes)):
            pairs = zip(record[name].numpy(), short[key][name].numpy(), strict=True)
            for one, other in pairs:
                one, other = (tf.io.decode_jpeg(data).numpy().astype(float) for data in (one, other))
                gaps.append(one - other)
    # The crops differ by JPEG noise: small, without bias, and gone when neighbours are averaged.
    assert np.mean(np.abs(crops)) < 3 and np.percentile(np.abs(crops), 99) < 16
    assert np.abs(np.mean(crops, axis=(0, 1, 2))).max() < 0.7
    assert np.percentile([np.abs(cv2.GaussianBlur(gap, (0, 0), 3)).max() for gap in crops], 95) < 8
    # A median over time keeps traces of people who stay in one place for a while.
    assert np.median(np.abs(scenes)) <= 2
    assert np.mean([np.mean(np.abs(gap) < 12) for gap in scenes]) > 0.75


def test_direct_records_do_not_depend_on_workers_or_interruptions(both_ways, tmp_path):
    folder, sequences = both_ways
    settings = RecordsSettings(output=tmp_path / "again", crop_size=64, margin=2.0, records_per_shard=7, seed=8)
    records.write(sequences, settings, 1)

    def shards(output):
        return {k: v for k, v in digest(output).items() if k.endswith(".tfrecord")}

    assert shards(tmp_path / "again") == shards(folder / "short")
    whole = digest(tmp_path / "again")
    removed = sorted(tmp_path.glob("again/*.tfrecord"))[::2]
    for path in [*removed, tmp_path / "again" / records_folder.MANIFEST]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("again/*.tfrecord")}
    records.write(sequences, settings, 1)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert {k: v for k, v in digest(tmp_path / "again").items() if k != records_folder.MANIFEST} == {
        k: v for k, v in whole.items() if k != records_folder.MANIFEST
    }
    assert records.write(sequences, settings, 1)["records"] == len(read(folder / "long"))
    with pytest.raises(ValueError, match="begun with other crop_size"):
        records.write(sequences, dataclasses.replace(settings, crop_size=32), 1)
