"""Finding hands: the geometry of the networks' answers with networks of our own, and the real ones where they are."""

import pathlib

import cv2
import numpy as np
import pytest

from hand_tf.core import fetching, video
from hand_tf.serving import box_crops, detector_files, hand_detector, landmarks, palms
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.hand_detector import DetectedHand, HandDetector
from hand_tf.serving.hand_finder import HandFinder
from hand_tf.serving.hand_tracker import HandTracker
from hand_tf.serving.pictures import InputPicture

RIG = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "two_view_rig"


# --- palms ----------------------------------------------------------------------------------------------------------


def test_anchors_lie_in_the_middle_of_their_cells():
    found = palms.anchors()
    assert found.shape == (2016, 2)
    np.testing.assert_allclose(found[[0, 1, 2]] * 192, [[4, 4], [4, 4], [12, 4]])
    np.testing.assert_allclose(found[[1152, 1157, 1158]] * 192, [[8, 8], [8, 8], [24, 8]])


def answer(square, score, anchor):
    """What the palm network says if it sees one palm, with its centre as all key points; in px of the 192."""
    values, scores = np.zeros((1, 2016, 18), np.float32), np.full((1, 2016, 1), -50, np.float32)
    for each in anchor:
        middle = palms.anchors()[each] * 192
        centre = np.array(square[:2]) + np.array(square[2:]) / 2 - middle
        values[0, each] = [*centre, *square[2:], *np.tile(centre, 7)]
        scores[0, each] = np.log(score / (1 - score))
    return values, scores


@pytest.mark.parametrize(("width", "height"), [(384, 192), (100, 400), (192, 192)])
def test_palms_come_back_to_the_picture(width, height):
    image = np.zeros((height, width, 3), np.uint8)
    scale = max(width, height) / 192
    corner = [(192 - width / scale) / 2, (192 - height / scale) / 2]
    (palm,) = palms.find(image, lambda _: answer((80, 90, 20, 20), 0.9, [1300, 1301]), 0.5)  # two anchors, one palm
    expected = [(80 - corner[0]) * scale, (90 - corner[1]) * scale, 20 * scale, 20 * scale]
    np.testing.assert_allclose(palm.square, expected, atol=1e-3)
    np.testing.assert_allclose(palm.keypoints, np.tile(palm.square[:2] + palm.square[2:] / 2, (7, 1)), atol=1e-3)
    assert palm.score == pytest.approx(0.9)
    assert palms.find(image, lambda _: answer((80, 90, 20, 20), 0.4, [1300]), 0.5) == []


def test_the_letterbox_keeps_what_is_where():
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 100:140] = 255
    square, scale, corner = palms.letterbox(image)
    rows, columns = np.nonzero(square[..., 0] > 0.5)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose((low - corner) * scale, [100, 40], atol=1.5)
    np.testing.assert_allclose((high - corner) * scale, [140, 60], atol=1.5)


# --- landmarks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
def test_a_region_turns_with_the_hand(degrees):
    """In the square of a palm, the way from wrist to middle knuckle points up, and the fingers have room."""
    angle = np.deg2rad(degrees)
    up = np.array([np.sin(angle), -np.cos(angle)])
    wrist, side = np.array([300.0, 200.0]), 60.0
    knuckle = wrist + side * up
    square = np.array([*(wrist + side / 2 * up - side / 2), side, side])
    region = landmarks.of_palm(square, wrist, knuckle)
    np.testing.assert_allclose(region.centre, wrist + side * up, atol=1e-6)
    assert region.side == pytest.approx(2.6 * side)
    middle_bottom, middle_top = region.to_picture(np.array([[0.5, 1.0], [0.5, 0.0]]))
    np.testing.assert_allclose((middle_top - middle_bottom) / region.side, up, atol=1e-6)


@pytest.mark.parametrize("degrees", [0, 50, 180])
def test_landmarks_come_back_to_the_picture(degrees):
    """The crop shows the region: what lies at a place in it lies at that place in the picture."""
    region = landmarks.Region(np.array([120.0, 90.0]), 80.0, np.deg2rad(degrees))
    place = np.array([[0.7, 0.3]])
    (x, y) = region.to_picture(place)[0]
    image = np.zeros((200, 250, 3), np.uint8)
    cv2.circle(image, (round(x), round(y)), 4, (255, 255, 255), -1)

    def network(crop):
        rows, columns = np.nonzero(crop[0, ..., 0] > 0.5)
        point = np.array([columns.mean() + 0.5, rows.mean() + 0.5, 0])
        return np.tile(point, 21)[None].astype(np.float32), np.array([[0.9]]), np.array([[0.2]])

    found = landmarks.find(image, region, network)
    np.testing.assert_allclose(found.points, np.tile([x, y], (21, 1)), atol=1.0)
    hand = hand_detector.from_landmarks(found)
    assert (hand.side, hand.score) == ("left", pytest.approx(0.9))


def open_hand(centre, size, degrees=0.0):
    """Landmarks [21, 2] px of a flat hand."""
    points = [[0, 0]] + [[0.25 * (f - 2), -(0.4 + 0.2 * j)] for f in range(5) for j in range(4)]
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array(points) * size @ turn + centre


@pytest.mark.parametrize("degrees", [0, 75, -120])
def test_the_next_region_holds_the_hand_upright(degrees):
    points = open_hand(np.array([200.0, 150.0]), 60, degrees)
    region = landmarks.of_landmarks(points)
    upright = landmarks.of_landmarks(open_hand(np.array([200.0, 150.0]), 60))
    assert region.side == pytest.approx(upright.side) and np.rad2deg(region.angle) == pytest.approx(degrees)
    corners = np.array([[0.0, 0], [1, 0], [0, 1]])
    back = np.linalg.solve(np.c_[region.to_picture(corners), np.ones(3)], corners)
    places = np.c_[points, np.ones(21)] @ back
    assert places.min() > 0 and places.max() < 1


# --- many hands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (480, 640), (100, 100), (3000, 200)])
def test_tiles_cover_the_picture(width, height):
    covered = np.zeros((height, width), int)
    tiles = list(hand_detector.tiles_of(width, height, 3))
    for left, top, right, bottom in tiles:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1 and len(tiles) <= 25
    assert list(hand_detector.tiles_of(width, height, 1)) == []


def hand_at(x, y, size=40, score=0.9, side="right"):
    return DetectedHand((x, y, size, size), side, score, open_hand(np.array([x + size / 2, y + size]), size / 2))


def test_hands_that_are_found_again_count_once():
    one, again, part = hand_at(10, 10), hand_at(13, 11, score=0.95), hand_at(12, 12, 20, 0.7)
    other, clasped = hand_at(100, 10), hand_at(105, 12, 20, 0.8, "left")
    assert hand_detector.each_once([one, part, other, again, clasped]) == [again, other, clasped]


class Script(HandDetector):
    """A detector that sees the hands that it is told to."""

    def __init__(self, detections, looks):
        self.detections, self.looks, self.calls, self.tiled = iter(detections), iter(looks), 0, []

    def detect(self, image, tiles=None):
        self.calls += 1
        self.tiled.append(tiles is None)
        return next(self.detections)

    def look(self, image, region):
        return next(self.looks)


def test_a_hand_keeps_its_number_while_it_is_seen():
    one, two, mirrored = hand_at(10, 10), hand_at(100, 10), hand_at(12, 10, side="left")
    detector = Script(detections=[[one], [one, two], [], [two]], looks=[mirrored, one, one, two, None, None])
    tracker = HandTracker(detector, every=2)
    image, found = np.zeros((9, 9, 3), np.uint8), []
    for _ in range(6):
        found.append([(each.track, each.hand.box[0], each.hand.side) for each in tracker.follow(image)])
    assert found == [
        [(0, 10, "right")],
        [(0, 12, "right")],  # followed; a hand does not change its side
        [(0, 10, "right"), (1, 100, "right")],
        [(0, 10, "right"), (1, 100, "right")],
        [],  # both are lost, and the detector finds none
        [(2, 100, "right")],
    ]
    assert detector.calls == 4 and detector.tiled == [True, False, True, False]


def test_a_finder_starts_anew_with_each_video():
    frames = [InputPicture(pathlib.Path(name), 0, np.zeros((9, 9, 3), np.uint8), []) for name in "ab"]
    finder = HandFinder(Script(detections=[[hand_at(1, 1)]] * 2, looks=[]), every=5)
    found = [hand for frame in frames for hand in finder(frame)]
    assert [(hand.box, hand.side, hand.score, hand.track) for hand in found] == [((1, 1, 40, 40), "right", 0.9, 0)] * 2
    image = InputPicture(pathlib.Path("c"), None, np.zeros((9, 9, 3), np.uint8), [])
    finder = HandFinder(
        Script(detections=[[hand_at(1, 1), hand_at(99, 1, side="left")]], looks=[]), 5, "left", upright=False
    )
    assert finder(image) == [HandBox((99, 1, 40, 40), "left", 0.9)]


@pytest.mark.parametrize("degrees", [0, 40, -100, 180])
def test_a_found_hand_points_up_in_its_crop(degrees):
    points = open_hand(np.array([200.0, 150.0]), 60, degrees)
    hand = DetectedHand((0, 0, 1, 1), "right", 0.9, points)
    found, upright = hand.hand_box(), DetectedHand((0, 0, 1, 1), "right", 0.9, open_hand(np.zeros(2), 60)).hand_box()
    assert np.rad2deg(found.angle) == pytest.approx(degrees) and hand.hand_box(upright=False).angle == 0
    np.testing.assert_allclose(found.crop_box[2:], upright.crop_box[2:], atol=1e-6)  # tight, however it is turned
    image = np.zeros((400, 400, 3), np.uint8)
    for (x, y), grey in ((points[0], 120), (points[12], 250)):  # the wrist, and the tip of the middle finger
        cv2.circle(image, (round(x), round(y)), 5, (grey, grey, grey), -1)
    crop, _ = box_crops.cut(image, found.crop_box, 64, 1.5, angle=found.angle)
    rows, columns = np.nonzero((crop[..., 0] > 60) & (crop[..., 0] < 180))
    tips = np.argwhere(crop[..., 0] > 200).mean(0)
    assert rows.mean() > tips[0] + 20 and abs(columns.mean() - tips[1]) < 4


# --- the real networks ----------------------------------------------------------------------------------------------


def test_a_detector_that_is_not_there_says_what_brings_it(monkeypatch, tmp_path):
    monkeypatch.setattr(fetching, "cache_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"`hand-tf fetch detector` brings it.* --box"):
        detector_files.load_detector()
    for member in detector_files.WHEEL.files:
        (tmp_path / pathlib.PurePosixPath(member).name).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"palm_detection_full\.tflite: SHA-256 1b14e94"):
        detector_files.load_detector()


@pytest.fixture(scope="module")
def detector():
    try:
        return detector_files.load_detector(threads=2)
    except FileNotFoundError:
        pytest.skip("the hand detector was not fetched: hand-tf fetch detector")


@pytest.fixture(scope="module")
def frames():
    """Two frames of real footage of a right hand, RGB."""
    if not RIG.is_dir():
        pytest.skip(f"no real footage at {RIG}")
    found = enumerate(video.read_frames(RIG / "hdVideos" / "hd_00_00.mp4"))
    return [cv2.cvtColor(frame.whole(), cv2.COLOR_BGR2RGB) for number, frame in found if number in (20, 200)]


def test_a_real_hand_is_found_once_mirrored_turned_and_small(detector, frames):
    for image in frames:
        (hand,) = detector.detect(image)
        assert hand.side == "right" and hand.score > 0.9
        (mirrored,) = detector.detect(np.ascontiguousarray(image[:, ::-1]))
        assert mirrored.side == "left"
        width = image.shape[1]
        assert mirrored.box[0] + mirrored.box[2] == pytest.approx(width - hand.box[0], abs=15)
        (turned,) = detector.detect(np.ascontiguousarray(np.rot90(image)))
        np.testing.assert_allclose(turned.box[0], hand.box[1], atol=15)
        small = np.full((1080, 1920, 3), 90, np.uint8)
        small[500:720, 900:1120] = cv2.resize(image, (220, 220), interpolation=cv2.INTER_AREA)
        (far,) = detector.detect(small)  # the hand is about 3% of the picture's width
        np.testing.assert_allclose(np.array(far.box[:2]), np.array(hand.box[:2]) * 220 / 720 + [900, 500], atol=8)


def test_nothing_is_found_where_there_is_no_hand(detector):
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    assert detector.detect(np.uint8(np.stack([x % 256, y, (x + y) % 256], -1))) == []
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)) == []


def test_a_real_video_is_one_track(detector):
    if not RIG.is_dir():
        pytest.skip(f"no real footage at {RIG}")
    finder, tracks = HandFinder(detector, every=10), set()
    path = RIG / "hdVideos" / "hd_00_01.mp4"
    for number, frame in zip(range(40), video.read_frames(path), strict=False):
        hands = finder(InputPicture(path, number, cv2.cvtColor(frame.whole(), cv2.COLOR_BGR2RGB), []))
        tracks |= {(hand.track, hand.side) for hand in hands}
        assert len(hands) == 1 or number < 15  # the hand comes into the picture
    assert len(tracks) <= 2
