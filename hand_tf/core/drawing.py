"""Pictures of hands: skeletons, grids and captions, in NumPy and OpenCV. Images are RGB uint8 [H, W, 3]."""

import cv2
import numpy as np

from hand_tf.core import skeleton

# One hue a finger, thumb to little finger; the wrist is white.
FINGER_COLOURS = {
    "thumb": (240, 80, 70),
    "index": (250, 180, 40),
    "middle": (90, 200, 80),
    "ring": (60, 160, 250),
    "little": (190, 100, 240),
}
JOINT_COLOURS = ((255, 255, 255), *(FINGER_COLOURS[finger] for finger in skeleton.FINGERS for _ in range(4)))


def enlarge(image, factor):
    """The image with every pixel `factor` times as wide and high."""
    return np.repeat(np.repeat(image, factor, 0), factor, 1)


def draw_joints(image, pixels, accepted=None, thickness=1):
    """A copy of `image` with the hand's skeleton at `pixels` [21, 2]; joints not `accepted` [21] are left out."""
    image = np.ascontiguousarray(image).copy()
    drawn = (
        np.isfinite(pixels).all(-1) if accepted is None else np.isfinite(pixels).all(-1) & (np.asarray(accepted) > 0)
    )
    # Sub-pixel positions: OpenCV takes fixed-point numbers with `shift` binary digits.
    points = np.round(np.nan_to_num(pixels) * 16).astype(int)
    for parent, joint in skeleton.BONES:
        if drawn[parent] and drawn[joint]:
            ends = tuple(map(int, points[parent])), tuple(map(int, points[joint]))
            cv2.line(image, *ends, JOINT_COLOURS[joint], thickness, cv2.LINE_AA, 4)
    for joint in np.flatnonzero(drawn):
        centre = tuple(map(int, points[joint]))
        cv2.circle(image, centre, 16 * (thickness + 1), JOINT_COLOURS[joint], -1, cv2.LINE_AA, 4)
    return image


def weak_perspective(pose, size, extent=None):
    """Pixels [21, 2] of a `pose` [21, 3] mm in a square of `size` px: the z axis dropped, centred, `extent` mm wide."""
    flat = np.asarray(pose)[:, :2]
    centre = (flat.min(0) + flat.max(0)) / 2
    extent = extent or 1.3 * max(float((flat.max(0) - flat.min(0)).max()), 1e-6)
    return (flat - centre) * size / extent + (size - 1) / 2


def draw_points(points, size, extent):
    """Latent `points` [N, 3] seen along z in a square of `size` px; the nearer, the brighter."""
    image = np.full((size, size, 3), 24, np.uint8)
    pixels = np.asarray(points)[:, :2] * size / extent + (size - 1) / 2
    depth = np.clip(0.5 - np.asarray(points)[:, 2] / extent, 0, 1)
    for index in np.argsort(depth):
        colour = cv2.applyColorMap(np.uint8([[255 * depth[index]]]), cv2.COLORMAP_VIRIDIS)[0, 0, ::-1]
        centre = tuple(int(v) for v in np.round(np.clip(pixels[index], -size, 2 * size) * 16))
        cv2.circle(image, centre, 24, tuple(map(int, colour)), -1, cv2.LINE_AA, 4)
    return image


def caption(image, text, height=16):
    """The image with a line of text above it."""
    bar = np.full((height, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (2, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def grid(rows, gap=2):
    """Lays out `rows`, a list of lists of images; cells of a column are padded to one size, missing ones are white."""
    height = max(image.shape[0] for row in rows for image in row)
    width = max(image.shape[1] for row in rows for image in row)
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = gap + y * (height + gap), gap + x * (width + gap)
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def save(path, image):
    """Writes an RGB image; raises OSError if OpenCV cannot."""
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: the picture cannot be written")
