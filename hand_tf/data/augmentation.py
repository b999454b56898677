"""Augmentations of batches inside tf.data, vectorised over the batch; images stay uint8.

What touches every pixel is compiled by XLA, which makes one loop over the pixels of what would be a dozen passes over
arrays larger than the caches: five to eight times faster here, and without Python in the threads of tf.data.

A new virtual camera that differs from the old one by a rotation `turn` [3, 3] and by its focal length sees the picture
through a homography, exactly:  x_old ~ K_old turn^T K_new^-1 x_new.  What belongs to the picture turns with it:

    pose'     = pose turn^T                              (rows are joints)
    rotation' = turn_target rotation turn_source^T

`turn = Z(a)` is the in-plane rotation of `pretrain_aug`, clockwise on screen for a > 0. Every function takes a
stateless `seed` int64 [2] and is a pure function of its arguments.
"""

import tensorflow as tf


def in_plane(degrees):
    """Z(a) [batch, 3, 3] of angles [batch] in degrees."""
    a = degrees * (3.14159265358979 / 180.0)
    cos, sin, zero, one = tf.cos(a), tf.sin(a), tf.zeros_like(a), tf.ones_like(a)
    return tf.reshape(tf.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1), [-1, 3, 3])


def look_at(rays):
    """The smallest rotations [batch, 3, 3] that turn `rays` [batch, 3] (z > 0) onto the optical axis."""
    x, y, z = tf.unstack(tf.math.l2_normalize(rays, axis=-1), axis=-1)
    h = 1.0 / (1.0 + z)
    rows = [1.0 - h * x * x, -h * x * y, -x, -h * x * y, 1.0 - h * y * y, -y, x, y, z]
    return tf.reshape(tf.stack(rows, -1), [-1, 3, 3])


@tf.function(jit_compile=True)
def _sampled(images, mapping):
    """`images` [batch, H, W, 3] uint8 at x_old ~ mapping [batch, 3, 3] x_new, bilinear; 0 outside."""
    height, width = images.shape[1:3]
    y, x = tf.meshgrid(tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij")
    x, y, z = (row[:, 0, None, None] * x + row[:, 1, None, None] * y + row[:, 2, None, None] for row in _rows(mapping))
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


def _rows(matrices):
    return tf.unstack(matrices, axis=1)


def warp(images, turn, intrinsics, new_intrinsics):
    """`images` [batch, H, W, 3] uint8 as the turned virtual camera sees them; what opens up is 0."""
    return _sampled(images, intrinsics @ tf.linalg.matrix_transpose(turn) @ tf.linalg.inv(new_intrinsics))


def _uniform(seed, salt, shape, low, high):
    return tf.random.stateless_uniform(shape, tf.random.experimental.stateless_fold_in(seed, salt), low, high)


def _plain_intrinsics(images):
    """Intrinsics for a turn about the optical axis, where the focal length cancels."""
    size = tf.cast(tf.shape(images)[1], tf.float32)
    centre = (size - 1) / 2
    matrix = tf.stack([size, 0.0, centre, 0.0, size, centre, 0.0, 0.0, 1.0])
    return tf.tile(tf.reshape(matrix, [1, 3, 3]), [tf.shape(images)[0], 1, 1])


def _new_camera(batch, seed, max_degrees, scale, centre):
    """A random new virtual camera for every `source` of a batch: (turn [batch, 3, 3], intrinsics [batch, 3, 3])."""
    K, count = batch["intrinsics"], tf.shape(batch["source"])[0]
    size = tf.cast(tf.shape(batch["source"])[1], tf.float32)
    side = tf.exp(_uniform(seed, 11, [count], tf.math.log(scale[0]), tf.math.log(scale[1])))
    shift = _uniform(seed, 12, [count, 2], -centre, centre) * size
    rays = tf.concat([shift / K[:, :1, 0], tf.ones([count, 1])], -1)
    turn = in_plane(_uniform(seed, 13, [count], -max_degrees, max_degrees)) @ look_at(rays)
    new_K = tf.concat([K[:, :2, :2] / side[:, None, None], K[:, :2, 2:]], -1)
    return turn, tf.concat([new_K, K[:, 2:]], 1)


def turn_triplet(batch, seed, max_degrees, scale=(1.0, 1.0), centre=0.0):
    """In-plane rotations of a batch of triplets, and other boxes for its sources.

    Source, target and reference turn independently; the background turns with the target; `rotation` becomes
    turn_target rotation turn_source^T. Scale and centre of the source alone vary as for `recrop`, so that the points
    learn to be those of the crop that was meant, whatever box cut it.
    """
    count, K = tf.shape(batch["source"])[0], _plain_intrinsics(batch["source"])
    turn, new_K = _new_camera(batch, seed, max_degrees, scale, centre)
    turned = {"source": warp(batch["source"], turn, batch["intrinsics"], new_K)}
    turned["rotation"] = batch["rotation"] @ tf.linalg.matrix_transpose(turn)
    if not max_degrees:
        return batch | turned
    turns = {
        name: in_plane(_uniform(seed, salt, [count], -max_degrees, max_degrees))
        for salt, name in enumerate(("target", "reference"))
    }
    turns["background"] = turns["target"]
    turned |= {name: warp(batch[name], turns[name], K, K) for name in turns}
    turned["rotation"] = turns["target"] @ turned["rotation"]
    return batch | turned


def recrop(batch, seed, max_degrees, scale, centre):
    """Labelled crops as another box would have cut them: in-plane rotation, scale and centre jitter.

    Args:
        batch: `source` [batch, H, W, 3] uint8, `intrinsics` [batch, 3, 3] px, `pose` [batch, 21, 3] mm.
        seed: int64 [2].
        max_degrees: in-plane rotations are uniform in +-max_degrees.
        scale: (low, high) of the side of the new crop relative to the old one, log-uniform.
        centre: the centre moves uniformly by up to +-centre of the side in x and y.
    """
    turn, new_K = _new_camera(batch, seed, max_degrees, scale, centre)
    return batch | {
        "source": warp(batch["source"], turn, batch["intrinsics"], new_K),
        "intrinsics": new_K,
        "pose": batch["pose"] @ tf.linalg.matrix_transpose(turn),
    }


def box_of_joints(pixels, weights):
    """Centres [batch, 2] and longer sides [batch] (px) of tight boxes of `pixels` [batch, 21, 2] with weight > 0."""
    seen = weights[..., None] > 0
    low = tf.reduce_min(tf.where(seen, pixels, pixels.dtype.max), axis=1)
    high = tf.reduce_max(tf.where(seen, pixels, pixels.dtype.min), axis=1)
    return (low + high) / 2, tf.reduce_max(high - low, axis=-1)


def crop_box2d(batch, margin):
    """Labelled crops cut again about the tight 2D box of their joints, as at prediction time.

    Args:
        batch: as for `recrop`, with `joints_2d` [batch, 21, 2] px in the crop and `pose_weight` [batch, 21].
        margin: side of the new crop over the longer side of the box.
    """
    images, K = batch["source"], batch["intrinsics"]
    size = tf.cast(tf.shape(images)[1], tf.float32)
    centre, side = box_of_joints(batch["joints_2d"], batch["pose_weight"])
    rays = tf.concat([(centre - K[:, :2, 2]) / K[:, :1, 0], tf.ones_like(centre[:, :1])], -1)
    turn = look_at(rays)
    # The new axis is longer than the old one by |ray|, and with it the focal length for one scale on screen.
    zoom = size / (side * margin) * tf.norm(rays, axis=-1)
    new_K = tf.concat([K[:, :2, :2] * zoom[:, None, None], K[:, :2, 2:]], -1)
    new_K = tf.concat([new_K, K[:, 2:]], 1)
    pixels = tf.concat([batch["joints_2d"], tf.ones_like(batch["joints_2d"][..., :1])], -1)
    pixels = pixels @ tf.linalg.matrix_transpose(new_K @ turn @ tf.linalg.inv(K))
    return batch | {
        "joints_2d": pixels[..., :2] / pixels[..., 2:],
        "source": warp(images, turn, K, new_K),
        "intrinsics": new_K,
        "pose": batch["pose"] @ tf.linalg.matrix_transpose(turn),
    }


def colour(batch, names, seed, strength):
    """One random brightness and one random gain a channel for a sample, the same for all its images `names`.

    Gains are log-uniform in 1 / (1 + strength) .. 1 + strength. Views of one triplet must share them: the target could
    not be predicted from the source otherwise.
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


def moved(target, background, threshold):
    """Where `target` and `background` [batch, H, W, 3] uint8 differ by more than `threshold` (of 0..1): [batch, H, W].

    The hand, and whatever else was not there when the scene was empty; a mask that nobody annotated.
    """
    difference = tf.abs(tf.cast(target, tf.int16) - tf.cast(background, tf.int16))
    return tf.reduce_max(difference, axis=-1) > tf.cast(threshold * 255.0, tf.int16)


def foreground(target, background, threshold, weight):
    """What `moved`, as a mask uint8, and pixel weights float32, `weight` there and 1 elsewhere: both [batch, H, W]."""
    return _foreground(target, background, tf.constant(threshold, tf.float32), tf.constant(weight, tf.float32))


@tf.function(jit_compile=True)
def _foreground(target, background, threshold, weight):
    mask = moved(target, background, threshold)
    return tf.cast(mask, tf.uint8), tf.where(mask, weight, 1.0)
