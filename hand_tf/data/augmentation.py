"""Augmentations of batches inside tf.data, vectorised over the batch; images stay uint8.

Functions that touch every pixel are compiled by XLA: one loop over the pixels replaces a dozen passes over arrays that
are larger than the caches.

A new virtual camera that differs from the old one by a rotation Q [3, 3] (`camera_rotation`) and by its focal length
sees the picture through a homography, exactly:  x_old ~ K_old Q^T K_new^-1 x_new.  Pose and view change follow:

    pose'     = pose Q^T                       (rows are joints)
    rotation' = Q_target rotation Q_source^T

Q = Z(a) is the in-plane rotation of `pretrain_aug`, clockwise on screen for a > 0. Every random function takes a
stateless `seed` int64 [2] and is a pure function of its arguments.
"""

from collections.abc import Sequence

import tensorflow as tf

from hand_tf.core import geometry

Batch = dict[str, tf.Tensor]


def in_plane(degrees: tf.Tensor) -> tf.Tensor:
    """Z(a) [batch, 3, 3] of angles [batch] in degrees."""
    angle = degrees * (3.14159265358979 / 180.0)
    return _matrices(geometry.in_plane_entries(tf.cos(angle), tf.sin(angle)))


def rotation_to_z(rays: tf.Tensor) -> tf.Tensor:
    """The smallest rotations [batch, 3, 3] that take `rays` [batch, 3] (z > 0) to the optical axis."""
    x, y, z = tf.unstack(tf.math.l2_normalize(rays, axis=-1), axis=-1)
    return _matrices(geometry.rotation_to_z_entries(x, y, z))


def _matrices(entries):
    """Nine tensors [batch], row by row, as matrices [batch, 3, 3]."""
    return tf.reshape(tf.stack(entries, -1), [-1, 3, 3])


@tf.function(jit_compile=True)
def _sampled(images, mapping):
    """`images` [batch, H, W, 3] uint8 at x_old ~ mapping [batch, 3, 3] x_new, bilinear; 0 outside."""
    height, width = images.shape[1:3]
    y, x = tf.meshgrid(tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij")
    rows = tf.unstack(mapping, axis=1)
    x, y, z = (row[:, 0, None, None] * x + row[:, 1, None, None] * y + row[:, 2, None, None] for row in rows)
    x, y = x / z, y / z
    left, top = tf.floor(x), tf.floor(y)
    pixels, total = tf.reshape(images, [-1, height * width, 3]), 0.0
    for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
        for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = tf.cast(tf.where(inside, row * width + column, 0.0), tf.int32)
            seen = tf.gather(pixels, tf.reshape(place, [-1, height * width]), batch_dims=1)
            share = tf.where(inside, share_x * share_y, 0.0)
            total += tf.reshape(share, [-1, height * width, 1]) * tf.cast(seen, tf.float32)
    return tf.reshape(tf.cast(tf.round(total), tf.uint8), tf.shape(images))


def warp(images: tf.Tensor, camera_rotation: tf.Tensor, intrinsics: tf.Tensor, new_intrinsics: tf.Tensor) -> tf.Tensor:
    """`images` [batch, H, W, 3] uint8 as the rotated virtual camera sees them; 0 where it sees beyond their border.

    Rotation and intrinsics (px) are [batch, 3, 3].
    """
    return _sampled(images, intrinsics @ tf.linalg.matrix_transpose(camera_rotation) @ tf.linalg.inv(new_intrinsics))


def _uniform(seed, number, shape, low, high):
    """Uniform in low..high; each use of one `seed` has its own `number`."""
    return tf.random.stateless_uniform(shape, tf.random.experimental.stateless_fold_in(seed, number), low, high)


def _plain_intrinsics(images):
    """Intrinsics for a rotation about the optical axis, where the focal length cancels."""
    size = tf.cast(tf.shape(images)[1], tf.float32)
    centre = (size - 1) / 2
    matrix = tf.stack([size, 0.0, centre, 0.0, size, centre, 0.0, 0.0, 1.0])
    return tf.tile(tf.reshape(matrix, [1, 3, 3]), [tf.shape(images)[0], 1, 1])


def _new_camera(batch, seed, max_degrees, scale, centre):
    """A random new virtual camera for every `source` of a batch: (rotation [batch, 3, 3], intrinsics [batch, 3, 3])."""
    K, count = batch["intrinsics"], tf.shape(batch["source"])[0]
    size = tf.cast(tf.shape(batch["source"])[1], tf.float32)
    side = tf.exp(_uniform(seed, 11, [count], tf.math.log(scale[0]), tf.math.log(scale[1])))
    shift = _uniform(seed, 12, [count, 2], -centre, centre) * size
    rays = tf.concat([shift / K[:, :1, 0], tf.ones([count, 1])], -1)
    camera_rotation = in_plane(_uniform(seed, 13, [count], -max_degrees, max_degrees)) @ rotation_to_z(rays)
    new_K = tf.concat([K[:, :2, :2] / side[:, None, None], K[:, :2, 2:]], -1)
    return camera_rotation, tf.concat([new_K, K[:, 2:]], 1)


def rotate_triplet(
    batch: Batch,
    seed: tf.Tensor,
    max_degrees: float,
    scale: tuple[float, float] = (1.0, 1.0),
    centre: float = 0.0,
) -> Batch:
    """In-plane rotations of a batch of triplets, and other boxes for its sources.

    Source, target and reference rotate independently; `placement` [batch, 3] says what became of the source's crop, see
    `point_layers.PlacePoints`; the background rotates with the target; `rotation` becomes
    Q_target rotation Q_source^T. Scale and centre vary as for `recrop`, but of the source only: so the points learn to
    be those of the crop that was meant, whatever box it was cut by.

    Args:
        batch: `source`, `target`, `background`, if there is one `reference` [batch, H, W, 3] uint8, `rotation`
            [batch, 3, 3] and the
            source's `intrinsics` [batch, 3, 3] px.
        seed, max_degrees, scale, centre: as for `recrop`.
    """
    count, K = tf.shape(batch["source"])[0], _plain_intrinsics(batch["source"])
    camera_rotation, new_K = _new_camera(batch, seed, max_degrees, scale, centre)
    changed = {"source": warp(batch["source"], camera_rotation, batch["intrinsics"], new_K)}
    changed["rotation"] = batch["rotation"] @ tf.linalg.matrix_transpose(camera_rotation)
    changed["placement"] = _placement(batch, camera_rotation, new_K)
    if not max_degrees:
        return batch | changed
    camera_rotations = {
        name: in_plane(_uniform(seed, number, [count], -max_degrees, max_degrees))
        for number, name in enumerate(("target", "reference"))
        if name in batch
    }
    camera_rotations["background"] = camera_rotations["target"]
    changed |= {name: warp(batch[name], each, K, K) for name, each in camera_rotations.items()}
    changed["rotation"] = camera_rotations["target"] @ changed["rotation"]
    return batch | changed


def _placement(batch, camera_rotation, new_intrinsics):
    """Where the old crop's centre lies in the new crop, and the new side over the old one: a placement."""
    size, axis = tf.cast(tf.shape(batch["source"])[1], tf.float32), camera_rotation[:, :, 2:]
    centre = (new_intrinsics @ axis)[..., 0]
    centre = centre[:, :2] / centre[:, 2:]
    side = batch["intrinsics"][:, 0, 0] / new_intrinsics[:, 0, 0]
    return tf.concat([(centre - (size - 1) / 2) / size, side[:, None]], -1)


def empty_scenes(batch: Batch, seed: tf.Tensor, share: float) -> Batch:
    """A random `share` of the labelled crops replaced by their empty scenes; `empty` [batch] is 1 for these, else 0.

    Args:
        batch: `source` and `source_background` [batch, H, W, 3] uint8.
        seed: int64 [2].
    """
    empty = _uniform(seed, 41, [tf.shape(batch["source"])[0]], 0.0, 1.0) < share
    source = tf.where(empty[:, None, None, None], batch["source_background"], batch["source"])
    return batch | {"source": source, "empty": tf.cast(empty, tf.float32)}


def _moved(pixels, camera_rotation, intrinsics, new_intrinsics):
    """`pixels` [batch, n, 2] px of the old crop in the new one, by its rotation and the intrinsics [batch, 3, 3]."""
    pixels = tf.concat([pixels, tf.ones_like(pixels[..., :1])], -1)
    pixels = pixels @ tf.linalg.matrix_transpose(new_intrinsics @ camera_rotation @ tf.linalg.inv(intrinsics))
    return pixels[..., :2] / pixels[..., 2:]


def recrop(batch: Batch, seed: tf.Tensor, max_degrees: float, scale: tuple[float, float], centre: float) -> Batch:
    """Labelled crops as another box would have cut them: in-plane rotation, scale and centre jitter.

    Args:
        batch: `source` [batch, H, W, 3] uint8, `intrinsics` [batch, 3, 3] px, `pose` [batch, 21, 3] mm, `joints_2d`
            [batch, 21, 2] px.
        seed: int64 [2].
        max_degrees: in-plane rotations are uniform in +-max_degrees.
        scale: (low, high) of the side of the new crop relative to the old one, log-uniform.
        centre: the centre moves uniformly by up to +-centre of the side in x and y.
    """
    camera_rotation, new_K = _new_camera(batch, seed, max_degrees, scale, centre)
    return batch | {
        "source": warp(batch["source"], camera_rotation, batch["intrinsics"], new_K),
        "joints_2d": _moved(batch["joints_2d"], camera_rotation, batch["intrinsics"], new_K),
        "intrinsics": new_K,
        "pose": batch["pose"] @ tf.linalg.matrix_transpose(camera_rotation),
    }


def box_of_joints(pixels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Centres [batch, 2] and longer sides [batch] (px) of tight boxes of `pixels` [batch, 21, 2] with weight > 0."""
    seen = weights[..., None] > 0
    low = tf.reduce_min(tf.where(seen, pixels, pixels.dtype.max), axis=1)
    high = tf.reduce_max(tf.where(seen, pixels, pixels.dtype.min), axis=1)
    return (low + high) / 2, tf.reduce_max(high - low, axis=-1)


def crop_box2d(batch: Batch, margin: float) -> Batch:
    """Labelled crops cut again about the tight 2D box of their joints, as at prediction time.

    Args:
        batch: as for `recrop`, with `joints_2d` [batch, 21, 2] px in the crop and `pose_weight` [batch, 21].
        margin: side of the new crop over the longer side of the box.

    `rotation` [batch, 3, 3] (world to virtual camera) follows, where the batch has one.
    """
    images, K = batch["source"], batch["intrinsics"]
    size = tf.cast(tf.shape(images)[1], tf.float32)
    centre, side = box_of_joints(batch["joints_2d"], batch["pose_weight"])
    rays = tf.concat([(centre - K[:, :2, 2]) / K[:, :1, 0], tf.ones_like(centre[:, :1])], -1)
    camera_rotation = rotation_to_z(rays)
    # The new axis is longer than the old one by |ray|, and with it the focal length for one scale on screen.
    zoom = size / (side * margin) * tf.norm(rays, axis=-1)
    new_K = tf.concat([K[:, :2, :2] * zoom[:, None, None], K[:, :2, 2:]], -1)
    new_K = tf.concat([new_K, K[:, 2:]], 1)
    if "rotation" in batch:
        batch = batch | {"rotation": camera_rotation @ batch["rotation"]}
    return batch | {
        "joints_2d": _moved(batch["joints_2d"], camera_rotation, K, new_K),
        "source": warp(images, camera_rotation, K, new_K),
        "intrinsics": new_K,
        "pose": batch["pose"] @ tf.linalg.matrix_transpose(camera_rotation),
    }


def colour(batch: Batch, names: Sequence[str], seed: tf.Tensor, strength: float) -> Batch:
    """One random brightness and one random gain per channel for each sample, the same for all its images `names`.

    Gains are log-uniform in 1 / (1 + strength) .. 1 + strength. The views of a triplet must share them: otherwise the
    target could not be predicted from the source.
    """
    count = tf.shape(batch[names[0]])[0]
    limit = tf.math.log1p(strength)
    gain = _uniform(seed, 21, [count, 1, 1, 1], -limit, limit) + _uniform(
        seed, 22, [count, 1, 1, 3], -limit / 2, limit / 2
    )
    gain = tf.exp(gain)
    return batch | {name: _brightened(batch[name], gain) for name in names}


@tf.function(jit_compile=True)
def _brightened(image, gain):
    return tf.cast(tf.clip_by_value(tf.cast(image, tf.float32) * gain + 0.5, 0.0, 255.0), tf.uint8)


def differs(target: tf.Tensor, background: tf.Tensor, threshold: float | tf.Tensor) -> tf.Tensor:
    """Where `target` and `background` [batch, H, W, 3] uint8 differ by more than `threshold` (of 0..1): [batch, H, W].

    This is the hand, and whatever else is not part of the empty scene.
    """
    difference = tf.abs(tf.cast(target, tf.int16) - tf.cast(background, tf.int16))
    return tf.reduce_max(difference, axis=-1) > tf.cast(threshold * 255.0, tf.int16)


def foreground(
    target: tf.Tensor, background: tf.Tensor, threshold: float, weight: float, near: tf.Tensor, equal_mean: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mask of `differs` as uint8, and pixel weights float32: `weight` inside the mask and 1 outside, times `near`.

    Args:
        target, background: [batch, H, W, 3] uint8.
        threshold, weight: see `triplets.unlabelled`.
        near: weights [H, W] of places in the crop; see `centre_weights`.
        equal_mean: divide the weights of each crop by their mean, so that a crop full of sleeve counts no more than
            one with a small hand.

    Both are [batch, H, W].
    """
    numbers = (tf.constant(number, tf.float32) for number in (threshold, weight))
    return _foreground(target, background, *numbers, near, equal_mean)


@tf.function(jit_compile=True)
def _foreground(target, background, threshold, weight, near, equal_mean):
    mask = differs(target, background, threshold)
    weights = tf.where(mask, weight, 1.0) * near
    if equal_mean:
        weights /= tf.reduce_mean(weights, axis=(1, 2), keepdims=True)
    return tf.cast(mask, tf.uint8), weights


def swap_background(batch: Batch, seed: tf.Tensor, share: float, threshold: float) -> Batch:
    """Crops in front of another scene: for a `share` of the sources, that of another crop of the batch.

    A rig has few cameras, each with one scene behind the hand. Networks learn these scenes by heart, and err more in
    front of others. What differs from the source's own scene stays, with a soft edge.

    Args:
        batch: `source` and `source_background`, the empty scene through the same map, [batch, H, W, 3] uint8.
        seed: int64 [2].
        share: of the batch, at random.
        threshold: see `differs`.
    """
    count = tf.shape(batch["source"])[0]
    step = tf.cast(_uniform(seed, 31, [], 1.0, tf.cast(tf.maximum(count, 2), tf.float32)), tf.int32)
    other = tf.roll(batch["source_background"], step, 0)
    chosen = _uniform(seed, 32, [count, 1, 1, 1], 0.0, 1.0) < share
    return batch | {"source": _before(batch["source"], batch["source_background"], other, chosen, threshold)}


@tf.function(jit_compile=True)
def _before(images, backgrounds, others, chosen, threshold):
    """`images` before `others` instead of before `backgrounds`, where `chosen`."""
    # A pixel more, for the hand's own edge is half background; and a pixel of transition.
    more = _over_neighbours(differs(images, backgrounds, threshold), tf.logical_or)
    kept = (_over_neighbours(tf.cast(more, tf.float32), tf.add) / 9)[..., None]
    mixed = kept * tf.cast(images, tf.float32) + (1 - kept) * tf.cast(others, tf.float32)
    return tf.where(chosen, tf.cast(mixed + 0.5, tf.uint8), images)


def _over_neighbours(values, combine):
    """`values` [batch, H, W] combined over 3 x 3 pixels. Shifts, because XLA's own windows are slow on a CPU."""
    padded = tf.pad(values, [[0, 0], [1, 1], [1, 1]], "SYMMETRIC")
    rows = combine(combine(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return combine(combine(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])


def centre_weights(size: int, sigma: float) -> tf.Tensor:
    """A Gaussian about the crop's centre, [size, size], `sigma` in shares of the side; all 1 where sigma is 0.

    Choice: the virtual camera looks at the hand, so sleeve, trunk and the other arm lie towards the border.
    """
    if not sigma:
        return tf.ones([size, size])
    squares = tf.square((tf.range(size, dtype=tf.float32) - (size - 1) / 2) / (sigma * size))
    return tf.exp(-0.5 * (squares[:, None] + squares))
