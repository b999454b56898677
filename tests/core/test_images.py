"""Image files: what is damaged is recognised, what is whole is read as it was written."""

import cv2
import numpy as np
import pytest

from hand_tf.core import images


def noise(height=37, width=52):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_png_comes_back_as_it_was(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noise())
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), noise())


@pytest.mark.parametrize(("bits", "shift"), [(16, 8), (12, 4)])
def test_the_upper_bits_of_16_and_of_12_are_taken(tmp_path, bits, shift):
    pixels = np.random.default_rng(1).integers(0, 2**bits, (20, 30, 3)).astype(np.uint16)
    for suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), pixels)
        np.testing.assert_array_equal(images.read_image(tmp_path / f"a.{suffix}"), pixels >> shift)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.01, 0])
def test_a_file_cut_short_is_no_image(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), noise(200, 300))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert images.read_image(path) is None


def test_a_text_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    assert images.read_image(tmp_path / "a.jpg") is None


def test_a_missing_file_is_an_error_not_a_damaged_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.jpg"):
        images.read_image(tmp_path / "a.jpg")


def test_what_opencv_refuses_is_no_image(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), noise())

    def refuse(data, flags):
        raise cv2.error("too many pixels")

    monkeypatch.setattr(images.cv2, "imdecode", refuse)
    assert images.read_image(tmp_path / "a.png") is None


def test_parts_of_an_image():
    image = images.Image(noise())
    assert image.size == (52, 37)
    np.testing.assert_array_equal(image.whole(), noise())
    np.testing.assert_array_equal(image.part((5, 7, 50, 9)), noise()[7:9, 5:50])
