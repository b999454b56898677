"""A small backbone for phones and CPUs: inverted residuals (Sandler et al., MobileNetV2, CVPR 2018).

    stem      conv 3x3 /2, batch norm, ReLU6                              [B, H/2,  W/2,  c(32)]
    stage1    one block without expansion                                 [B, H/2,  W/2,  c(16)]
    stage2    two blocks of four times the channels, the first /2         [B, H/4,  W/4,  c(24)]
    stage3    two blocks, four times, 5x5, the first /2                   [B, H/8,  W/8,  c(40)]
    stage4    three blocks, six times, the first /2                       [B, H/16, W/16, c(80)]
    stage5    two blocks, six times                                       [B, H/16, W/16, c(112)]
    stage6    three blocks, six times, 5x5, the first /2                  [B, H/32, W/32, c(160)]

where c(n) is n * width / 64, rounded to a multiple of 8. A block is `x + project(depthwise(expand(x)))`: a 1x1
convolution to more channels, a depthwise one, and a 1x1 convolution back, without activation. The sum is left out where
the shape changes.

# Choice: ReLU6 instead of hard-swish, and no squeeze-and-excitation, as in EfficientNet-Lite: activations in 0..6 fit
# 8 bits, and every layer is a convolution or a sum, which all integer runtimes have. The early stages, whose maps are
# large and take most of the time, expand less. The wide 1x1 convolution before a classifier is left out, since the
# points are read from the flattened map.
"""

import keras

from hand_tf.core.errors import InputError
from hand_tf.nets.layers import BatchNorm

# Expansion, channels at width 64, blocks, stride, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (4, 24, 2, 2, 3),
    (4, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 2, 1, 3),
    (6, 160, 3, 2, 5),
)


def scaled(channels: int, width: int) -> int:
    """`channels` of the table at `width`, a multiple of 8 (what vector units take at once), at least 8."""
    return max(8, int(channels * width / 64 + 4) // 8 * 8)


def backbone(image: keras.KerasTensor, *, width: int, stem: str) -> list[keras.KerasTensor]:
    """Wires the backbone onto a symbolic image.

    Args:
        image: KerasTensor [batch, H, W, 3], normalised.
        width: 64 gives the table's channels; those of all stages grow with it.
        stem: "imagenet", or "small" for crops up to 64 px: stage2 does not down-sample, so that the last map is twice
            as wide and high.

    Returns:
        The last map of each size after the stem's, KerasTensors; the last one is [batch, H/32, W/32, c(160)].

    Raises:
        ValueError: an unknown stem.
    """
    if stem not in ("imagenet", "small"):
        raise InputError(f"stem: expected imagenet or small, got {stem!r}")
    x, maps = convolution(image, scaled(32, width), 3, 2, "stem"), {}
    for index, (expansion, channels, blocks, stride, kernel) in enumerate(STAGES, 1):
        if stem == "small" and index == 2:
            stride = 1
        for block in range(blocks):
            name = f"stage{index}.{block}"
            x = inverted_residual(x, expansion, scaled(channels, width), stride if block == 0 else 1, kernel, name)
        maps[x.shape[1]] = x
    return list(maps.values())


def inverted_residual(
    x: keras.KerasTensor, expansion: int, channels: int, stride: int, kernel: int, name: str
) -> keras.KerasTensor:
    """A block on a symbolic map; see the module's docstring."""
    before = x
    if expansion > 1:
        x = convolution(x, expansion * x.shape[-1], 1, 1, f"{name}.expand")
    x = convolution(x, None, kernel, stride, f"{name}.depthwise")
    x = convolution(x, channels, 1, 1, f"{name}.project", activation=False)
    if stride == 1 and before.shape[-1] == channels:
        x = keras.layers.Add(name=f"{name}.add")([before, x])
    return x


def convolution(
    x: keras.KerasTensor, channels: int | None, kernel: int, stride: int, name: str, activation: bool = True
) -> keras.KerasTensor:
    """Convolution, depthwise where `channels` is None, with batch norm and perhaps ReLU6, on a symbolic map."""
    # "same" pads the far side more, unlike torch: phones pad so without a copy, and so does EfficientNet-lite0.
    settings = {"strides": stride, "padding": "same", "use_bias": False, "name": name}
    if channels is None:
        # Choice: filters that respond to both brightness and edges. With zero mean, many would hardly respond to
        # brightness, and batch norm would amplify what is left, noise and 8-bit rounding included. With positive
        # weights only, they would blur.
        initializer = keras.initializers.RandomNormal(mean=0.5 / kernel, stddev=1 / kernel)
        x = keras.layers.DepthwiseConv2D(kernel, depthwise_initializer=initializer, **settings)(x)
    else:
        x = keras.layers.Conv2D(channels, kernel, kernel_initializer="he_normal", **settings)(x)
    x = BatchNorm(name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x
