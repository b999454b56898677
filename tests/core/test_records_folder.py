"""Records folders: manifest and index come back, and a folder that is not whole is refused."""

import dataclasses
import json

import pytest
from random_record import record

from hand_tf.core import atomic, reading, records_folder, schema


def rows(subject, side, shard, frames, labelled=True):
    return [
        {
            "key": schema.record_key("pose1", subject, side, frame),
            "shard": shard,
            "sequence": "pose1",
            "subject": subject,
            "side": side,
            "frame": frame,
            "cameras": ["00_00", "00_17"],
            "labelled": labelled,
        }
        for frame in frames
    ]


@pytest.fixture
def folder(tmp_path):
    """A records folder of two groups and three shards, with its manifest and index."""
    index, groups = [], []
    for subject, shard_frames in (("S10", [(4, 2), (9,)]), ("S2", [(7, 1)])):
        shards = []
        for number, frames in enumerate(shard_frames):
            name = f"pose1.{subject}.{number}.tfrecord"
            schema.write_shard(tmp_path / name, [schema.encode(record(frame=frame)) for frame in frames])
            shards.append(records_folder.describe_shard(tmp_path / name, len(frames)))
            index += rows(subject, "right", name, frames, labelled=subject == "S2")
        count = sum(shard.num_records for shard in shards)
        labelled = count if subject == "S2" else 0
        groups.append(records_folder.Group("pose1", subject, "right", count, 2 * count, labelled, tuple(shards)))
    records_folder.write_manifest(tmp_path, content(tuple(groups)), index)
    return tmp_path


def content(groups):
    return records_folder.Manifest(
        schema_version=1,
        crop_size=64,
        fps=29.97,
        cameras={"pose1": ["00_00", "00_17"]},
        build_flags={"crop_size": 64, "margin": 1.3, "hands": "both"},
        report={"records": 5},
        index_sha256="",
        groups=groups,
    )


def shard_path(folder):
    return folder / "pose1.S10.0.tfrecord"


def test_a_manifest_comes_back_as_it_was(folder):
    found = records_folder.load_manifest(folder)
    assert dataclasses.replace(found, index_sha256="") == content(found.groups)
    assert [(g.subject, g.num_records, g.num_crops, g.num_labelled) for g in found.groups] == [
        ("S10", 3, 6, 0),
        ("S2", 2, 4, 2),
    ]
    assert [shard.num_records for shard in found.groups[0].shards] == [2, 1]
    assert found.groups[0].shards[0].bytes == shard_path(folder).stat().st_size
    assert found.subjects == ["S2", "S10"]  # by number, not by letter
    assert records_folder.damaged(folder, found) == []


def test_the_index_comes_back_as_it_was(folder):
    found = records_folder.read_index(folder)
    assert [row["frame"] for row in found] == [4, 2, 9, 7, 1]
    assert [row["labelled"] for row in found] == [False, False, False, True, True]
    assert found[0] == rows("S10", "right", "pose1.S10.0.tfrecord", [4], False)[0] | {"cameras": ("00_00", "00_17")}


def test_a_folder_without_manifest_is_unfinished(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: no manifest; is this a finished folder"):
        records_folder.load_manifest(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"index\.csv: the index is missing"):
        records_folder.read_index(tmp_path)


def test_another_schema_version_is_refused(folder):
    content = reading.read_json_object(folder / records_folder.MANIFEST)
    (folder / records_folder.MANIFEST).write_text(json.dumps(content | {"schema_version": 2}))
    with pytest.raises(ValueError, match=r"manifest\.json: schema_version is 2, this code reads 1; build again"):
        records_folder.load_manifest(folder)


def test_a_missing_shard_is_refused(folder):
    shard_path(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"pose1\.S10\.0\.tfrecord: .* it is not there"):
        records_folder.load_manifest(folder)


def test_a_shard_cut_short_is_refused(folder):
    whole = shard_path(folder).read_bytes()
    shard_path(folder).write_bytes(whole[:-7])
    sizes = rf"{len(whole) - 7} bytes, the manifest says {len(whole)}"
    with pytest.raises(ValueError, match=rf"pose1\.S10\.0\.tfrecord: {sizes}"):
        records_folder.load_manifest(folder)


def test_a_flipped_bit_is_found(folder):
    found = records_folder.load_manifest(folder)
    for name in ("pose1.S10.1.tfrecord", records_folder.INDEX):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        if name != records_folder.INDEX:
            assert records_folder.load_manifest(folder) == found  # the size alone does not tell
    assert sorted(records_folder.damaged(folder, found)) == [records_folder.INDEX, "pose1.S10.1.tfrecord"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "a JSON object expected"),
        (b"3", "a JSON object expected"),
        (b"{}", "field schema_version: missing"),
        (b'{"schema_version": 1}', "field groups: missing"),
        (b'{"schema_version": 1, "groups": 3}', "field groups: a list of objects"),
        (b'{"schema_version": 1, "groups": [7]}', "field groups: a list of objects"),
        (b'{"schema_version": 1, "groups": [{"shards": [7]}]}', "field groups: a list of objects"),
        (b'{"schema_version": 1, "groups": [{}]}', "field shards: missing"),
        (b"\xff\xfe\x00binary", "not UTF-8 text"),
    ],
    ids=["empty", "cut", "list", "number", "object", "fields", "groups", "group", "shard", "shards", "binary"],
)
def test_what_is_no_manifest_is_refused_by_name(folder, data, reason):
    path = folder / records_folder.MANIFEST
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"manifest\.json: not a manifest of this project \({reason}") as error:
        records_folder.load_manifest(folder)
    assert "\n" not in str(error.value) and str(error.value).count(str(path)) == 1


def test_unknown_and_missing_fields_are_refused(folder):
    data = reading.read_json_object(folder / records_folder.MANIFEST)
    without_fps = {name: value for name, value in data.items() if name != "fps"}
    group = data["groups"][0]
    wrong = {
        "field colour: unknown": data | {"colour": 1},
        "field fps: missing": without_fps,
        "field light: unknown": data | {"groups": [group | {"light": 1}]},
        "field sha256: missing": data | {"groups": [group | {"shards": [{"file": "a", "records": 1, "bytes": 2}]}]},
    }
    for reason, content in wrong.items():
        (folder / records_folder.MANIFEST).write_text(json.dumps(content))
        with pytest.raises(ValueError, match=f"not a manifest of this project .*{reason}"):
            records_folder.load_manifest(folder)


def test_another_table_is_no_index(folder):
    (folder / records_folder.INDEX).write_text("key,frame\npose1/S0/right/00000000,0\n")
    with pytest.raises(ValueError, match=r"index\.csv: columns key,shard,.*,labelled expected, found: key,frame"):
        records_folder.read_index(folder)


def test_an_index_cut_short_is_refused(folder):
    whole = (folder / records_folder.INDEX).read_text()
    (folder / records_folder.INDEX).write_text(whole[: whole.rindex(",right")])
    with pytest.raises(ValueError, match=r"index\.csv: line 6: 8 cells expected, found 4"):
        records_folder.read_index(folder)
    (folder / records_folder.INDEX).write_text(whole.replace(",9,", ",9.5,"))
    with pytest.raises(ValueError, match=r"index\.csv: record pose1/S10/right/00000009: frame '9.5'"):
        records_folder.read_index(folder)


def test_open_records_reads_the_index_once_and_only_when_asked(folder):
    found = records_folder.open_records(folder)
    assert found.folder == folder and found.manifest == records_folder.load_manifest(folder)
    expected = records_folder.read_index(folder)
    assert found.index == expected and found.index is found.index
    (folder / records_folder.INDEX).unlink()
    with pytest.raises(ValueError, match=r"index\.csv: missing"):
        records_folder.open_records(folder)


def test_a_write_that_fails_leaves_the_old_files(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = records_folder.load_manifest(folder)
    with pytest.raises(ValueError, match="colour"):
        records_folder.write_manifest(folder, found, [row | {"colour": 1} for row in records_folder.read_index(folder)])
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_manifest_is_written_last(folder, monkeypatch):
    found, index = records_folder.load_manifest(folder), records_folder.read_index(folder)
    (folder / records_folder.MANIFEST).unlink()
    replaced = []

    def replace(source, target, original=atomic.os.replace):
        replaced.append((str(source).removesuffix(".partial") == str(target), getattr(target, "name", target)))
        original(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    records_folder.write_manifest(folder, found, index)
    assert replaced == [(True, records_folder.INDEX), (True, records_folder.MANIFEST)]
    assert records_folder.load_manifest(folder) == found and not list(folder.glob("*.partial"))
