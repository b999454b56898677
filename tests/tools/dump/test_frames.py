"""Pictures of a sequence folder: by number, from images or videos; what is missing is counted."""

import cv2
import numpy as np
import pytest
import tiny_dump

from tfrecords_tools.dump import frames
from tfrecords_tools.dump.skipped import Skipped


def test_videos_are_read_in_order_and_end_where_they_end(tmp_path):
    camera, skipped = tiny_dump.cameras()[0], Skipped()
    flat = [np.full((tiny_dump.HEIGHT, tiny_dump.WIDTH, 3), 10 * frame + 20, np.uint8) for frame in range(20)]
    path = tmp_path / "hdVideos" / "hd_00_00.mp4"
    tiny_dump.write_video(path, flat)
    assert frames.frames_per_second(path) == pytest.approx(tiny_dump.FPS)
    found = dict(frames.read(path, camera, [0, 3, 4, 17, 19, 20, 31], skipped))
    for frame in (0, 3, 4, 17, 19):
        assert np.abs(found[frame].whole().mean() - (10 * frame + 20)) < 4, frame
    assert found[20] is None and found[31] is None
    assert skipped.counts == {"frames: beyond the end of the video, or not decodable": 2}
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"hd_00_00\.mp4: not a video"):
        frames.frames_per_second(path)


def test_damaged_and_missing_images_are_counted(tmp_path):
    camera, skipped = tiny_dump.cameras()[0], Skipped()
    for frame in range(4):
        cv2.imwrite(str(tmp_path / f"00_00_{frame:08d}.jpg"), tiny_dump.scene(camera)[..., ::-1])
    whole = (tmp_path / "00_00_00000001.jpg").read_bytes()
    (tmp_path / "00_00_00000001.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "00_00_00000002.jpg").write_bytes(b"")
    assert frames.frames_per_second(tmp_path) is None
    found = dict(frames.read(tmp_path, camera, [0, 1, 2, 3, 8], skipped))
    assert [frame for frame, image in found.items() if image is not None] == [0, 3]
    assert np.abs(found[3].whole().astype(int) - tiny_dump.scene(camera)).max() < 12
    assert skipped.counts == {"frames: damaged image": 2, "frames: no image of that number": 1}
    cv2.imwrite(str(tmp_path / "00_00_00000000.jpg"), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(ValueError, match=r"60x50 px, camera 00_00 is calibrated for 480x360"):
        list(frames.read(tmp_path, camera, [0], skipped))


def test_sources_prefer_images_and_count_what_is_missing(tmp_path):
    (tmp_path / "hdImgs" / "00_00").mkdir(parents=True)
    (tmp_path / "hdImgs" / "00_00" / "00_00_00000000.jpg").touch()
    (tmp_path / "hdImgs" / "00_01").mkdir()
    (tmp_path / "hdVideos").mkdir()
    for name in ("00_00", "00_01"):
        (tmp_path / "hdVideos" / f"hd_{name}.mp4").touch()
    (tmp_path / "hdImgs" / "00_01" / ".DS_Store").touch()  # no picture
    (tmp_path / "hdVideos" / "hd_00_01.mp4").rename(tmp_path / "hdVideos" / "hd_00_01.MP4")
    skipped = Skipped()
    sources = frames.find_sources(tmp_path, tiny_dump.cameras(), skipped)
    assert {name: path.name for name, path in sources.items()} == {"00_00": "00_00", "00_01": "hd_00_01.MP4"}
    assert skipped.counts == {"cameras: listed, but no video and no images": 1} and "00_02" in str(skipped.first)
