"""The networks, as Functional models with dicts in and dicts out.

    encoder    image [B, H, W, 3] uint8           -> points [B, N, 3], appearance [B, A]
    decoder    points, appearance, background     -> image [B, H, W, 3] in 0..1, mask [B, H, W, 1]
    pose_head  points [B, N, 3]                   -> pose [B, 21, 3] mm

and their wirings: `novel_view` (Paper: Fig. 1), `pose_estimator` (Fig. 2a) and `joint` (Fig. 2b). Sub-models are shared
by reference, so that training a wiring trains its parts, and each part is saved on its own.
"""

import keras
from keras import layers as kl

from hand_tf.core import skeleton
from hand_tf.nets import layers, mobile, resnet

BACKBONES = ("resnet18", "mobile")


def encoder(
    image_size: int,
    *,
    backbone: str,
    width: int,
    num_points: int,
    appearance_size: int,
    stem: str,
    normalize_points: bool,
) -> keras.Model:
    """An encoder: a backbone whose last map gives the points and the appearance.

    Args:
        image_size: px, a multiple of 32.
        backbone: `resnet18`, or `mobile`, an eighth of its arithmetic; see `resnet.resnet18` and `mobile.backbone`.
        width: channels of ResNet-18's first stage; 64 is the published one. `mobile` grows in proportion.
        num_points, appearance_size: N and A.
        stem: `imagenet`, or `small`, half the down-sampling, for small crops.
        normalize_points: give the points of every image the same overall scale; see `layers.NormalizePoints`.

    Raises:
        ValueError: an image_size, backbone or stem that cannot be.
    """
    if image_size % 32:
        raise ValueError(f"image_size {image_size}: expected a multiple of 32 px")
    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    normalized = layers.NormalizeImage(name="normalize")(image)
    if backbone == "resnet18":
        last_map = resnet.resnet18(normalized, width=width, stem=stem)["layer4"]
    elif backbone == "mobile":
        last_map = mobile.backbone(normalized, width=width, stem=stem)
    else:
        raise ValueError(f"backbone {backbone!r}: expected {' or '.join(BACKBONES)}")
    # Choice: flattened, not averaged: the points depend on where in the crop a finger is.
    flat = kl.Flatten(name="flatten")(last_map)
    points = kl.Reshape((num_points, 3), name="points_3d")(kl.Dense(3 * num_points, name="points_dense")(flat))
    if normalize_points:
        points = layers.NormalizePoints(name="normalize_points")(points)
    pooled = kl.GlobalAveragePooling2D(name="pool")(last_map)
    appearance = kl.Dense(appearance_size, name="appearance_dense")(pooled)
    return keras.Model(image, {"points": points, "appearance": appearance}, name="encoder")


def _conv_block(x, channels, name):
    x = kl.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return kl.ReLU(name=f"{name}_relu")(layers.BatchNorm(name=f"{name}_bn")(x))


def _dense_map(points, size, channels, hidden):
    """Points to a feature map by fully connected layers, as Rhodin et al. do; `hidden` units between, 0 for none."""
    x = kl.Flatten(name="flatten")(points)
    if hidden:
        x = kl.Dense(hidden, activation="relu", name="hidden")(x)
    x = kl.Reshape((size, size, channels), name="map")(kl.Dense(size * size * channels, name="to_map")(x))
    return kl.ReLU(name="map_relu")(layers.BatchNorm(name="map_bn")(x))


def _first_map(points, appearance, size, width, points_to_map, hidden):
    """The decoder's first map [batch, size, size, channels], of rotated points and appearance."""
    if points_to_map == "splat":
        x = layers.SplatPoints(size, name="splat")(points)
    else:
        x = _dense_map(points, size, 4 * width, hidden)
    # As in Rhodin et al., the appearance is the same everywhere on the first map.
    look = kl.Dense(2 * width, activation="relu", name="look")(appearance)
    look = kl.Reshape((size, size, 2 * width), name="look_map")(kl.RepeatVector(size * size, name="tile")(look))
    return kl.Concatenate(name="with_appearance")([x, look])


def decoder(
    image_size: int,
    *,
    width: int,
    num_points: int,
    appearance_size: int,
    points_to_map: str,
    hidden: int,
    convolutions: int,
    composite: bool,
) -> keras.Model:
    """A convolutional decoder of rotated points, appearance and the empty scene.

    Args:
        image_size: px, a multiple of 8.
        width: channels of the last stage; every stage before has twice as many, up to four times.
        num_points, appearance_size: N and A.
        points_to_map: `dense`, fully connected to a map of image_size / 8 (Rhodin: 16 px to 128 px in three stages);
            `splat`, drawn where they are on a map of image_size / 4, see `layers.SplatPoints`.
            # Choice: with `splat` a rotated point is a moved dot; the decoder need not learn that.
        hidden: with `dense`, units of a layer before the map, 0 for none.
        convolutions: 3x3 convolutions per stage.
        composite: decode a mask and blend the hand over the background with it; otherwise the background's features
            join the last stage, as in Rhodin et al., and there is no mask.
    """
    # --- inputs
    points = keras.Input((num_points, 3), name="points")
    appearance = keras.Input((appearance_size,), name="appearance")
    background = keras.Input((image_size, image_size, 3), dtype="uint8", name="background")
    scene = layers.NormalizeImage(scale_only=True, dtype="float32", name="scale_background")(background)

    # --- stages, each of twice the size of the one before
    stages = 2 if points_to_map == "splat" else 3
    x = _first_map(points, appearance, image_size // 2**stages, width, points_to_map, hidden)
    for stage in range(stages + 1):
        channels = width * min(4, 2 ** (stages - stage))
        if stage:
            x = kl.UpSampling2D(interpolation="bilinear", name=f"up{stage}")(x)
        for i in range(convolutions):
            if stage == stages and i == convolutions - 1 and not composite:
                x = kl.Concatenate(name="with_background")([x, _conv_block(scene, width, "background")])
            x = _conv_block(x, channels, f"stage{stage}.{i}")

    # --- picture and model
    foreground = kl.Conv2D(3, 1, activation="sigmoid", dtype="float32", name="foreground")(x)
    outputs = {"image": foreground}
    if composite:
        mask = kl.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="mask")(x)
        blended = layers.CompositeBackground(dtype="float32", name="composite")([foreground, mask, scene])
        outputs = {"image": blended, "mask": mask}
    return keras.Model({"points": points, "appearance": appearance, "background": background}, outputs, name="decoder")


def pose_head(num_points: int, *, width: int, depth: int, dropout: float) -> keras.Model:
    """The map from points to joints, fully connected (Paper: Sec. 2.3; sizes of Rhodin et al.). Predicts in mm.

    Args:
        num_points: N.
        width, depth, dropout: units of a hidden layer, number of hidden layers, and the dropout after each.
    """
    points = keras.Input((num_points, 3), name="points")
    x = kl.Flatten(name="flatten")(points)
    # Choice: the points have no scale of their own. Normalised, one learning rate fits every encoder.
    x = layers.BatchNorm(name="points_bn")(x)
    for i in range(depth):
        x = kl.Dense(width, use_bias=False, name=f"hidden{i}")(x)
        x = kl.ReLU(name=f"relu{i}")(layers.BatchNorm(name=f"bn{i}")(x))
        x = kl.Dropout(dropout, name=f"dropout{i}")(x)
    x = kl.Dense(3 * skeleton.NUM_JOINTS, dtype="float32", name="standardised")(x)
    return keras.Model(points, {"pose": layers.UnstandardizePose(dtype="float32", name="pose")(x)}, name="pose_head")


def _view_inputs(image_size):
    shape = (image_size, image_size, 3)
    inputs = {name: keras.Input(shape, dtype="uint8", name=name) for name in ("source", "reference", "background")}
    return inputs | {"rotation": keras.Input((3, 3), name="rotation")}


def _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout):
    # Paper: Sec. 2.2. Only the points of the source and only the appearance of the reference are used.
    points = encoder_model(inputs["source"])["points"]
    appearance = encoder_model(inputs["reference"])["appearance"]
    if latent_dropout:
        points = kl.Dropout(latent_dropout, name="latent_dropout")(points)
    rotated = layers.RotatePoints(name="rotate")([points, inputs["rotation"]])  # Paper: Eq. 1
    decoded = decoder_model({"points": rotated, "appearance": appearance, "background": inputs["background"]})
    # The same picture under a second name, because each loss belongs to a name.
    return decoded | {"features": kl.Identity(dtype="float32", name="features")(decoded["image"])}


def novel_view(encoder_model: keras.Model, decoder_model: keras.Model, latent_dropout: float) -> keras.Model:
    """source, reference, rotation, background -> image, features (the same, for the feature loss), and the mask.

    `latent_dropout` is that of the points before they are rotated.
    """
    inputs = _view_inputs(encoder_model.input.shape[1])
    outputs = _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout)
    return keras.Model(inputs, outputs, name="novel_view")


def pose_estimator(
    encoder_model: keras.Model, pose_head_model: keras.Model, frozen_encoder: bool = False
) -> keras.Model:
    """source -> pose (mm) and points. A frozen encoder runs in inference mode: its statistics must not drift."""
    source = keras.Input(encoder_model.input.shape[1:], dtype="uint8", name="source")
    points = encoder_model(source, training=False if frozen_encoder else None)["points"]
    return keras.Model({"source": source}, pose_head_model(points), name="pose_estimator")


def joint(
    encoder_model: keras.Model, decoder_model: keras.Model, pose_head_model: keras.Model, latent_dropout: float
) -> keras.Model:
    """Novel views of the unlabelled triplets and poses of the `labelled` images in one step; see `novel_view`."""
    inputs = _view_inputs(encoder_model.input.shape[1])
    outputs = _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout)
    labelled = keras.Input(encoder_model.input.shape[1:], dtype="uint8", name="labelled")
    outputs |= pose_head_model(encoder_model(labelled)["points"])
    return keras.Model(inputs | {"labelled": labelled}, outputs, name="joint")
