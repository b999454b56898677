"""Drawings: joints lie where they should, grids keep their images, files are written whole."""

import cv2
import numpy as np
import pytest

from hand_tf.core import drawing, skeleton


def pixels():
    """Joints [21, 2] px, 12 px apart on a grid of 5 x 5."""
    return 12.0 * np.stack([np.arange(21) % 5 + 1, np.arange(21) // 5 + 1], 1)


def test_joints_are_drawn_in_their_colours_and_others_left_out():
    empty = np.zeros((72, 72, 3), np.uint8)
    accepted = np.ones(21)
    accepted[[4, 20]] = 0  # tips: no bone beyond them
    places = pixels()
    places[8] = np.nan
    image = drawing.draw_joints(empty, places, accepted)
    assert not empty.any()
    for joint, (x, y) in enumerate(pixels().astype(int)):
        if joint in (4, 8, 20):
            assert not image[y - 1 : y + 2, x - 1 : x + 2].any()
        else:
            assert tuple(image[y, x]) == drawing.JOINT_COLOURS[joint]
    assert len(drawing.JOINT_COLOURS) == skeleton.NUM_JOINTS


def test_a_pose_lies_in_the_middle_of_its_square():
    pose = np.random.default_rng(0).normal(size=(21, 3)) * 50 + [300, -200, 1000]
    for extent in (None, 400.0):
        found = drawing.weak_perspective(pose, 64, extent)
        np.testing.assert_allclose((found.min(0) + found.max(0)) / 2, 31.5)
    np.testing.assert_allclose(np.ptp(found, axis=0), np.ptp(pose[:, :2], axis=0) * 64 / 400)
    assert np.ptp(drawing.weak_perspective(pose, 64), axis=0).max() == pytest.approx(64 / 1.3)


def test_a_grid_shows_all_images():
    red, blue = (np.full((height, 6, 3), colour, np.uint8) for height, colour in ((4, (255, 0, 0)), (8, (0, 0, 255))))
    sheet = drawing.grid([[red, blue], [blue]], gap=3)
    assert sheet.shape == (3 + 2 * 11, 3 + 2 * 9, 3)
    assert (sheet == (255, 0, 0)).all(-1).sum() == 24 and (sheet == (0, 0, 255)).all(-1).sum() == 96
    np.testing.assert_array_equal(drawing.enlarge(red, 2), np.full((8, 12, 3), (255, 0, 0)))
    captioned = drawing.caption(blue, "S0")
    assert captioned.shape == (24, 6, 3) and (captioned[16:] == blue).all() and (captioned[:16] < 128).any()


def test_pictures_are_written_as_their_suffix_says(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    drawing.save(tmp_path / "a.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], image)
    with pytest.raises(ValueError, match=r"a\.xyz: not the name of an image file"):
        drawing.save(tmp_path / "a.xyz", image)
    with pytest.raises(FileNotFoundError, match=r"none/a\.png"):
        drawing.save(tmp_path / "none" / "a.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
