"""The mobile backbone: its geometry, its size, and that every regime can train it; runs on TensorFlow and on JAX."""

import cv2
import default_networks
import keras
import numpy as np
import pytest

from hand_tf.nets import mobile
from hand_tf.training import regimes, wiring

SIZE, POINTS = 32, 8
# Every kind of block once, and with a second one for its sum: JAX takes minutes to build the whole table.
SHORT = ((1, 16, 1, 1, 3), (4, 24, 2, 2, 3), (6, 40, 1, 2, 5))


def _wired(size, width=64, stem="imagenet"):
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, mobile.backbone(image, width=width, stem=stem)[-1])


@pytest.fixture
def whole():
    """The table itself; a test that asks for it gets no short one."""
    return mobile.STAGES


@pytest.fixture(autouse=True)
def _short(request, monkeypatch):
    if "whole" not in request.fixturenames:
        monkeypatch.setattr(mobile, "STAGES", SHORT)


@pytest.fixture
def encoder():
    return default_networks.encoder(SIZE, backbone="mobile", width=16, num_points=POINTS, appearance_size=4)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("uint8")


def _array(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="a minute to build, and the same table")
def test_the_whole_table_has_its_shape_and_its_parameters(whole):
    """Counted by hand: a convolution has kernel^2 in out weights, a depthwise one kernel^2 in, a batch norm 4 each."""
    total, before = 27 * 32 + 4 * 32, 32
    for expansion, channels, blocks, _, kernel in whole:
        for _ in range(blocks):
            inner = expansion * before
            total += 0 if expansion == 1 else before * inner + 4 * inner
            total += kernel**2 * inner + 4 * inner + inner * channels + 4 * channels
            before = channels
    model = _wired(128)
    assert model.output.shape == (None, 4, 4, 160) and model.count_params() == total < 11e6 / 7  # of ResNet-18


def test_maps_shrink_with_stem_and_width():
    for width, stem, shape in ((64, "imagenet", (4, 4, 40)), (32, "small", (8, 8, 24)), (1, "imagenet", (4, 4, 8))):
        assert _wired(32, width, stem).output.shape == (None, *shape)
    with pytest.raises(ValueError, match="stem"):
        _wired(32, stem="large")


def test_channels_are_multiples_of_eight_and_grow_with_the_width(whole):
    widths = range(1, 257)
    for channels in {row[1] for row in whole}:
        scaled = [mobile.scaled(channels, width) for width in widths]
        assert scaled == sorted(scaled) and all(value % 8 == 0 and value >= 8 for value in scaled)
        assert abs(scaled[63] - channels) <= 4 and mobile.scaled(channels, 256) == 4 * channels


def test_activations_that_integers_must_hold_lie_in_zero_to_six(images):
    model = _wired(SIZE, width=16)
    inside = [layer.output for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    values = keras.Model(model.input, inside)(100 * images.astype("float32"))
    for value in map(_array, values):
        assert value.min() >= 0 and value.max() <= 6


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="a minute to build, and the same numbers")
def test_a_grey_level_of_noise_hardly_moves_the_last_map(whole):
    """With filters of zero mean it would move by nine tenths of the spread between pictures."""
    keras.utils.set_random_seed(0)
    model, random = _wired(64, width=32, stem="small"), np.random.default_rng(0)
    smooth = [cv2.resize(random.uniform(-2, 2, (5, 5, 3)), (64, 64), interpolation=cv2.INTER_CUBIC) for _ in range(8)]
    pictures = np.stack(smooth).astype("float32")  # normalised: 4 is about the range of a byte
    noisy = pictures + random.uniform(-4 / 255, 4 / 255, pictures.shape).astype("float32")
    plain, moved = (_array(model(each, training=True)) for each in (pictures, noisy))
    assert np.abs(plain - moved).mean() < 0.3 * np.abs(plain - plain.mean(0)).mean()


def test_an_encoder_with_it_answers_as_any_other_and_survives_saving(encoder, images, tmp_path):
    found = encoder(images, training=False)
    assert found["points"].shape == (3, POINTS, 3) and found["appearance"].shape == (3, 4)
    np.testing.assert_allclose((_array(found["points"]) ** 2).sum(-1).mean(-1), 1, atol=1e-3)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras", compile=False, safe_mode=True)
    copy = keras.Model.from_config(encoder.get_config())
    copy.set_weights(encoder.get_weights())
    for other in (loaded, copy):
        for name, value in other(images, training=False).items():
            np.testing.assert_allclose(_array(value), _array(found[name]), atol=1e-5)
    with pytest.raises(ValueError, match="resnet18 or mobile"):
        default_networks.encoder(SIZE, backbone="large")


def test_a_step_of_joint_training_moves_every_weight(encoder, images):
    """Through points and appearance: no weight of the backbone is left without a gradient."""
    regime = regimes.REGIMES["semi_supervised"]
    parts = {
        "encoder": encoder,
        "decoder": default_networks.decoder(SIZE, width=4, num_points=POINTS, appearance_size=4),
        "pose_head": default_networks.pose_head(POINTS, width=16),
    }
    model = wiring.wire(regime, parts, latent_dropout=0.0)
    weights = default_networks.LOSS_WEIGHTS | {"mask_weight": 0.0}
    chosen, weights = wiring.compiled_losses(regime, pose_std=np.ones((21, 3)), crop_size=SIZE, **weights)
    model.compile(keras.optimizers.SGD(1.0), chosen, weights, jit_compile=keras.backend.backend() == "jax")
    before = [_array(variable) for variable in encoder.trainable_variables]
    random = np.random.default_rng(1)
    x = {name: images for name in ("source", "reference", "background", "labelled")}
    x["rotation"] = np.tile(np.eye(3, dtype="float32"), (3, 1, 1))
    x["placement"] = np.tile(np.float32([0, 0, 1]), (3, 1))
    y = {"image": images[::-1].copy(), "pose": random.normal(size=(3, 21, 3)).astype("float32")}
    y["joints_2d"] = random.uniform(0, SIZE, (3, 21, 2)).astype("float32")
    w = {"image": np.ones((3, SIZE, SIZE), "float32")} | dict.fromkeys(
        ("pose", "joints_2d"), np.ones((3, 21), "float32")
    )
    logs = model.train_on_batch(x, y, w, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    for value, variable in zip(before, encoder.trainable_variables, strict=True):
        assert not np.array_equal(value, _array(variable)), variable.path
