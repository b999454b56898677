"""Videos: frames come in order and as OpenCV reads them, in parts too, and end where a video is damaged."""

import errno
import types

import av
import cv2
import numpy as np
import pytest
import tiny_dump

from hand_tf.core import video


def scene(scale=1.0):
    """A picture [height, width, 3] BGR uint8."""
    return (scale * tiny_dump.scene(tiny_dump.cameras()[0])).astype(np.uint8)


def write_video(path, pictures, turned=0, pix_fmt="yuv420p"):
    """Pictures [height, width, 3] BGR uint8 as H.264, which a player has to turn by `turned` degrees."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if turned:
            stream.set_display_rotation(turned)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("codec", "suffix"), [("mp4v", "mp4"), ("MJPG", "avi")])
def test_parts_of_a_frame_are_those_of_the_whole(tmp_path, codec, suffix):
    """Frames of three planes (MPEG-4) and of the full range (Motion JPEG), against OpenCV's reader."""
    path, size = tmp_path / f"video.{suffix}", (tiny_dump.WIDTH, tiny_dump.HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 30, size)
    for scale in (1.0, 0.7):
        writer.write(scene(scale))
    writer.release()
    opencv, found = cv2.VideoCapture(str(path)), list(video.read_frames(path))
    assert len(found) == 2
    for frame in found:
        expected = opencv.read()[1].astype(int)
        whole = frame.whole()
        assert whole.shape == expected.shape and frame.size == size
        # OpenCV interpolates the colours between two by two pixels that share one.
        assert np.abs(whole - expected).mean() < 1.5
        for left, top, right, bottom in ((0, 0, 7, 5), (31, 40, 92, 103), (33, 17, *size), (10, 10, 11, 11)):
            np.testing.assert_array_equal(frame.part((left, top, right, bottom)), whole[top:bottom, left:right])


@pytest.mark.parametrize(("turned", "pix_fmt"), [(90, "yuv420p"), (-90, "yuv420p"), (180, "yuv420p"), (0, "yuv444p")])
def test_other_videos_are_read_as_opencv_reads_them(tmp_path, turned, pix_fmt):
    path = write_video(tmp_path / "video.mp4", [scene()] * 3, turned, pix_fmt)
    expected = cv2.VideoCapture(str(path)).read()[1]
    for frame in video.read_frames(path):
        assert frame.size == expected.shape[1::-1]
        assert np.abs(frame.whole().astype(int) - expected).mean() < 2
        np.testing.assert_array_equal(frame.part((3, 5, 40, 61)), frame.whole()[5:61, 3:40])


def test_threads_do_not_change_the_frames(tmp_path):
    path = write_video(tmp_path / "video.mp4", [scene(scale) for scale in np.linspace(0.5, 1, 12)])
    one, two = (list(video.read_frames(path, threads)) for threads in (1, 2))
    assert len(one) == len(two) == 12
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.whole(), second.whole())


def test_a_video_ends_where_it_is_damaged(tmp_path):
    """The number of a later frame would be uncertain."""
    path, random = tmp_path / "video.mp4", np.random.default_rng(0)
    write_video(path, [random.integers(0, 256, (360, 480, 3), dtype=np.uint8) for _ in range(30)])
    whole = [frame.whole() for frame in video.read_frames(path)]
    assert len(whole) == 30
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200_000] = bytes(200_000)
    path.write_bytes(data)
    found = list(video.read_frames(path))
    assert 0 < len(found) < 30 and video.num_frames(path) == 30
    for frame, expected in zip(found[:-1], whole, strict=False):
        np.testing.assert_array_equal(frame.whole(), expected)


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_the_container_tells_rate_and_number_of_frames(tmp_path, suffix):
    path = write_video(tmp_path / f"video.{suffix}", [scene()] * 7)
    assert video.read_clock(path).frames_per_second == pytest.approx(30)
    assert video.num_frames(path) == (0 if suffix == "mkv" else 7)  # Matroska does not tell
    assert video.mean_rate(path) == pytest.approx(30)


@pytest.mark.parametrize("read", [video.read_clock, video.num_frames, lambda path: next(video.read_frames(path))])
def test_what_is_no_video_is_refused_by_name(tmp_path, read):
    (tmp_path / "text.mp4").write_bytes(b"no video")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    for name in ("text.mp4", "sound.wav"):
        with pytest.raises(ValueError, match=f"{name}: not a video that FFmpeg can read") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        read(tmp_path / "none.mp4")


def test_a_failing_disk_is_not_taken_for_the_end_of_a_video(tmp_path, monkeypatch):
    path = write_video(tmp_path / "video.mp4", [scene()] * 2)

    def decode(stream, original=av.open):
        yield from original(str(path)).decode(video=0)
        raise av.error.PermissionError(errno.EIO, "Input/output error")

    class Container:
        def __init__(self):
            codec = types.SimpleNamespace(thread_count=1)
            self.format = types.SimpleNamespace(name="mov")
            self.streams = types.SimpleNamespace(video=[types.SimpleNamespace(thread_type="", codec_context=codec)])
            self.decode = decode

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(video.av, "open", lambda *_, **__: Container())
    frames = video.read_frames(path)
    assert next(frames) and next(frames)
    with pytest.raises(OSError, match=r"Input/output error: .*video\.mp4"):
        next(frames)
