"""The networks, as Functional models with dicts in and dicts out.

    encoder    image [B, H, W, 3] uint8           -> points [B, N, 3], appearance [B, A]
    decoder    points, appearance, background     -> image [B, H, W, 3] in 0..1, mask [B, H, W, 1]
    pose_head  points [B, N, 3]                   -> pose [B, 21, 3] mm, joints_2d [B, 21, 2] px of the crop
    confidence points, appearance                 -> joint_error [B, 21] mm

and their wirings: `novel_view` (Paper: Fig. 1), `pose_estimator` (Fig. 2a) and `joint` (Fig. 2b). Sub-models are shared
by reference, so that training a wiring trains its parts, and each part is saved on its own.
"""

import keras
from keras import layers as kl

from hand_tf.core import skeleton
from hand_tf.core.errors import InputError
from hand_tf.nets import layers, mobile, point_layers, pose_layers, resnet

BACKBONES = ("resnet18", "mobile")
POINTS, HEADS = ("dense", "heatmaps"), ("mlp", "linear")


def encoder(
    image_size: int,
    *,
    backbone: str,
    width: int,
    num_points: int,
    appearance_size: int,
    stem: str,
    points: str,
    normalize_points: bool,
) -> keras.Model:
    """An encoder: a backbone whose last map gives the points and the appearance.

    Args:
        image_size: px, a multiple of 32.
        backbone: `resnet18`, or `mobile`, an eighth of its arithmetic; see `resnet.resnet18` and `mobile.backbone`.
        width: channels of ResNet-18's first stage; 64 is the published one. `mobile` grows in proportion.
        num_points, appearance_size: N and A.
        stem: `imagenet`, or `small`, half the down-sampling, for small crops.
        points: `dense`, fully connected to the last map, or `heatmaps`, the mean places of heat maps in the crop; see
            `point_layers.HeatmapPoints`.
        normalize_points: give the dense points of every image the same overall scale; see
            `point_layers.NormalizePoints`.

    Raises:
        ValueError: an image_size, backbone or stem that cannot be.
    """
    if image_size % 32:
        raise InputError(f"image_size {image_size}: expected a multiple of 32 px")
    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    normalized = layers.NormalizeImage(name="normalize")(image)
    if backbone == "resnet18":
        maps = list(resnet.resnet18(normalized, width=width, stem=stem).values())
    elif backbone == "mobile":
        maps = mobile.backbone(normalized, width=width, stem=stem)
    else:
        raise InputError(f"backbone {backbone!r}: expected {' or '.join(BACKBONES)}")
    if points == "heatmaps":
        latent = _heatmap_points(maps[-3:], num_points, 4 * width)
    elif points == "dense":
        latent = _dense_points(maps[-1], num_points, normalize_points)
    else:
        raise InputError(f"points {points!r}: expected {' or '.join(POINTS)}")
    pooled = kl.GlobalAveragePooling2D(name="pool")(maps[-1])
    appearance = kl.Dense(appearance_size, name="appearance_dense")(pooled)
    return keras.Model(image, {"points": latent, "appearance": appearance}, name="encoder")


def _dense_points(last_map, num_points, normalize_points):
    # Choice: flattened, not averaged: the points depend on where in the crop a finger is.
    flat = kl.Flatten(name="flatten")(last_map)
    points = kl.Reshape((num_points, 3), name="points_3d")(kl.Dense(3 * num_points, name="points_dense")(flat))
    return point_layers.NormalizePoints(name="normalize_points")(points) if normalize_points else points


def _heatmap_points(maps, num_points, channels):
    """Points from three maps, each half the size of the one before, merged on the largest (Lin et al., CVPR 2017)."""
    x = None
    for level, each in enumerate(reversed(maps)):
        each = kl.Conv2D(channels, 1, name=f"lateral{level}")(each)
        x = each if x is None else kl.Add(name=f"merge{level}")([each, kl.UpSampling2D(name=f"larger{level}")(x)])
    x = _conv_block(x, channels, "pyramid")
    return point_layers.HeatmapPoints(name="heatmap_points")(kl.Conv2D(2 * num_points, 1, name="heatmaps")(x))


def places_points(encoder_model: keras.Model) -> bool:
    """Whether the encoder's points are places in its crop: not if each image's are scaled to one size."""
    return all(layer.name != "normalize_points" for layer in encoder_model.layers)


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
        x = point_layers.SplatPoints(size, name="splat")(points)
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
            `splat`, drawn where they are on a map of image_size / 4, see `point_layers.SplatPoints`.
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


def pose_head(
    num_points: int, image_size: int, *, kind: str, width: int, depth: int, dropout: float, places: bool = False
) -> keras.Model:
    """The map from points to joints: `pose` in mm and `joints_2d` in px of the crop.

    Args:
        num_points: N.
        image_size: side of the crop, px.
        kind: `mlp`, fully connected (Paper: Sec. 2.3; sizes of Rhodin et al.), or `linear`, see
            `pose_layers.LinearPose`.
        width, depth, dropout: of `mlp`: units of a hidden layer, number of hidden layers, and the dropout after each.
        places: whether the points are places in the crop, see `places_points`: `linear` then brings them to one size.

    Raises ValueError for another kind.
    """
    if kind not in HEADS:
        raise InputError(f"kind {kind!r}: expected {' or '.join(HEADS)}")
    points = keras.Input((num_points, 3), name="points")
    if kind == "linear":
        shape = points
        if places:  # The size of a hand in the crop depends on the box; its pose does not.
            shape = point_layers.NormalizePoints(name="normalize_points")(
                point_layers.CentrePoints(name="centre_points")(points)
            )
        outputs = {
            "pose": pose_layers.LinearPose(name="pose")(shape),
            "joints_2d": pose_layers.JointsInCrop(image_size, name="joints_2d")(points),
        }
        return keras.Model(points, outputs, name="pose_head")
    x = kl.Flatten(name="flatten")(points)
    # Choice: the points have no scale of their own. Normalised, one learning rate fits every encoder.
    x = layers.BatchNorm(name="points_bn")(x)
    for i in range(depth):
        x = kl.Dense(width, use_bias=False, name=f"hidden{i}")(x)
        x = kl.ReLU(name=f"relu{i}")(layers.BatchNorm(name=f"bn{i}")(x))
        x = kl.Dropout(dropout, name=f"dropout{i}")(x)
    pose = kl.Dense(3 * skeleton.NUM_JOINTS, dtype="float32", name="standardised")(x)
    places = kl.Dense(2 * skeleton.NUM_JOINTS, dtype="float32", name="places")(x)
    places = kl.Reshape((skeleton.NUM_JOINTS, 2), dtype="float32", name="places_2d")(places)
    outputs = {
        "pose": pose_layers.UnstandardizePose(dtype="float32", name="pose")(pose),
        "joints_2d": kl.Rescaling(image_size / 4, (image_size - 1) / 2, dtype="float32", name="joints_2d")(places),
    }
    return keras.Model(points, outputs, name="pose_head")


def confidence(num_points: int, appearance_size: int, width: int = 128) -> keras.Model:
    """The map from what an encoder gives to `joint_error` [batch, 21] mm: how far off each joint is to be expected.

    `width` is the number of units of its hidden layer.
    """
    points = keras.Input((num_points, 3), name="points")
    appearance = keras.Input((appearance_size,), name="appearance")
    x = kl.Concatenate(name="points_and_appearance")([kl.Flatten(name="flatten")(points), appearance])
    x = layers.BatchNorm(name="inputs_bn")(x)
    x = kl.ReLU(name="hidden_relu")(layers.BatchNorm(name="hidden_bn")(kl.Dense(width, name="hidden")(x)))
    x = kl.Dense(skeleton.NUM_JOINTS, dtype="float32", name="log_error")(x)
    outputs = {"joint_error": pose_layers.ExpectedError(name="joint_error")(x)}
    return keras.Model({"points": points, "appearance": appearance}, outputs, name="confidence")


def _view_inputs(image_size, encode_once):
    shape, names = (image_size, image_size, 3), ("source", "background", *(() if encode_once else ("reference",)))
    inputs = {name: keras.Input(shape, dtype="uint8", name=name) for name in names}
    return inputs | {"rotation": keras.Input((3, 3), name="rotation"), "placement": keras.Input((3,), name="placement")}


def _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout):
    # Paper: Sec. 2.2. Only the points of the source and only the appearance of the reference are used.
    encoded = encoder_model(inputs["source"])
    points = encoded["points"]
    if "reference" in inputs:
        appearance = encoder_model(inputs["reference"])["appearance"]
    else:
        appearance = point_layers.SwapPartners(name="swap_partners")(encoded["appearance"])
    if places_points(encoder_model):
        points = point_layers.PlacePoints(name="place_points")([points, inputs["placement"]])
    if latent_dropout:
        points = point_layers.DropPoints(latent_dropout, name="latent_dropout")(points)
    rotated = point_layers.RotatePoints(name="rotate")([points, inputs["rotation"]])  # Paper: Eq. 1
    decoded = decoder_model({"points": rotated, "appearance": appearance, "background": inputs["background"]})
    # The same picture under a second name, because each loss belongs to a name.
    return decoded | {"features": kl.Identity(dtype="float32", name="features")(decoded["image"])}


def novel_view(
    encoder_model: keras.Model, decoder_model: keras.Model, latent_dropout: float, encode_once: bool = False
) -> keras.Model:
    """source, reference, background, rotation, placement -> image, features (the image again, for its loss), and mask.

    `placement`, see `point_layers.PlacePoints`, only counts for points that are places in the crop.

    With `encode_once` there is no reference: the source of a sample is also the reference of its partner in the batch
    (samples 0 and 1, 2 and 3, ...), so that every picture is encoded once for two roles, as Rhodin et al. do.

    `latent_dropout` is the share of the points that a training step drops, whole, before they are rotated.
    """
    inputs = _view_inputs(encoder_model.input.shape[1], encode_once)
    outputs = _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout)
    return keras.Model(inputs, outputs, name="novel_view")


def pose_estimator(
    encoder_model: keras.Model,
    pose_head_model: keras.Model,
    frozen_encoder: bool = False,
    confidence_model: keras.Model | None = None,
) -> keras.Model:
    """source -> pose (mm), joints_2d (px), and joint_error (mm) if there is a `confidence_model`.

    A frozen encoder runs in inference mode: its statistics must not drift.
    """
    source = keras.Input(encoder_model.input.shape[1:], dtype="uint8", name="source")
    encoded = encoder_model(source, training=False if frozen_encoder else None)
    outputs = dict(pose_head_model(encoded["points"]))
    if confidence_model is not None:
        outputs |= confidence_model({name: encoded[name] for name in ("points", "appearance")})
    return keras.Model({"source": source}, outputs, name="pose_estimator")


def judged_estimator(
    encoder_model: keras.Model, pose_head_model: keras.Model, confidence_model: keras.Model
) -> keras.Model:
    """source -> pose, joints_2d and `judged` [batch, 21, 4]: for the loss of a `confidence_model`, the pose (mm) and
    its joint_error (mm) side by side. Only the confidence model trains.
    """
    source = keras.Input(encoder_model.input.shape[1:], dtype="uint8", name="source")
    encoded = encoder_model(source, training=False)
    outputs = dict(pose_head_model(encoded["points"], training=False))
    judged = confidence_model({name: encoded[name] for name in ("points", "appearance")})["joint_error"]
    judged = kl.Reshape((skeleton.NUM_JOINTS, 1), dtype="float32", name="joint_error_column")(judged)
    outputs["judged"] = kl.Concatenate(dtype="float32", name="judged")([outputs["pose"], judged])
    return keras.Model({"source": source}, outputs, name="judged_estimator")


def joint(
    encoder_model: keras.Model,
    decoder_model: keras.Model,
    pose_head_model: keras.Model,
    latent_dropout: float,
    encode_once: bool = False,
) -> keras.Model:
    """Novel views of the unlabelled triplets and poses of the `labelled` images in one step; see `novel_view`."""
    inputs = _view_inputs(encoder_model.input.shape[1], encode_once)
    outputs = _novel_view_outputs(encoder_model, decoder_model, inputs, latent_dropout)
    labelled = keras.Input(encoder_model.input.shape[1:], dtype="uint8", name="labelled")
    outputs |= pose_head_model(encoder_model(labelled)["points"])
    return keras.Model(inputs | {"labelled": labelled}, outputs, name="joint")
