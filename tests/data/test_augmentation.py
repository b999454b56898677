"""Augmentations: whatever happens to a picture happens to the pose, the rotation and the intrinsics that go with it.

Pictures here are three coloured blobs, one a channel, at joints of a known hand: where a blob is, one can measure.
"""

import crop_truth
import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hand_tf.core import crops, geometry
from hand_tf.data import augmentation

SIZE, COUNT, SIDE = 64, 6, 240.0
MARKED = [4, 12, 20]  # the joints that carry a blob
SEED = tf.constant([3, 7], tf.int64)


def camera(seed):
    generator = np.random.default_rng(seed)
    R = Rotation.from_rotvec(generator.uniform(-1, 1, 3)).as_matrix()
    K = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
    return geometry.Camera(f"00_{seed:02d}", 640, 480, K, np.zeros(5), R, np.array([20.0, -30, 800]))


def hand(seed):
    """World joints [21, 3] mm; the marked ones 60 mm from the centre and far from each other."""
    generator = np.random.default_rng(50 + seed)
    joints = generator.uniform(-35, 35, (21, 3))
    turn = Rotation.from_euler("z", generator.uniform(0, 360), degrees=True) * Rotation.from_euler("x", 0.4)
    joints[MARKED] = turn.apply(60 * np.array([[1, 0, 0.2], [-0.5, 0.87, 0], [-0.5, -0.87, -0.2]]))
    return joints - joints.mean(0)


def picture(pixels):
    """[SIZE, SIZE, 3] uint8: channel c holds a blob at `pixels[c]`."""
    y, x = np.mgrid[:SIZE, :SIZE]
    blobs = [250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.0**2)) for u, v in pixels]
    return np.stack(blobs, -1).round().astype(np.uint8)


def blobs(images):
    """Where the three blobs are: [batch, SIZE, SIZE, 3] -> [batch, 3, 2] px."""
    mass = np.asarray(images, float)
    mass = np.where(mass > 8, mass, 0)
    y, x = np.mgrid[:SIZE, :SIZE][..., None]
    total = mass.sum((1, 2))
    return np.stack([(mass * x).sum((1, 2)), (mass * y).sum((1, 2))], -1) / total[..., None]


def view(joints, seed):
    """What a record knows of one view: crop, pose, intrinsics, and `local` [21, 3], the joints in the camera frame."""
    crop = crops.virtual_crop(camera(seed), joints.mean(0), SIDE, SIZE)
    pixels = crop_truth.project_in_crop(joints, crop)
    return {
        "source": picture(pixels[MARKED]),
        "pose": crop_truth.pose_in_crop(joints, crop).astype(np.float32),
        "pose_weight": np.ones(21, np.float32),
        "joints_2d": pixels.astype(np.float32),
        "intrinsics": crop.K.astype(np.float32),
        "world_to_crop": crop.rotation,
        "local": (joints - crop.centre) @ crop.rotation.T,
    }


def stack(views):
    return {name: np.stack([v[name] for v in views]) for name in views[0]}


def tensors(batch):
    return {name: tf.constant(batch[name]) for name in ("source", "pose", "pose_weight", "joints_2d", "intrinsics")}


@pytest.fixture(scope="module")
def labels():
    return stack([view(hand(n), n) for n in range(COUNT)])


@pytest.fixture(scope="module")
def triplets():
    """Triplets, and what they show: views of `now` as source and target, a view of another hand as reference."""
    source = stack([view(hand(n), n) for n in range(COUNT)])
    target = stack([view(hand(n), n + 10) for n in range(COUNT)])
    reference = stack([view(hand(n + 20), n + 20) for n in range(COUNT)])
    batch = {
        "source": source["source"],
        "target": target["source"],
        "reference": reference["source"],
        "background": target["source"],  # as if the blobs belonged to the scene
        "rotation": (target["world_to_crop"] @ source["world_to_crop"].transpose(0, 2, 1)).astype(np.float32),
        "intrinsics": source["intrinsics"],
    }
    return {name: tf.constant(value) for name, value in batch.items()}, source, target


def project(points, intrinsics):
    pixels = np.einsum("bkc,bdc->bkd", points, intrinsics)
    return pixels[..., :2] / pixels[..., 2:]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def smooth_pictures(count=COUNT):
    generator = np.random.default_rng(9)
    noise = generator.uniform(0, 255, (count, SIZE, SIZE, 3))
    return np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in noise]).round().astype(np.uint8)


# --- parts ----------------------------------------------------------------------------------------------------------


def test_rotations_equal_those_of_geometry():
    degrees = np.array([-170.0, -20, 0, 45, 90])
    expected = np.stack([geometry.in_plane(a) for a in degrees])
    np.testing.assert_allclose(augmentation.in_plane(tf.constant(degrees, tf.float32)), expected, atol=1e-6)
    rays = np.random.default_rng(1).normal([0, 0, 2], 1.0, (9, 3))
    expected = np.stack([geometry.rotation_to_z(ray) for ray in rays])
    np.testing.assert_allclose(augmentation.rotation_to_z(tf.constant(rays, tf.float32)), expected, atol=1e-5)


def test_warp_by_nothing_changes_nothing():
    images = np.random.default_rng(2).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    eye = tf.eye(3, batch_shape=[COUNT])
    for focal in (64.0, 213.7):
        K = tf.constant(np.stack([crops.intrinsics(focal, SIZE)] * COUNT), tf.float32)
        np.testing.assert_array_equal(augmentation.warp(tf.constant(images), eye, K, K), images)


@pytest.mark.parametrize("degrees", [90.0, 180.0, -90.0])
def test_warp_by_quarter_turns_is_exact(degrees):
    images = np.random.default_rng(3).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    K = tf.constant(np.stack([crops.intrinsics(100.0, SIZE)] * COUNT), tf.float32)
    turned = augmentation.warp(tf.constant(images), augmentation.in_plane(tf.fill([COUNT], degrees)), K, K).numpy()
    # NumPy counts quarter turns anticlockwise on screen. The outermost pixels may fall off by rounding.
    expected = np.rot90(images, -round(degrees / 90), axes=(1, 2))
    assert np.abs(turned.astype(int) - expected)[:, 1:-1, 1:-1].max() <= 1


def test_warp_turns_as_opencv_does():
    images, degrees = smooth_pictures(), np.linspace(-160, 170, COUNT)
    K = tf.constant(np.stack([crops.intrinsics(80.0, SIZE)] * COUNT), tf.float32)
    turned = augmentation.warp(
        tf.constant(images), augmentation.in_plane(tf.constant(degrees, tf.float32)), K, K
    ).numpy()
    for image, found, angle in zip(images, turned, degrees, strict=True):
        matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2,) * 2, -angle, 1.0)
        expected = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        difference = np.abs(found.astype(int) - expected)
        inner = difference[12:-12, 12:-12]  # what never leaves the picture when it is turned
        assert inner.max() <= 2 and difference.mean() < 1
        corner = found[0, 0].max() == 0
        assert corner == (expected[0, 0].max() == 0)


def test_warp_does_not_darken():
    images = smooth_pictures()
    K = tf.constant(np.stack([crops.intrinsics(80.0, SIZE)] * COUNT), tf.float32)
    turned = augmentation.warp(tf.constant(images), augmentation.in_plane(tf.linspace(10.0, 75.0, COUNT)), K, K).numpy()
    centre = slice(16, 48)
    for image, found, angle in zip(images, turned, np.linspace(10, 75, COUNT), strict=True):
        matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2,) * 2, -angle, 1.0)
        expected = cv2.warpAffine(image.astype(np.float32), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        assert np.mean(found[centre, centre] - expected[centre, centre]) == pytest.approx(0, abs=0.1)


# --- triplets -------------------------------------------------------------------------------------------------------


def measured_turns(before, after):
    """In-plane rotations [batch, 3, 3] that took the blobs of `before` to those of `after`."""
    centre = (SIZE - 1) / 2
    a, b = ((blobs(images) - centre) @ [1, 1j] for images in (before, after))
    angles = np.angle((a.conj() * b).sum(1))
    return np.stack([geometry.in_plane(np.rad2deg(angle)) for angle in angles])


def test_rotate_triplet_keeps_markers_and_poses_together(triplets):
    batch, source, target = triplets
    turned = augmentation.rotate_triplet(batch, SEED, 60.0)
    turns = {name: measured_turns(batch[name], turned[name]) for name in ("source", "target", "reference")}
    # The pictures really turned, each by another angle.
    angles = np.stack([Rotation.from_matrix(t).as_euler("zyx", degrees=True)[:, 0] for t in turns.values()])
    assert np.abs(angles).max() < 60.5 and np.ptp(angles) > 60
    assert all(np.abs(angles[i] - angles[j]).max() > 5 for i, j in ((0, 1), (0, 2), (1, 2)))
    rotation = turned["rotation"].numpy()
    expected = turns["target"] @ batch["rotation"].numpy() @ turns["source"].transpose(0, 2, 1)
    np.testing.assert_allclose(rotation, expected, atol=0.01)
    # The pose as the turned source sees it, through the turned rotation: where the target's markers are now.
    centre = np.einsum("bc,bdc->bd", target["local"].mean(1), turns["target"])
    local = source["local"] - source["local"].mean(1, keepdims=True)
    seen = np.einsum("bkc,bdc,bed->bke", local, turns["source"], rotation) + centre[:, None]
    np.testing.assert_allclose(project(seen, target["intrinsics"])[:, MARKED], blobs(turned["target"]), atol=0.4)


def test_rotate_triplet_maps_the_turned_source_pose_onto_the_turned_target_pose(triplets):
    batch, source, target = triplets
    turned = augmentation.rotate_triplet(batch, SEED, 60.0)
    turn = {name: measured_turns(batch[name], turned[name]) for name in ("source", "target")}
    poses = {
        name: np.einsum("bkc,bdc->bkd", part["pose"], turn[name])
        for name, part in (("source", source), ("target", target))
    }
    mapped = np.einsum("bkc,bdc->bkd", poses["source"], turned["rotation"].numpy())
    np.testing.assert_allclose(mapped, poses["target"], atol=1.0)  # mm; blobs give the angle to a fraction of a degree


def test_rotate_triplet_recrops_the_source_alone_and_rotation_follows(triplets):
    batch, source, _ = triplets
    turned = augmentation.rotate_triplet(batch, SEED, 40.0, (0.7, 1.2), 0.05)
    # rotation' = turn_target rotation turn_source^T, and only the source's camera has moved off its axis and scale.
    plain = augmentation.rotate_triplet(batch, SEED, 40.0)
    np.testing.assert_allclose(plain["placement"], [[0, 0, 1]] * COUNT, atol=1e-5)
    for name in ("target", "reference", "background"):
        np.testing.assert_array_equal(turned[name], plain[name])
    target_turn = measured_turns(batch["target"], turned["target"])
    rotation = turned["rotation"].numpy()
    source_turn = np.einsum("bij,bjk,bkl->bil", rotation.transpose(0, 2, 1), target_turn, batch["rotation"].numpy())
    as_label = augmentation.recrop(tensors(source), SEED, 40.0, (0.7, 1.2), 0.05)
    np.testing.assert_array_equal(turned["source"], as_label["source"])
    seen = np.einsum("bkc,bdc->bkd", source["pose"], source_turn)
    np.testing.assert_allclose(seen, as_label["pose"], atol=1.5)  # mm; blobs give the target's angle


def test_placement_takes_what_the_new_crop_shows_back_to_the_old_one(triplets):
    """Places in shares of the side: s (p' - c), turned back, is p, up to the little that perspective changes."""
    batch, source, _ = triplets
    after = augmentation.recrop(tensors(source), SEED, 0.0, (0.7, 1.2), 0.08)
    placement = augmentation.rotate_triplet(batch, SEED, 0.0, (0.7, 1.2), 0.08)["placement"].numpy()
    before, now = ((np.asarray(part["joints_2d"]) - (SIZE - 1) / 2) / SIZE for part in (source, after))
    np.testing.assert_allclose((now - placement[:, None, :2]) * placement[:, None, 2:], before, atol=0.02)
    assert np.abs(now - before).max() > 0.1 and np.ptp(placement, axis=0).min() > 0.05


def test_rotate_triplet_turns_the_background_with_the_target(triplets):
    batch = triplets[0]
    turned = augmentation.rotate_triplet(batch, SEED, 60.0)
    np.testing.assert_array_equal(turned["background"], turned["target"])
    assert np.abs(turned["background"].numpy().astype(int) - batch["background"]).max() > 100


def test_angles_of_one_step_are_not_those_of_another(triplets):
    batch = triplets[0]
    found = []
    for step in range(4):
        turned = augmentation.rotate_triplet(batch, tf.constant([3, step], tf.int64), 60.0)
        for name in ("source", "target", "reference"):
            turns = measured_turns(batch[name], turned[name])
            found.append(Rotation.from_matrix(turns).as_euler("zyx", degrees=True)[:, 0])
    distances = [np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    assert min(distances) > 1


# --- labelled crops -------------------------------------------------------------------------------------------------


def applied_turn(before, after):
    """The rotations [batch, 3, 3] that took the poses `before` to `after`, by SciPy."""
    found = [Rotation.align_vectors(b, a)[0].as_matrix() for a, b in zip(before, after, strict=True)]
    np.testing.assert_allclose(np.einsum("bkc,bdc->bkd", before, found), after, atol=1e-3)
    return np.stack(found)


def assert_markers_on_pose(before, after):
    """The blobs lie where the new pose projects with the new intrinsics."""
    turn = applied_turn(before["pose"], after["pose"].numpy())
    local = np.einsum("bkc,bdc->bkd", before["local"], turn)
    pixels = project(local, after["intrinsics"].numpy())[:, MARKED]
    inside = ((pixels > 6) & (pixels < SIZE - 7)).all(-1)  # a blob cut by the frame has its centre elsewhere
    assert inside.mean() > 0.7
    np.testing.assert_allclose(blobs(after["source"])[inside], pixels[inside], atol=0.25)
    return turn


@pytest.mark.parametrize(
    ("degrees", "scale", "centre"),
    [(50.0, (1.0, 1.0), 0.0), (0.0, (0.8, 1.3), 0.0), (0.0, (1.0, 1.0), 0.12), (40.0, (0.9, 1.3), 0.08)],
    ids=["turn", "scale", "centre", "all"],
)
def test_recrop_keeps_markers_on_the_pose(labels, degrees, scale, centre):
    for step in range(2):
        after = augmentation.recrop(tensors(labels), tf.constant([1, step], tf.int64), degrees, scale, centre)
        assert_markers_on_pose(labels, after)
        assert np.abs(blobs(after["source"]) - blobs(labels["source"])).max() > 1


def test_recrop_by_nothing_changes_nothing(labels):
    after = augmentation.recrop(tensors(labels), SEED, 0.0, (1.0, 1.0), 0.0)
    np.testing.assert_array_equal(after["source"], labels["source"])
    for name in ("pose", "intrinsics"):
        np.testing.assert_allclose(after[name], labels[name], rtol=1e-5, atol=1e-4)


def test_recrop_draws_what_it_was_asked_for(labels):
    many = {name: tf.repeat(value, 60, 0) for name, value in tensors(labels).items() if name != "source"}
    many["source"] = tf.zeros([COUNT * 60, SIZE, SIZE, 3], tf.uint8)
    after = augmentation.recrop(many, SEED, 30.0, (0.5, 1.25), 0.1)
    old, new = many["intrinsics"].numpy(), after["intrinsics"].numpy()
    side = old[:, 0, 0] / new[:, 0, 0]
    assert side.min() > 0.499 and side.max() < 1.251 and np.ptp(side) > 0.7
    middle = (np.log(0.5) + np.log(1.25)) / 2
    assert np.log(side).mean() == pytest.approx(middle, abs=0.06)  # log-uniform
    np.testing.assert_allclose(new[:, :2, 2], (SIZE - 1) / 2, atol=1e-4)
    np.testing.assert_allclose(new[:, 1, 1], new[:, 0, 0])
    # Where the old crop saw what is now on the axis: the shift of the centre.
    turn = applied_turn(many["pose"].numpy(), after["pose"].numpy())
    shift = (project(turn[:, 2:3], old)[:, 0] - (SIZE - 1) / 2) / SIZE
    assert np.abs(shift).max() < 0.1005 and (np.ptp(shift, axis=0) > 0.17).all()
    assert np.abs(np.corrcoef(shift.T)[0, 1]) < 0.2 and np.abs(np.corrcoef(shift[:, 0], side)[0, 1]) < 0.2
    roll = Rotation.from_matrix(turn).as_euler("zyx", degrees=True)[:, 0]
    assert 28 < np.abs(roll).max() < 31 and abs(roll.mean()) < 3


def test_crop_box2d_centres_the_box_of_the_joints(labels):
    margin = 1.5
    after = augmentation.crop_box2d(tensors(labels), margin)
    turn = assert_markers_on_pose(labels, after)
    pixels = project(np.einsum("bkc,bdc->bkd", labels["local"], turn), after["intrinsics"].numpy())
    low, high = pixels.min(1), pixels.max(1)
    np.testing.assert_allclose((low + high) / 2, (SIZE - 1) / 2, atol=0.3)
    # Foreshortening off the axis is all that separates them.
    np.testing.assert_allclose((high - low).max(-1) * margin, SIZE, rtol=0.02)


def test_crop_box2d_is_geometrys_box_crop_of_the_crop(labels):
    """What evaluation cuts with `box2d` is what prediction cuts from a picture with a box."""
    after = augmentation.crop_box2d(tensors(labels), 1.3)
    turn = applied_turn(labels["pose"], after["pose"].numpy())
    for n in range(COUNT):
        low, high = labels["joints_2d"][n].min(0), labels["joints_2d"][n].max(0)
        # A box counts whole pixels, joints have none: the same centre and longer side.
        box = (*((low + high) / 2 - (high - low - 1) / 2), *(high - low))
        seen = geometry.Camera(
            "crop", SIZE, SIZE, labels["intrinsics"][n].astype(float), np.zeros(5), np.eye(3), np.zeros(3)
        )
        crop = crops.box_crop(seen, box, SIZE, margin=1.3)
        np.testing.assert_allclose(after["intrinsics"][n], crop.K, rtol=1e-4)
        np.testing.assert_allclose(turn[n], crop.rotation, atol=1e-4)


def test_boxes_hold_accepted_joints_only():
    pixels, weights = np.random.default_rng(4).uniform(10, 50, (COUNT, 21, 2)), np.ones((COUNT, 21))
    pixels[:, 7], weights[:, 7] = 900.0, 0
    weights[2, 3:] = 0
    centre, side = augmentation.box_of_joints(tf.constant(pixels, tf.float32), tf.constant(weights, tf.float32))
    for n in range(COUNT):
        seen = pixels[n][weights[n] > 0]
        np.testing.assert_allclose(centre[n], (seen.min(0) + seen.max(0)) / 2, rtol=1e-5)
        np.testing.assert_allclose(side[n], np.ptp(seen, axis=0).max(), rtol=1e-5)


# --- colour and mask ------------------------------------------------------------------------------------------------


def test_colour_is_shared_by_all_views_and_leaves_the_rest_alone(labels):
    flat = np.full((200, 8, 8, 3), (90, 100, 110), np.uint8)
    batch = {
        "source": tf.constant(flat),
        "target": tf.constant(flat // 2),
        "pose": tf.ones([200, 21, 3]),
        "other": tf.constant(flat),
    }
    after = augmentation.colour(batch, ("source", "target"), SEED, 0.5)
    assert after.keys() == batch.keys()
    for name in ("pose", "other"):
        np.testing.assert_array_equal(after[name], batch[name])
    source, target = (after[name].numpy().astype(float) for name in ("source", "target"))
    assert after["source"].dtype == tf.uint8 and (source == source[:, :1, :1]).all()
    np.testing.assert_allclose(source[:, 0, 0] / 2, target[:, 0, 0], atol=1)
    gain = source[:, 0, 0] / (90, 100, 110)
    assert (gain > 1.1).any() and (gain < 0.9).any() and np.median(gain) == pytest.approx(1, abs=0.1)
    between = gain.max(1) / gain.min(1)
    assert between.max() > 1.2 and between.max() < 1.5 * 1.03  # channels drift apart less than brightness varies


def test_colour_saturates(labels):
    batch = {"source": tf.constant(np.tile(np.uint8([0, 255, 128]), (50, 4, 4, 1)))}
    found = augmentation.colour(batch, ("source",), SEED, 1.0)["source"].numpy()
    assert (found[..., 0] == 0).all() and found[..., 1].max() == 255 and found[..., 1].min() > 60


def test_what_moved_differs_from_the_background():
    background = np.full((2, 4, 4, 3), 100, np.uint8)
    target = background.copy()
    target[0, 1, 2, 1] = 111  # one channel is enough; 11 / 255 is more than 0.04, 10 / 255 is not
    target[0, 0, 0] = 110
    target[1, 3, 3] = (100, 100, 50)  # darker counts as well
    target[1, 0, 0] = 95  # and does not wrap around
    expected = np.zeros((2, 4, 4), bool)
    expected[0, 1, 2] = expected[1, 3, 3] = True
    np.testing.assert_array_equal(augmentation.differs(tf.constant(target), tf.constant(background), 0.04), expected)


@pytest.fixture
def discs():
    """40 grey discs of 8 px radius, each before a scene of its own grey level, with noise below the threshold."""
    generator, count = np.random.default_rng(2), 40
    noise = generator.integers(-4, 5, (2, count, SIZE, SIZE, 1))
    scenes = np.arange(count)[:, None, None, None] * 5 + np.zeros((SIZE, SIZE, 3), int)
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(x - 30, y - 34)
    pictures = np.where((distance < 8)[..., None], 230, scenes)
    source, background = (np.clip(each, 0, 255).astype(np.uint8) for each in np.stack([pictures, scenes]) + noise)
    return {"source": tf.constant(source), "source_background": tf.constant(background)}, distance


def test_the_hand_stays_before_the_scene_of_another_crop(discs):
    batch, distance = discs
    before, scenes = batch["source"].numpy(), batch["source_background"].numpy()
    after = augmentation.swap_background(batch, SEED, 1.0, 0.04)
    np.testing.assert_array_equal(after["source_background"], scenes)
    found, inside, outside = after["source"].numpy(), distance < 8, distance > 11
    np.testing.assert_array_equal(found[:, inside], before[:, inside])
    shown = [np.abs(scenes[:, outside].astype(int) - image[outside]).mean((1, 2)).argmin() for image in found]
    for n, other in enumerate(shown):
        assert other != n
        np.testing.assert_array_equal(found[n][outside], scenes[other][outside])


def test_a_share_of_the_crops_gets_another_scene(discs):
    batch, distance = discs
    before = batch["source"].numpy()
    changed = [(augmentation.swap_background(batch, SEED + n, 0.3, 0.04)["source"] != before).numpy() for n in range(9)]
    changed = np.stack(changed)[:, :, distance > 11].any((2, 3))
    assert np.mean(changed) == pytest.approx(0.3, abs=0.07) and changed.any(0).mean() > 0.8


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_all_are_pure_functions_of_their_seed(labels, triplets, discs):
    other = SEED + 1
    functions = {
        "rotate_triplet": lambda seed: augmentation.rotate_triplet(triplets[0], seed, 60.0),
        "recrop": lambda seed: augmentation.recrop(tensors(labels), seed, 40.0, (0.8, 1.2), 0.1),
        "colour": lambda seed: augmentation.colour(tensors(labels), ("source",), seed, 0.5),
        "swap_background": lambda seed: augmentation.swap_background(discs[0], seed, 0.5, 0.04),
    }
    for name, function in functions.items():
        tf.random.set_seed(0)
        first = function(SEED)
        tf.random.set_seed(5)
        assert_equal(first, function(SEED))
        compiled = tf.function(function)(SEED)
        assert compiled.keys() == first.keys()
        np.testing.assert_allclose(compiled["source"].numpy().astype(int), first["source"], atol=1)
        assert not np.array_equal(first["source"], function(other)["source"]), name
