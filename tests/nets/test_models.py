"""Wirings are compared with the same parts called by hand; runs on TensorFlow and on JAX."""

import default_networks
import keras
import numpy as np
import pytest

from hand_tf.nets import feature_networks, models
from hand_tf.training import losses, regimes, wiring

SIZE, POINTS, LOOK, BATCH = 32, 8, 4, 4


@pytest.fixture(scope="module")
def parts():
    latent = {"num_points": POINTS, "appearance_size": LOOK}
    return {
        "encoder": default_networks.encoder(SIZE, width=4, **latent),
        "decoder": default_networks.decoder(SIZE, width=4, **latent),
        "pose_head": default_networks.pose_head(POINTS, SIZE, kind="mlp", width=16),
    }


@pytest.fixture(scope="module")
def placed_parts():
    """Points that are places in the crop, and the linear head."""
    encoder = default_networks.encoder(SIZE, width=4, num_points=POINTS, appearance_size=LOOK, points="heatmaps")
    decoder = default_networks.decoder(SIZE, width=4, num_points=POINTS, appearance_size=LOOK)
    head = default_networks.pose_head(POINTS, SIZE, kind="linear", places=models.places_points(encoder))
    return {"encoder": encoder, "decoder": decoder, "pose_head": head}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    names = ("source", "reference", "background", "labelled", "target")
    images = {name: rng.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype("uint8") for name in names}
    rotation = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(BATCH)])
    numbers = {
        "rotation": rotation,
        "pose": rng.normal(size=(BATCH, 21, 3)),
        "joints_2d": rng.uniform(0, SIZE, (BATCH, 21, 2)),
    }
    numbers["placement"] = rng.uniform((-0.1, -0.1, 0.6), (0.1, 0.1, 1.2), (BATCH, 3))
    return images | {name: value.astype("float32") for name, value in numbers.items()}


def _array(x):
    return keras.ops.convert_to_numpy(x)


def _tensors(inputs):
    return {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}


def _inputs(model, batch):
    return _tensors({name: batch[name] for name in model.input})


def test_novel_view_takes_points_of_the_source_and_appearance_of_the_reference(parts, batch):
    model = wiring.wire(regimes.REGIMES["pretrain"], parts, latent_dropout=0.0)
    points = _array(parts["encoder"](batch["source"], training=False)["points"])
    look = parts["encoder"](batch["reference"], training=False)["appearance"]
    turned = np.einsum("bij,bnj->bni", batch["rotation"], points).astype("float32")
    inputs = {"points": turned, "appearance": look, "background": batch["background"]}
    by_hand = parts["decoder"](_tensors(inputs), training=False)
    found = model(_inputs(model, batch), training=False)
    np.testing.assert_allclose(_array(found["image"]), _array(by_hand["image"]), atol=1e-5)
    np.testing.assert_array_equal(_array(found["image"]), _array(found["features"]))


def test_a_picture_that_is_encoded_once_is_the_reference_of_its_partner(parts, batch):
    once = wiring.wire(regimes.REGIMES["pretrain"], parts, latent_dropout=0.0, encode_once=True)
    twice = wiring.wire(regimes.REGIMES["pretrain"], parts, latent_dropout=0.0)
    assert "reference" not in once.input
    partners = batch | {"reference": batch["source"][[1, 0, 3, 2]]}
    found, expected = (_array(m(_inputs(m, partners), training=False)["image"]) for m in (once, twice))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_points_that_are_places_are_moved_to_the_crop_that_was_meant(placed_parts, batch):
    model = wiring.wire(regimes.REGIMES["pretrain"], placed_parts, latent_dropout=0.0)
    points = _array(placed_parts["encoder"](batch["source"], training=False)["points"])
    assert np.abs(points[..., :2]).max() < 2  # on the crop
    look = placed_parts["encoder"](batch["reference"], training=False)["appearance"]
    x, y, scale = batch["placement"].T[:, :, None]
    moved = np.stack([(points[..., 0] - 4 * x) * scale, (points[..., 1] - 4 * y) * scale, points[..., 2] * scale], -1)
    inputs = {"points": moved @ batch["rotation"].transpose(0, 2, 1), "appearance": look}
    by_hand = placed_parts["decoder"](_tensors(inputs | {"background": batch["background"]}), training=False)
    found = model(_inputs(model, batch), training=False)
    np.testing.assert_allclose(_array(found["image"]), _array(by_hand["image"]), atol=1e-5)


@pytest.mark.parametrize("places", [False, True])
def test_the_pose_of_the_linear_head_turns_with_the_points(places):
    head = default_networks.pose_head(POINTS, SIZE, kind="linear", places=places)
    rng = np.random.default_rng(3)
    points, turn = rng.normal(size=(5, POINTS, 3)).astype("float32"), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose, turned = (_array(head(p.astype("float32"))["pose"]) for p in (points, points @ turn.T))
    np.testing.assert_allclose(turned, pose @ turn.T, atol=1e-3)
    assert (pose[:, 0] == 0).all() and np.abs(pose).max() > 1
    larger = _array(head(3 * points + (1.0 if places else 0.0))["pose"])
    np.testing.assert_allclose(larger, pose * (1 if places else 3), atol=1e-2)


def test_places_of_the_linear_head_are_in_px_of_the_crop():
    head = default_networks.pose_head(POINTS, SIZE, kind="linear", places=True)
    layer = head.get_layer("joints_2d")
    layer.weights_of_points.assign(np.eye(21, POINTS))
    points = np.random.default_rng(4).uniform(-2, 2, (2, POINTS, 3)).astype("float32")
    found = _array(head(points)["joints_2d"])
    # -2 .. 2 is the whole crop, whose pixels' centres are 0 .. SIZE - 1.
    np.testing.assert_allclose(found[:, :POINTS], (points[..., :2] + 2) / 4 * SIZE - 0.5, atol=1e-4)
    np.testing.assert_allclose(found[:, POINTS:], (SIZE - 1) / 2, atol=1e-4)


def test_image_is_foreground_where_the_mask_is_one_and_background_where_it_is_zero(parts, batch):
    decoder = parts["decoder"]
    inputs = {
        "points": np.zeros((BATCH, POINTS, 3), "float32"),
        "appearance": np.zeros((BATCH, LOOK), "float32"),
        "background": batch["background"],
    }
    mask_layer = decoder.get_layer("mask")
    before = [_array(w) for w in mask_layer.get_weights()]
    mask_layer.set_weights([np.zeros_like(before[0]), np.full_like(before[1], -100)])
    image = _array(decoder(inputs, training=False)["image"])
    np.testing.assert_allclose(image, batch["background"] / 255.0, atol=1e-6)
    mask_layer.set_weights([np.zeros_like(before[0]), np.full_like(before[1], 100)])
    black = decoder(inputs | {"background": np.zeros_like(batch["background"])}, training=False)["image"]
    np.testing.assert_allclose(_array(decoder(inputs, training=False)["image"]), _array(black), atol=1e-6)
    mask_layer.set_weights(before)


def test_points_have_unit_scale_and_the_head_answers_in_the_statistics_it_was_given(parts, batch):
    points = _array(parts["encoder"](batch["source"], training=False)["points"])
    np.testing.assert_allclose((points**2).sum(-1).mean(-1), 1, atol=1e-3)
    head = default_networks.pose_head(POINTS, SIZE, kind="mlp", width=16)
    mean = np.random.default_rng(1).normal(size=(21, 3)) * 50
    head.get_layer("pose").set_statistics(mean, np.zeros((21, 3)))
    np.testing.assert_allclose(_array(head(points)["pose"]), np.tile(mean, (BATCH, 1, 1)), rtol=1e-5)


def test_without_composite_there_is_no_mask_but_the_background_matters(batch):
    decoder = default_networks.decoder(SIZE, width=4, num_points=POINTS, appearance_size=LOOK, composite=False)
    inputs = {
        "points": np.ones((BATCH, POINTS, 3), "float32"),
        "appearance": np.ones((BATCH, LOOK), "float32"),
        "background": batch["background"],
    }
    found = decoder(inputs, training=False)
    assert set(found) == {"image"}
    other = decoder(inputs | {"background": 255 - batch["background"]}, training=False)
    assert np.abs(_array(found["image"]) - _array(other["image"])).max() > 1e-4


def _compile(regime, parts):
    model = wiring.wire(regime, parts, latent_dropout=0.0)
    feature_model = feature_networks.feature_model(SIZE, "random") if regime.unlabelled else None
    weights = default_networks.LOSS_WEIGHTS | {"mask_weight": 1.0}
    weights |= {"joints_2d_weight": 1.0, "crop_size": SIZE}
    chosen, weights = wiring.compiled_losses(regime, feature_model=feature_model, pose_std=np.ones((21, 3)), **weights)
    # TensorFlow would take longer to trace the step than to run it; the trainer's tests run traced ones.
    model.compile(keras.optimizers.Adam(1e-3), chosen, weights, run_eagerly=keras.backend.backend() == "tensorflow")
    return model


# JAX compiles a training step for half a minute; the joint wiring holds all the others. That of `confidence` is in
# tests/training/test_confidence.py.
STEPS = (
    [name for name in regimes.REGIMES if name != "confidence"]
    if keras.backend.backend() == "tensorflow"
    else ["semi_supervised"]
)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_trains_what_the_regime_names_and_nothing_else(name, parts, batch):
    regime = regimes.REGIMES[name]
    model = _compile(regime, parts)
    before = {part: [_array(v) for v in model_.variables] for part, model_ in parts.items()}
    mask = np.zeros((BATCH, SIZE, SIZE, 1), bool)
    y = {"image": batch["target"], "features": batch["target"], "pose": batch["pose"], "mask": mask}
    y["joints_2d"] = batch["joints_2d"]
    weight = {
        "image": np.ones((BATCH, SIZE, SIZE), "float32"),
        "features": np.ones(BATCH, "float32"),
        "mask": np.ones((BATCH, SIZE, SIZE), "float32"),
        "pose": np.ones((BATCH, 21), "float32"),
        "joints_2d": np.ones((BATCH, 21), "float32"),
    }
    outputs = [output for output in y if output in model.output]
    logs = model.train_on_batch(
        _inputs(model, batch), {o: y[o] for o in outputs}, {o: weight[o] for o in outputs}, return_dict=True
    )
    assert np.isfinite(list(logs.values())).all()
    for part, sub_model in parts.items():
        changed = any(not np.array_equal(a, _array(b)) for a, b in zip(before[part], sub_model.variables, strict=True))
        assert changed == (part in regime.trained), part


def test_parts_survive_saving(parts, batch, tmp_path):
    for name, part in parts.items():
        part.save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras", compile=False, safe_mode=True)
        if name == "encoder":
            for key in ("points", "appearance"):
                found, expected = (m(batch["source"], training=False)[key] for m in (loaded, part))
                np.testing.assert_allclose(_array(found), _array(expected), atol=1e-5)


def test_points_from_heat_maps_and_the_linear_head_survive_saving(placed_parts, batch, tmp_path):
    points, expected = batch["source"], batch["source"]
    for name in ("encoder", "pose_head"):
        placed_parts[name].save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras", compile=False, safe_mode=True)
        points, expected = loaded(points, training=False), placed_parts[name](expected, training=False)
        if name == "encoder":
            points, expected = points["points"], expected["points"]
    for name in ("pose", "joints_2d"):
        np.testing.assert_allclose(_array(points[name]), _array(expected[name]), atol=1e-3)


def test_a_crop_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        default_networks.encoder(50)


def test_loss_weights_are_the_regimes(parts):
    weights = {"pixel_weight": 2.0, "mask_weight": 0.0, "feature_weight": 1.0, "pose_weight": 3.0}
    chosen, weights = wiring.compiled_losses(regimes.REGIMES["semi_supervised"], pose_std=np.ones((21, 3)), **weights)
    assert weights == {"image": 2.0, "pose": 3.0}
    assert isinstance(chosen["image"], losses.PixelL1)
