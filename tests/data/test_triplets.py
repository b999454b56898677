"""Batches: what they hold is looked up, by its pixels, in the records read without the pipeline."""

import collections
import itertools
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from hand_tf.core import records_folder
from hand_tf.data import batching, labelled_crops, scenarios, triplets

BATCH, STEPS = 8, 2
NOT_AUGMENTED = {"in_plane_degrees": 0.0, "scale_jitter": (1.0, 1.0), "centre_jitter": 0.0, "colour_strength": 0.0}
NOT_AUGMENTED |= {"swap_background_share": 0.0, "foreground_threshold": 0.04}
FPS = 5  # of the fixture `records`; ten instants, from 0 to 1.8 seconds
View = collections.namedtuple("View", "key number camera group frame")


@pytest.fixture(scope="module")
def opened(records):
    return records_folder.open_records(records)


@pytest.fixture(scope="module")
def index(opened):
    return opened.index


def read(path):
    """The records of a shard as dicts of NumPy arrays, by TensorFlow's own protocol buffer."""
    for serialized in tf.data.TFRecordDataset(str(path)):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        found = {name: value.bytes_list.value for name, value in feature.items()}
        shapes = {"rotations": (-1, 3, 3), "intrinsics": (-1, 3, 3), "camera_centres": (-1, 3), "joints": (21, 3)}
        for name, shape in shapes.items():
            found[name] = np.array(feature[name].float_list.value).reshape(shape)
        found["joint_validity"] = np.array(feature["joint_validity"].float_list.value)
        yield found | {"frame": feature["frame"].int64_list.value[0], "key": found["key"][0].decode()}


def pixels_of(encoded):
    """By OpenCV, as pictures are read at prediction time."""
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)


class Truth:
    """All records of a folder: `records` by key, and `view(image)`, which says where an image comes from."""

    def __init__(self, folder):
        self.records, self.views, self.backgrounds = {}, {}, {}
        for record in itertools.chain.from_iterable(read(path) for path in sorted(folder.glob("*.tfrecord"))):
            self.records[record["key"]] = record
            for number, camera in enumerate(record["cameras"]):
                group = tuple(record["key"].split("/")[:3])
                view = View(record["key"], number, camera.decode(), group, record["frame"])
                image = pixels_of(record["crops"][number]).tobytes()
                assert image not in self.views, "crops must differ for this test to work"
                self.views[image] = view
                self.backgrounds[view] = pixels_of(record["backgrounds"][number])

    def view(self, image):
        return self.views[np.asarray(image).tobytes()]

    def rotation(self, view):
        return self.records[view.key]["rotations"][view.number]

    def local(self, view):
        """Joints [21, 3] mm in the frame of the view's camera."""
        record = self.records[view.key]
        return np.stack(
            [self.rotation(view) @ (joint - record["camera_centres"][view.number]) for joint in record["joints"]]
        )

    def pose(self, view):
        return self.local(view) - self.local(view)[0]

    def pixels(self, view):
        seen = self.local(view) @ self.records[view.key]["intrinsics"][view.number].T
        return seen[:, :2] / seen[:, 2:]


@pytest.fixture(scope="module")
def truth(records):
    return Truth(records)


def unlabelled(opened, subjects=None, seed=0, **options):
    """Triplets, without augmentation unless asked for."""
    options = NOT_AUGMENTED | {"batch_size": BATCH, "steps": STEPS, "seed": seed, "same_view_share": 0.0} | options
    weighted = {"foreground_weight": 6.0, "centre_sigma": 0.0, "equal_weights": False}
    options = weighted | {"min_time_gap": 1.0, "shuffle_rotation": False} | options
    return triplets.unlabelled(opened, subjects or opened.manifest.subjects, **options)


def take(stream, steps):
    return list(stream.take(steps).as_numpy_iterator())


def equal(one, other):
    """Whether two lists of batches hold the same numbers."""
    one, other = tf.nest.flatten(one), tf.nest.flatten(other)
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def samples(batches):
    """Single triplets of (x, y, sample_weight) batches, as dicts with `target`, `mask` and `weight` beside x."""
    for x, y, w in batches:
        batch = x | {"target": y["image"], "mask": y["mask"], "weight": w["image"]}
        for n in range(len(x["source"])):
            yield {name: value[n] for name, value in batch.items()}


# --- triplets -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_epochs(opened):
    """Three epochs of `STEPS` batches."""
    return take(unlabelled(opened), 3 * STEPS)


def test_shapes_and_types(three_epochs, opened):
    assert len(three_epochs) == 3 * STEPS
    images = (BATCH, opened.manifest.crop_size, opened.manifest.crop_size, 3)
    for x, y, w in three_epochs:
        assert x.keys() == {"source", "reference", "rotation", "placement", "background"}
        assert y.keys() == w.keys() == {"image", "features", "mask"}
        for image in (x["source"], x["reference"], x["background"], y["image"], y["features"]):
            assert image.shape == images and image.dtype == np.uint8
        assert x["rotation"].shape == (BATCH, 3, 3) and x["rotation"].dtype == np.float32
        assert w["image"].shape == images[:3] and w["features"].tolist() == [1] * BATCH
        assert y["mask"].shape == (*images[:3], 1) and (w["mask"] == np.ones(images[:3])).all()
        np.testing.assert_array_equal(y["image"], y["features"])


def test_a_triplet_is_two_views_of_one_instant_and_one_of_another(three_epochs, truth):
    seen = collections.Counter()
    for triplet in samples(three_epochs):
        source, target, reference = (truth.view(triplet[name]) for name in ("source", "target", "reference"))
        assert source.key == target.key and source.camera != target.camera
        assert reference.group == source.group and abs(reference.frame - source.frame) >= 1.0 * FPS
        np.testing.assert_allclose(triplet["rotation"], truth.rotation(target) @ truth.rotation(source).T, atol=1e-5)
        np.testing.assert_allclose(truth.pose(source) @ triplet["rotation"].T, truth.pose(target), atol=1e-2)
        np.testing.assert_array_equal(triplet["background"], truth.backgrounds[target])
        seen.update([source.group, (source.camera, target.camera), "reference " + reference.camera])
    cameras = {view.camera for view in truth.views.values()}
    assert {"reference " + camera for camera in cameras} <= set(seen)
    assert set(itertools.permutations(cameras, 2)) <= set(seen)
    assert len({name for name in seen if len(name) == 3}) >= 10  # of twelve: six subjects, two hands


def test_a_batch_mixes_subjects(three_epochs, truth):
    groups = [len({truth.view(image).group for image in x["source"]}) for x, _, _ in three_epochs]
    assert min(groups) >= 3 and np.mean(groups) > 4  # of eight triplets


def test_the_subjects_and_the_gap_in_time_can_be_set(opened, three_epochs, truth):
    gaps = []
    for batches in (three_epochs, take(unlabelled(opened, ("S1", "S4"), min_time_gap=1.6), 2 * STEPS)):
        views = [[truth.view(t[name]) for name in ("source", "target", "reference")] for t in samples(batches)]
        gaps.append(min(abs(source.frame - reference.frame) for source, _, reference in views))
    assert {view.group[1] for view in itertools.chain(*views)} == {"S1", "S4"}
    assert gaps[0] < 8 <= gaps[1]


def test_the_share_of_plain_auto_encoding_can_be_set(opened, truth):
    same = []
    for triplet in samples(take(unlabelled(opened, same_view_share=0.4, batch_size=32, steps=4), 4)):
        source, target = truth.view(triplet["source"]), truth.view(triplet["target"])
        assert source.key == target.key
        same.append(source == target)
        assert np.allclose(triplet["rotation"], np.eye(3), atol=1e-5) == same[-1]
    assert 0.25 <= np.mean(same) <= 0.55


def test_the_share_of_plain_auto_encoding_moves_from_the_first_epoch_to_the_last(opened, truth):
    options = {"same_view_share": 1.0, "last_same_view_share": 0.0, "epochs": 3, "batch_size": 32, "steps": 2}
    batches = take(unlabelled(opened, **options), 8)
    same = [truth.view(t["source"]) == truth.view(t["target"]) for t in samples(batches)]
    shares = np.reshape(same, (4, 64)).mean(1)
    assert shares[0] == 1 and 0.3 < shares[1] < 0.7 and shares[2] == shares[3] == 0


def test_partners_are_each_others_reference(opened, truth):
    for x, _, _ in take(unlabelled(opened, partners=True), 3 * STEPS):
        assert x.keys() == {"source", "rotation", "placement", "background"}
        views = [truth.view(image) for image in x["source"]]
        for one, other in zip(views[::2], views[1::2], strict=True):
            assert one.group == other.group and abs(one.frame - other.frame) >= 1.0 * FPS
    with pytest.raises(ValueError, match="batch_size 7"):
        unlabelled(opened, partners=True, batch_size=7)


def test_held_out_records_are_in_no_triplet(opened, index, truth):
    held = {row["key"] for row in index if row["frame"] % 3 == 0}
    batches = take(unlabelled(opened, held_out=held, min_time_gap=0.4), 6)
    shown = {truth.view(t[name]).key for t in samples(batches) for name in ("source", "target", "reference")}
    assert shown and not shown & held


def test_weights_fall_off_from_the_centre_and_have_equal_means(opened):
    for x, y, w in take(unlabelled(opened, centre_sigma=0.25, equal_weights=True), STEPS):
        difference = np.abs(y["image"].astype(float) - x["background"]).max(-1) / 255
        size = difference.shape[1]
        away = (np.arange(size) - (size - 1) / 2) / (0.25 * size)
        near = np.exp(-0.5 * (away[:, None] ** 2 + away**2))
        expected = np.where(difference > 0.04, 6.0, 1.0) * near
        np.testing.assert_allclose(w["image"], expected / expected.mean((1, 2), keepdims=True), rtol=1e-4)
        np.testing.assert_allclose(w["mask"], np.tile(near / near.mean(), (BATCH, 1, 1)), rtol=1e-4)


def test_the_control_gives_every_triplet_the_rotation_of_another(opened, three_epochs, truth):
    control = take(unlabelled(opened, shuffle_rotation=True), STEPS)
    for (x, y, _), (x_control, y_control, _) in zip(three_epochs[:STEPS], control, strict=True):
        assert equal(
            (x["source"], x["reference"], y["image"]), (x_control["source"], x_control["reference"], y_control["image"])
        )
        rows = x["rotation"].reshape(BATCH, 9).tolist()
        assert sorted(x_control["rotation"].reshape(BATCH, 9).tolist()) == sorted(rows)
        angles = Rotation.from_matrix(x_control["rotation"] @ x["rotation"].transpose(0, 2, 1)).magnitude()
        assert (angles > 0.1).sum() > BATCH // 2


# --- augmented, and a pure function of seed and epoch ----------------------------------------------------------------

AUGMENTED = {"in_plane_degrees": 90.0, "colour_strength": 0.3, "swap_background_share": 0.5}
WEIGHTS = {"foreground_weight": 4.0, "foreground_threshold": 0.1}


@pytest.fixture(scope="module")
def uninterrupted(opened):
    """Three epochs of `triplets`, augmented."""
    tf.random.set_seed(0)
    return take(unlabelled(opened, **AUGMENTED, **WEIGHTS), 3 * STEPS)


def test_mask_and_weights_belong_to_what_the_batch_shows(uninterrupted):
    share = []
    for triplet in samples(uninterrupted):
        difference = np.abs(triplet["target"].astype(float) - triplet["background"]).max(-1) / 255
        np.testing.assert_array_equal(triplet["mask"][..., 0], difference > 0.1)
        np.testing.assert_array_equal(triplet["weight"], np.where(difference > 0.1, 4.0, 1.0))
        share.append(np.mean(triplet["weight"] > 1))
    assert 0.05 < np.mean(share) < 0.8


def test_augmented_views_turn_each_by_its_own_angle(uninterrupted, three_epochs):
    angles = []
    for (x, _, _), (x_turned, y_turned, _) in zip(three_epochs, uninterrupted, strict=True):
        # Where the pictures open up, target and background do so alike: their outermost corners are black.
        target, background = (
            image[:, [0, 0, -1, -1], [0, -1, 0, -1]] for image in (y_turned["image"], x_turned["background"])
        )
        np.testing.assert_array_equal((target == 0).all(-1), (background == 0).all(-1))
        # R' = Z(target) R Z(source)^T turns R's last row with the source and its last column with the target.
        before, after = x["rotation"], x_turned["rotation"]
        np.testing.assert_allclose(np.linalg.det(after), 1, atol=1e-4)
        np.testing.assert_allclose(after[:, 2, 2], before[:, 2, 2], atol=1e-5)
        for n in range(BATCH):
            vectors = before[n, 2, :2], after[n, 2, :2], before[n, :2, 2], after[n, :2, 2]
            angles.append([np.rad2deg(np.arctan2(y, x)) for x, y in vectors])
    before_source, after_source, before_target, after_target = np.array(angles).T
    turns = np.stack([after_source - before_source, after_target - before_target])
    turns = (turns + 180) % 360 - 180
    assert np.abs(turns).max() < 90.1 and (np.ptp(turns, axis=1) > 120).all()
    assert abs(np.corrcoef(turns)[0, 1]) < 0.4


def test_a_resumed_stream_continues_the_uninterrupted_one(opened, uninterrupted):
    tf.random.set_seed(0)
    resumed = take(unlabelled(opened, first_epoch=1, **AUGMENTED, **WEIGHTS), 2 * STEPS)
    assert equal(resumed, uninterrupted[STEPS:])


def test_the_global_seed_does_not_matter(opened, uninterrupted):
    tf.random.set_seed(5)
    stream = unlabelled(opened, **AUGMENTED, **WEIGHTS)
    assert equal(take(stream, STEPS), uninterrupted[:STEPS])
    assert equal(take(stream, STEPS), uninterrupted[:STEPS])  # the same again when iterated anew


def test_epochs_and_seeds_differ(opened, three_epochs):
    batches = [*three_epochs, *take(unlabelled(opened, seed=4), STEPS)]
    shown = [
        {(t["source"].tobytes(), t["target"].tobytes()) for t in samples(batches[n : n + STEPS])} for n in (0, 2, 4, 6)
    ]
    assert all(len(one & other) < BATCH for one, other in itertools.combinations(shown, 2))


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen(index, opened):
    return scenarios.choose_labels("S0..S3:15%", index, opened.manifest.subjects)


@pytest.fixture(scope="module")
def labels(opened, chosen):
    return labelled_crops.load_labels(opened, chosen)


def test_labels_are_those_of_the_scenario(labels, chosen, truth):
    assert len(chosen) == 12
    names = [(key.decode(), camera.decode()) for key, camera in zip(labels["key"], labels["camera"], strict=True)]
    assert sorted(names) == sorted(chosen)
    for n, name in enumerate(names):
        view = truth.view(pixels_of(labels["source"][n]))
        assert (view.key, view.camera) == name
        assert view.group[1:] == (labels["subject"][n].decode(), labels["side"][n].decode())
        np.testing.assert_allclose(labels["pose"][n], truth.pose(view), atol=1e-2)
        np.testing.assert_allclose(labels["joints_2d"][n], truth.pixels(view), atol=1e-2)
        np.testing.assert_allclose(labels["intrinsics"][n], truth.records[view.key]["intrinsics"][view.number])
        np.testing.assert_array_equal(labels["pose_weight"][n], truth.records[view.key]["joint_validity"])


def test_labels_of_all_views_of_an_instant(index, opened):
    every = scenarios.choose_labels("S1:all", index, opened.manifest.subjects)
    found = labelled_crops.load_labels(opened, every)
    assert sorted(zip(found["key"].astype(str), found["camera"].astype(str), strict=True)) == sorted(every)


def test_labels_that_the_shards_do_not_hold_are_missed(opened, index):
    with pytest.raises(ValueError, match="the index promises 2 labels, the shards hold 1 of them"):
        labelled_crops.load_labels(opened, [(index[0]["key"], "00_00"), (index[0]["key"], "99_99")])


def test_statistics_are_over_accepted_joints_only():
    generator = np.random.default_rng(0)
    pose, weight = generator.normal(5, 30, (40, 21, 3)), (generator.random((40, 21)) < 0.7).astype(float)
    pose[:, 0], weight[:, 20] = 0, 0
    mean, std = labelled_crops.pose_statistics(
        {"pose": np.where(weight[..., None] > 0, pose, 1e6), "pose_weight": weight}
    )
    for joint in range(20):
        accepted = pose[weight[:, joint] > 0, joint]
        np.testing.assert_allclose(mean[joint], accepted.mean(0), atol=1e-9)
        np.testing.assert_allclose(std[joint], accepted.std(0), atol=1e-9)
    assert np.isfinite(mean).all() and (std[0] == 0).all() and np.isfinite(std).all()


def labelled(labels, opened, **options):
    options = NOT_AUGMENTED | {"batch_size": 4, "steps": 6, "seed": 0} | options
    return labelled_crops.training_batches(labels, opened.manifest.crop_size, **options)


def test_labelled_crops_come_equally_often_with_their_own_pose(labels, opened, truth):
    batches = take(labelled(labels, opened), 12)  # two epochs of 24 crops: every one of 12 labels twice in each
    orders = []
    for epoch in (batches[:6], batches[6:]):
        views = []
        for x, y, w in epoch:
            assert x.keys() == {"source"} and y.keys() == w.keys() == {"pose", "joints_2d"}
            for image, pose, places, weight in zip(x["source"], y["pose"], y["joints_2d"], w["pose"], strict=True):
                views.append(truth.view(image))
                np.testing.assert_allclose(pose, truth.pose(views[-1]), atol=1e-2)
                np.testing.assert_allclose(places, truth.pixels(views[-1]), atol=1e-2)
                np.testing.assert_array_equal(weight, truth.records[views[-1].key]["joint_validity"])
        assert set(collections.Counter(views).values()) == {2} and len(set(views)) == 12
        assert set(collections.Counter(views[:12]).values()) == {1}  # one whole pass before the next
        orders.append(views)
    assert orders[0] != orders[1] and orders[0][:12] != orders[0][12:]


def test_labelled_crops_too_are_a_function_of_seed_and_epoch(labels, opened):
    options = AUGMENTED | {"scale_jitter": (0.7, 1.2), "centre_jitter": 0.05, "steps": 2}
    tf.random.set_seed(0)
    whole = take(labelled(labels, opened, **options), 4)
    tf.random.set_seed(5)
    assert equal(take(labelled(labels, opened, first_epoch=1, **options), 2), whole[2:])
    assert not equal(take(labelled(labels, opened, **options | {"seed": 1}), 2), whole[:2])
    for _, y, _ in whole:  # poses are turned, not bent
        known = {np.linalg.norm(pose, axis=-1).round(1).tobytes() for pose in labels["pose"]}
        lengths = np.linalg.norm(y["pose"], axis=-1)
        assert all(min(np.abs(length - np.frombuffer(k, "f4")).max() for k in known) < 0.2 for length in lengths)


def test_joint_batches_hold_as_many_labels_as_triplets(opened, labels, truth, strategy):
    few = {name: value[:3] for name, value in labels.items()}  # far fewer than a batch: they repeat
    stream = triplets.joint(unlabelled(opened), labelled(few, opened, batch_size=BATCH, steps=STEPS))
    x, y, w = next(stream.as_numpy_iterator())
    assert x.keys() == {"source", "reference", "rotation", "placement", "background", "labelled"}
    assert y.keys() == w.keys() == {"image", "features", "mask", "pose", "joints_2d"}
    assert {len(value) for value in tf.nest.flatten((x, y, w))} == {BATCH}
    counts = collections.Counter(truth.view(image) for image in x["labelled"])
    assert sorted(counts.values()) == [2, 3, 3]
    for image, pose in zip(x["labelled"], y["pose"], strict=True):
        np.testing.assert_allclose(pose, truth.pose(truth.view(image)), atol=1e-2)
    # Each replica gets a whole half of the batch, labels and triplets alike, and none is read twice.
    (parts, _, _) = next(iter(strategy.experimental_distribute_dataset(stream)))
    replicas = strategy.num_replicas_in_sync
    for name in ("source", "labelled"):
        local = strategy.experimental_local_results(parts[name])
        assert [len(part) for part in local] == [BATCH // replicas] * replicas
        np.testing.assert_array_equal(np.concatenate(local), x[name])


# --- evaluation -----------------------------------------------------------------------------------------------------


def evaluation(opened, chosen, **options):
    stream = labelled_crops.evaluation(opened, chosen, batch_size=5, **options)
    batches = list(stream.as_numpy_iterator())
    return [len(b["source"]) for b in batches], {n: np.concatenate([b[n] for b in batches]) for n in batches[0]}


def test_evaluation_yields_every_crop_once(opened, chosen, index, truth):
    sizes, found = evaluation(opened, chosen)
    assert sizes == [5, 5, 2]
    names = [(key.decode(), camera.decode()) for key, camera in zip(found["key"], found["camera"], strict=True)]
    assert sorted(names) == sorted(chosen)
    for n, (key, camera) in enumerate(names):
        view = truth.view(found["source"][n])
        assert (view.key, view.camera) == (key, camera)
        assert view.group[1:] == (found["subject"][n].decode(), found["side"][n].decode())
        np.testing.assert_allclose(found["pose"][n], truth.pose(view), atol=1e-2)
        np.testing.assert_array_equal(found["pose_weight"][n], truth.records[key]["joint_validity"])


def test_evaluation_on_crops_about_the_2d_box(opened, chosen, index, truth):
    _, built = evaluation(opened, chosen)
    _, found = evaluation(opened, chosen, crop="box2d", box_margin=1.2)
    for name in ("key", "camera", "pose_weight"):
        np.testing.assert_array_equal(found[name], built[name])
    assert found["source"].dtype == np.uint8 and found["source"].shape == built["source"].shape
    for n, image in enumerate(built["source"]):
        view = truth.view(image)
        turn = Rotation.align_vectors(found["pose"][n], truth.pose(view))[0].as_matrix()
        np.testing.assert_allclose(truth.pose(view) @ turn.T, found["pose"][n], atol=1e-2)
        pixels = truth.local(view) @ turn.T @ found["intrinsics"][n].T
        pixels = pixels[:, :2] / pixels[:, 2:]
        np.testing.assert_allclose((pixels.min(0) + pixels.max(0)) / 2, (opened.manifest.crop_size - 1) / 2, atol=0.3)
        assert np.ptp(pixels, axis=0).max() * 1.2 == pytest.approx(opened.manifest.crop_size, rel=0.02)
        # Whatever else is passed on belongs to the new crop.
        np.testing.assert_allclose(found.get("joints_2d", {n: pixels})[n], pixels, atol=0.02)


def test_an_unknown_crop_rule_is_refused(opened, chosen, index):
    with pytest.raises(ValueError, match="crop 'box3d': expected box2d or joints3d"):
        evaluation(opened, chosen, crop="box3d")


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_usable_groups_have_two_instants_far_enough_apart(records, opened):
    groups = triplets.usable_groups(opened, ("S0", "S5"), 1.8)  # frames 100 to 109 at 5 per second
    expected = [[str(records / s.file) for s in g.shards] for g in opened.manifest.groups if g.subject in ("S0", "S5")]
    assert groups == expected and len(groups) == 4
    with pytest.raises(ValueError, match=r"--min_time_gap=2 s apart; the longest group of S0, S5 spans 1\.8 s"):
        triplets.usable_groups(opened, ("S0", "S5"), 2.0)
    with pytest.raises(ValueError, match="the longest group of S9 spans 0 s"):
        triplets.usable_groups(opened, ("S9",), 0.2)


def test_a_gap_that_hardly_any_pair_has_is_refused(opened, monkeypatch):
    """One of the 45 pairs of ten instants is 1.8 s apart."""
    numbers = np.random.default_rng(0).permutation(200)[:40]
    pairs = np.abs(np.subtract.outer(numbers, numbers))[np.triu_indices(40, 1)]
    for least in (1, 50, 190):
        assert triplets._share_of_pairs(numbers.tolist(), least) == pytest.approx((pairs >= least).mean())
    monkeypatch.setattr(triplets, "MIN_PAIRS", 0.03)
    with pytest.raises(ValueError, match=r"--min_time_gap=1\.8 s apart, and only 1 in 45 pairs of S0 is; take"):
        triplets.usable_groups(opened, ("S0",), 1.8)


def test_a_flipped_byte_is_an_error_not_a_picture(records, opened, index, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    (group, *_) = (group for group in opened.manifest.groups if group.subject == "S2")
    for shard in group.shards:
        content = bytearray((folder / shard.file).read_bytes())
        content[len(content) // 2] ^= 0x10
        (folder / shard.file).write_bytes(content)
    damaged_records = records_folder.open_records(folder)
    assert damaged_records.manifest == opened.manifest  # the sizes do not tell
    every = scenarios.choose_labels("S2:all", index, opened.manifest.subjects)
    with pytest.raises(tf.errors.DataLossError):
        labelled_crops.load_labels(damaged_records, every)
    with pytest.raises(tf.errors.DataLossError):
        take(unlabelled(damaged_records, ("S2",)), STEPS)
    damaged = ", ".join(shard.file for shard in group.shards)
    with pytest.raises(ValueError, match=f"{damaged} is damaged"), batching.damage_named(damaged_records):
        labelled_crops.load_labels(damaged_records, every)
