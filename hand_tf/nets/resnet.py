"""ResNet-18 (He et al., CVPR 2016) in torchvision's geometry and under torchvision's names.

    stem      conv 7x7 /2, batch norm, ReLU                     [B, H/2,  W/2,   width]
    layer1    max pool 3x3 /2, two basic blocks                 [B, H/4,  W/4,   width]
    layer2    two basic blocks, the first /2                    [B, H/8,  W/8,  2 width]
    layer3                                                      [B, H/16, W/16, 4 width]
    layer4                                                      [B, H/32, W/32, 8 width]

A basic block is `relu(bn(conv3(relu(bn(conv3(x))))) + shortcut(x))`; the shortcut is a 1x1 convolution with batch norm
where the shape changes. Before a strided convolution torch pads both sides equally, while "same" pads the far side more
and shifts the picture by a pixel. So padding is explicit: weights trained with torch give the same maps here.

`load_torchvision` fills any such network.
"""

import keras

from hand_tf.core.errors import InputError
from hand_tf.nets import weight_files
from hand_tf.nets.layers import BatchNorm

STAGES = ("layer1", "layer2", "layer3", "layer4")


def resnet18(
    image: keras.KerasTensor, width: int = 64, stem: str = "imagenet", stages: int = 4
) -> dict[str, keras.KerasTensor]:
    """Wires a ResNet-18 onto a symbolic image; the defaults are the published network.

    Args:
        image: KerasTensor [batch, H, W, 3], normalised.
        width: channels of stem and layer1; 64 is He et al.'s.
        stem: "imagenet", or "small" for crops up to 64 px: conv 3x3 /2 and no max pool, so that all maps are twice
            as wide and high.
        stages: how many of layer1..layer4 to build.

    Returns:
        A dict of KerasTensors: "stem" (after its ReLU), "layer1", ... .

    Raises:
        ValueError: an unknown stem.
    """
    if stem not in ("imagenet", "small"):
        raise InputError(f"stem: expected imagenet or small, got {stem!r}")
    kernel = 7 if stem == "imagenet" else 3
    x = _conv(image, width, kernel, 2, "conv1")
    x = BatchNorm(name="bn1")(x)
    x = keras.layers.ReLU(name="relu")(x)
    maps = {"stem": x}
    if stem == "imagenet":
        # Torch pads with -inf. After a ReLU, 0 is never above a maximum either.
        x = keras.layers.ZeroPadding2D(1, name="maxpool.pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    for index, stage in enumerate(STAGES[:stages]):
        for block in range(2):
            stride = 2 if index > 0 and block == 0 else 1
            x = _basic_block(x, width * 2**index, stride, f"{stage}.{block}.")
        maps[stage] = x
    return maps


def _basic_block(x, channels, stride, name):
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _conv(x, channels, 1, stride, f"{name}downsample.0")
        shortcut = BatchNorm(name=f"{name}downsample.1")(shortcut)
    x = _conv(x, channels, 3, stride, f"{name}conv1")
    x = BatchNorm(name=f"{name}bn1")(x)
    x = keras.layers.ReLU(name=f"{name}relu1")(x)
    x = _conv(x, channels, 3, 1, f"{name}conv2")
    x = BatchNorm(name=f"{name}bn2")(x)
    x = keras.layers.Add(name=f"{name}add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}relu2")(x)


def _conv(x, channels, kernel, stride, name):
    padding = "valid"
    if stride == 1:
        padding = "same"  # symmetric for odd kernels, and one layer less
    elif kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}.pad")(x)
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def load_torchvision(model: keras.Model, path: str) -> None:
    """Fills a network built by `resnet18` from a file in torchvision's naming.

    Args:
        model: a Functional model; its convolutions and batch norms are filled.
        path: see `weight_files.fill`; the tensors are `conv1.weight` [out, in, height, width], `bn1.weight`,
            `bn1.bias`, `bn1.running_mean`, `bn1.running_var`, `layer1.0.conv1.weight`, ... . Others (`fc.*`, deeper
            layers, `num_batches_tracked`) are ignored.

    Raises:
        FileNotFoundError, ValueError: see `weight_files.fill`.
    """
    weight_files.fill(model, path, _tensors)


def _tensors(layer):
    if isinstance(layer, keras.layers.Conv2D):
        return [(f"{layer.name}.weight", layer.kernel)]
    return weight_files.of_batch_norm(layer, layer.name) if isinstance(layer, BatchNorm) else []
