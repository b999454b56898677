"""Pictures of a sequence folder: by number, from images or videos; what is missing is counted."""

import fractions

import av
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
    found = dict(frames.read(path, camera, [0, 3, 4, 17, 19, 20, 31], skipped))
    for frame in (0, 3, 4, 17, 19):
        assert np.abs(found[frame].whole().mean() - (10 * frame + 20)) < 4, frame
    assert found[20] is None and found[31] is None
    assert skipped.counts == {"frames: beyond the end of the video, or not decodable": 2}
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"hd_00_00\.mp4: not a video"):
        frames.read_clocks(tmp_path, {"00_00": path})


def write_timed(path, times, fps=30):
    """A video whose frames are shown at `times` / fps; each is as bright as the number next to its time says."""
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = tiny_dump.WIDTH, tiny_dump.HEIGHT, "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, 1000 * fps)
        for time in times:
            grey = np.full((tiny_dump.HEIGHT, tiny_dump.WIDTH, 3), 21 + 5 * round(time), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(1000 * time), stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers_read(sources, wanted, skipped=None):
    """{camera: numbers that its pictures show}, None for those that are missing."""
    folder = next(iter(sources.values())).parent.parent
    clocks, camera, found = frames.read_clocks(folder, sources), tiny_dump.cameras()[0], {}
    for name, path in sources.items():
        pictures = frames.read(path, camera, wanted, skipped or Skipped(), frames.Timeline(clocks[name]))
        found[name] = [None if each is None else round((each.whole().mean() - 20) / 5) for _, each in pictures]
    return found


def test_presentation_times_decide_which_frame_has_which_number(tmp_path):
    """A whole video, one of a camera that left frames out, one that starts late, and one with uneven times."""
    times = {
        "00_00": range(40),
        "00_01": [time for time in range(40) if time not in (10, 11, 25)],
        "00_02": range(7, 40),
        "00_03": [time + 0.2 * (-1) ** time for time in range(1, 40)],
    }
    sources = {name: write_timed(tmp_path / "hdVideos" / f"hd_{name}.mp4", each) for name, each in times.items()}
    skipped = Skipped()
    found = numbers_read(sources, [5, 9, 10, 12, 24, 25, 26, 39, 40], skipped)
    assert found["00_00"] == [5, 9, 10, 12, 24, 25, 26, 39, None]
    assert found["00_01"] == [5, 9, None, 12, 24, None, 26, 39, None]
    assert found["00_02"] == [None, 9, 10, 12, 24, 25, 26, 39, None]
    assert found["00_03"] == [5, 9, 10, 12, 24, 25, 26, 39, None]
    assert skipped.counts == {
        "frames: left out by the camera, or before its start": 3,
        "frames: beyond the end of the video, or not decodable": 4,
    }
    # The earliest video decides also where its camera is not taken.
    assert numbers_read({"00_02": sources["00_02"]}, [9]) == {"00_02": [9]}


def test_times_that_do_not_tell_the_number_stop_the_build(tmp_path):
    halfway = write_timed(tmp_path / "hdVideos" / "hd_00_00.mp4", [4.47 if n == 4 else n for n in range(40)])
    with pytest.raises(ValueError, match=r"hd_00_00\.mp4: the presentation times are uneven"):
        frames.read_clocks(tmp_path, {"00_00": halfway})
    even = write_timed(tmp_path / "hdVideos" / "hd_00_02.mp4", range(40))
    sources = {"00_00": halfway, "00_02": even}
    assert numbers_read(sources, [2, 3, 6])["00_00"] == [2, 3, 6]
    with pytest.raises(ValueError, match=r"hd_00_00\.mp4: frame 4 is shown at 0\.1490 s, halfway"):
        numbers_read(sources, [3, 4])
    slower = write_timed(tmp_path / "hdVideos" / "hd_00_01.mp4", range(40), fps=25)
    with pytest.raises(ValueError, match=r"hd_00_02\.mp4: 30 frames per second, hd_00_01\.mp4 has 25"):
        numbers_read({"00_02": even, "00_01": slower}, [1])


@pytest.mark.parametrize("rate", [30.02, 29.95, 30.3])
def test_a_stated_rate_that_is_a_little_off_moves_no_number(rate):
    """FFmpeg takes times that are rounded to ms for the next standard rate."""
    random = np.random.default_rng(0)
    for left_out in (set(), {700, 701, 1200}):
        timeline = frames.Timeline(frames.video.Clock(30.0, rate, 0.0, 100.0))
        numbers = [number for number in range(3000) if number not in left_out]
        times = [round(number / rate + random.uniform(0, 0.2) / rate, 3) for number in numbers]
        found = [timeline.place(time) for time in times]
        assert [number for number, _ in found] == numbers and max(abs(off) for _, off in found) < 0.4
        assert timeline.measured()[0] == pytest.approx(rate, rel=2e-4)


def test_cameras_whose_times_drift_apart_are_told():
    frames.check_measured({"a": (30.0, 10.0), "b": (30.02, 10.0), "c": None})
    with pytest.raises(ValueError, match=r"b: 30\.02 frames per second .* a has 30: after 100 s"):
        frames.check_measured({"a": (30.0, 100.0), "b": (30.02, 100.0), "c": None})


def test_a_video_without_times_stops_the_build(tmp_path, monkeypatch):
    path = tmp_path / "hdVideos" / "hd_00_00.mp4"
    tiny_dump.write_video(path, [np.zeros((tiny_dump.HEIGHT, tiny_dump.WIDTH, 3), np.uint8)] * 3)
    monkeypatch.setattr(frames.video, "_UNTIMED", ("mov,mp4,m4a,3gp,3g2,mj2",))
    with pytest.raises(ValueError, match=r"hd_00_00\.mp4: frame 0 has no presentation time"):
        numbers_read({"00_00": path}, [1])


def test_cameras_that_drift_apart_are_told(tmp_path, monkeypatch):
    clocks = {"a.mp4": frames.video.Clock(30.0, 30, 0, 10), "b.mp4": frames.video.Clock(29.97, 29.97, 0, 10)}
    monkeypatch.setattr(frames.video, "read_clock", lambda path: clocks[path.name])
    sources = {name: tmp_path / name for name in clocks}
    assert frames.read_clocks(tmp_path, sources) == clocks
    clocks |= {"a.mp4": clocks["a.mp4"]._replace(seconds=20), "b.mp4": clocks["b.mp4"]._replace(seconds=20)}
    with pytest.raises(ValueError, match=r"a\.mp4: 30 frames per second, b\.mp4 has 29\.97"):
        frames.read_clocks(tmp_path, sources)


def test_damaged_and_missing_images_are_counted(tmp_path):
    camera, skipped = tiny_dump.cameras()[0], Skipped()
    for frame in range(4):
        cv2.imwrite(str(tmp_path / f"00_00_{frame:08d}.jpg"), tiny_dump.scene(camera)[..., ::-1])
    whole = (tmp_path / "00_00_00000001.jpg").read_bytes()
    (tmp_path / "00_00_00000001.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "00_00_00000002.jpg").write_bytes(b"")
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
