"""Appearance of walls and floors: procedural patterns that can be evaluated at any point (u, v) mm.

    noise(u, v, s)      smooth random field in -1..1 with bumps of s mm; fades out where a pixel is wider than a bump
    cover(d, w)         = clip(1/2 - d / w, 0, 1): the fraction of a pixel w mm wide in which the signed distance d < 0

Every pattern is made of signed distances to its edges. Edges are smoothed over the footprint of a pixel, so no
supersampling is needed at any resolution. Colours are reflectances; lamps and windows exceed 1.

All patterns take a surface `s`, noise `n`, points `u`, `v` [n] mm and pixel widths `w` [n] mm; they return colours
[n, 3].
"""

import colorsys
import dataclasses

import cv2
import numpy as np

_SIDE, _PAD = 256, 4
KINDS = ("panels", "wood", "bricks", "fabric", "foam", "shelf", "plaster", "pegboard")
FLOORS = ("wood", "tiles", "carpet", "plaster")


class Noise:
    """The random numbers of one room: `smooth` fields over the plane, and `cell` values for integer indices."""

    def __init__(self, rng: np.random.Generator) -> None:
        table = rng.uniform(-1, 1, (_SIDE, _SIDE)).astype(np.float32)
        self.table = np.pad(table, _PAD, mode="wrap")
        self.values = rng.random(4096).astype(np.float32)

    def cell(self, i: np.ndarray, j: np.ndarray, k: int = 0) -> np.ndarray:
        """Values [n] in 0..1 of the cells `i`, `j` [n] (whole numbers); different `k` give different values."""
        return self.values[(i.astype(np.int64) * 127 + np.int64(311) * j.astype(np.int64) + 911 * k) & 4095]

    def smooth(self, u: np.ndarray, v: np.ndarray, scale: float | tuple[float, float], width: np.ndarray) -> np.ndarray:
        """Noise [n] at (u, v) [n] mm with bumps of `scale` mm (one number, or two: along u and v)."""
        across, along = np.broadcast_to(scale, 2)
        fade = np.clip(min(across, along) / width - 0.7, 0, 1)
        if not fade.any():
            return fade
        count, columns = len(u), 1024  # cv2.remap takes no picture longer than 32767
        maps = np.zeros((2, -(-count // columns) * columns), np.float32)
        for row, (value, size) in zip(maps, ((u, across), (v, along)), strict=True):
            periods = value * np.float32(1 / (size * _SIDE))
            row[:count] = (periods - np.floor(periods)) * _SIDE + _PAD / 2  # several times faster than np.mod
        x, y = maps.reshape(2, -1, columns)
        return fade * cv2.remap(self.table, x, y, cv2.INTER_CUBIC).ravel()[:count]

    def rough(
        self,
        u: np.ndarray,
        v: np.ndarray,
        scale: float | tuple[float, float],
        width: np.ndarray,
        octaves: int = 3,
    ) -> np.ndarray:
        """Sum [n] of `octaves` of noise, the first with bumps of `scale` mm, each next one half as large and strong."""
        parts = (self.smooth(u + 131 * k, v - 57 * k, np.divide(scale, 2**k), width) / 2**k for k in range(octaves))
        return sum(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """A wall or floor: a pattern of some `kind` with `colours` [4, 3] and cells of `cell` [2] mm, and its decals.

    `key` selects the random values of its cells.
    """

    kind: str
    colours: np.ndarray
    cell: np.ndarray
    key: int
    decals: tuple


def muted(rng: np.random.Generator) -> np.ndarray:
    """A random greyish indoor colour [3]."""
    warm, green = rng.uniform(-0.08, 0.14), rng.uniform(-0.02, 0.04)
    return rng.uniform(0.2, 0.8) * np.array([1 + warm, 1 + green, 1 - warm])


def colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour [3] of an object: mostly muted, sometimes dark, similar to skin, or saturated."""
    kind = rng.choice(4, p=[0.5, 0.17, 0.18, 0.15])
    if kind == 0:
        return muted(rng)
    if kind == 1:
        return rng.uniform(0.04, 0.14) + rng.uniform(-0.02, 0.02, 3)
    if kind == 2:  # from dark to light skin, with cardboard and wood in between
        dark, light = np.array([0.36, 0.23, 0.17]), np.array([0.86, 0.68, 0.57])
        return np.clip(dark + rng.random() * (light - dark) + rng.uniform(-0.04, 0.04, 3), 0, 1)
    hue = rng.choice([0.0, 0.04, 0.09, 0.14, 0.33, 0.47, 0.57, 0.61, 0.65, 0.92]) + rng.uniform(-0.02, 0.02)
    return np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.4, 0.78), rng.uniform(0.3, 0.78)))


def wood_colours(rng: np.random.Generator) -> np.ndarray:
    """Two similar random browns [2, 3], anywhere from pale to dark wood."""
    brown = np.array([0.72, 0.54, 0.37]) * rng.uniform(0.45, 1.1) + rng.uniform(-0.04, 0.04, 3)
    return np.clip(np.stack([brown, brown * rng.uniform(0.7, 0.9)]), 0.05, 0.95)


def cover(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Fraction [n] of a pixel `width` mm wide in which the signed `distance` (mm) is negative."""
    return np.clip(0.5 - distance / width, 0, 1)


def mix(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours [n, 3]: `above` ([3] or [n, 3]) over `below` [n, 3] with opacity `share` [n]."""
    return below + share[:, None] * (np.asarray(above, np.float32) - below)


def tile(u: np.ndarray, size: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Index of the cell of `size` mm that contains `u` mm, and the position within it, from -size/2 to size/2."""
    index = np.floor(u / size)
    return index, u - (index + 0.5) * size


def shades(values: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Colours [n, 3]: one colour `rgb` [3] times the brightness `values` [n]."""
    return values[:, None] * np.asarray(rgb, np.float32)


def _panels(s, n, u, v, w):
    """Painted boards with seams and bolts, and a camera, a plate or nothing in the middle of each."""
    (i, x), (j, y) = tile(u, s.cell[0]), tile(v, s.cell[1])
    tint = 1 + 0.16 * (n.cell(i, j, s.key) - 0.5) + 0.06 * n.rough(u, v, 300, w) + 0.05 * n.rough(u, v, 12, w, 2)
    base = mix(shades(tint, s.colours[0]), s.colours[1] * tint[:, None], (n.cell(i, j, s.key + 1) < 0.2) * 1.0)
    gaps = s.cell[0] / 2 - np.abs(x), s.cell[1] / 2 - np.abs(y)
    base = mix(base, s.colours[0] * 0.3, 0.8 * cover(np.minimum(*gaps) - 3, w))
    bolt = np.hypot(gaps[0] - 32, gaps[1] - 32)
    base = mix(base, np.full(3, 0.32), cover(bolt - 11, w))
    base = mix(base, np.full(3, 0.62), cover(np.hypot(gaps[0] - 30, gaps[1] - 34) - 5, w))
    what, large = n.cell(i, j, s.key + 2), 26 + 26 * n.cell(i, j, s.key + 3)
    x, y = x - 120 * (n.cell(i, j, s.key + 4) - 0.5), y - 120 * (n.cell(i, j, s.key + 5) - 0.5)
    lens, radius = (what < 0.45) * 1.0, np.hypot(x, y)
    base = mix(base, np.full(3, 0.2), lens * cover(radius - 1.45 * large, w))
    base = mix(base, np.full(3, 0.035), lens * cover(radius - large, w))
    base = mix(
        base, [0.55, 0.6, 0.7], 0.8 * lens * cover(np.hypot(x + 0.35 * large, y + 0.35 * large) - 0.22 * large, w)
    )
    plate = (what > 0.72) * cover(np.maximum(np.abs(x) - 1.7 * large, np.abs(y) - large), w)
    base = mix(base, s.colours[2], plate)
    return mix(base, s.colours[3], plate * cover(np.abs(np.abs(y) - 0.4 * large) - 4, w))


def _wood(s, n, u, v, w):
    """Planks along v, each with its own grain; in grey they look like brushed metal."""
    i, x = tile(u, s.cell[0])
    j, y = tile(v + 617 * n.cell(i, i, s.key), 4 * s.cell[1])
    shift = 997 * n.cell(i, j, s.key + 1)
    bend = 14 * n.smooth(u + shift, v, (120, 420), w)
    grain = n.rough(u + bend + shift, v + shift, (26, 700), w, 4) + 0.4 * n.smooth(u + shift, v, (3, 90), w)
    tint = 1 + 0.22 * (n.cell(i, j, s.key + 2) - 0.5) + 0.05 * n.rough(u, v, 400, w, 2)
    base = mix(shades(tint, s.colours[0]), s.colours[1] * tint[:, None], np.clip(0.5 + 0.7 * grain, 0, 1))
    gap = np.minimum(s.cell[0] / 2 - np.abs(x), 2 * s.cell[1] - np.abs(y))
    return base * (1 - 0.6 * cover(gap - 2, w))[:, None]


def _bricks(s, n, u, v, w):
    """Bricks or tiles with joints; every other row of bricks is shifted."""
    j, y = tile(v, s.cell[1])
    i, x = tile(u + (0 if s.kind == "tiles" else 0.5) * s.cell[0] * np.mod(j, 2), s.cell[0])
    tint = 1 + 0.3 * (n.cell(i, j, s.key) - 0.5) + 0.12 * n.rough(u, v, 40, w) + 0.08 * n.rough(u, v, 500, w, 2)
    base = mix(shades(tint, s.colours[0]), s.colours[1], 0.6 * (n.cell(i, j, s.key + 1) < 0.25))
    gap = np.minimum(s.cell[0] / 2 - np.abs(x), s.cell[1] / 2 - np.abs(y))
    joint = shades(1 + 0.1 * n.rough(u, v, 15, w, 2), s.colours[2] * 0.7)
    return mix(base, joint, cover(gap - 4, w))


def _fabric(s, n, u, v, w):
    """A curtain with soft folds and a weave."""
    sway = u + 25 * n.smooth(u, v, (180, 900), w)
    folds = np.sin(2 * np.pi * sway / s.cell[0] + 2 * n.smooth(sway, v, (300, 2500), w))
    light = 0.72 + 0.22 * folds + 0.1 * n.rough(sway, v, (60, 400), w) + 0.06 * n.rough(u, v, 5, w, 2)
    return shades(light, s.colours[0])


def _foam(s, n, u, v, w):
    """Acoustic foam: squares of wedges that alternate between both directions."""
    (i, x), (j, y) = tile(u, s.cell[0]), tile(v, s.cell[0])
    flat = np.where(np.mod(i + j, 2) > 0, x, y)
    wedge = np.abs(np.mod(flat / 50, 1) - 0.5) * 2
    contrast = np.clip(25 / w - 0.5, 0, 1)
    light = 1 + contrast * 0.8 * (wedge - 0.5) + 0.12 * n.rough(u, v, 10, w, 2)
    gap = s.cell[0] / 2 - np.maximum(np.abs(x), np.abs(y))
    return shades(light * (1 - 0.5 * cover(gap - 3, w)), s.colours[0] * 0.55)


def _shelf(s, n, u, v, w):
    """Shelves with books of different widths and heights in front of a dark back."""
    height, board = 360.0, 14
    j, y = tile(v, height)
    base = shades(1 + 0.15 * n.rough(u, v, 80, w, 2), s.colours[0] * 0.22)
    thick = 28 + 60 * n.cell(j, j, s.key)
    i, x = tile(u + 400 * n.cell(j, j, s.key + 1), thick)
    tall = height * (0.5 + 0.4 * n.cell(i, j, s.key + 2))
    there = (n.cell(np.floor(i / 6), j, s.key + 3) < 0.8) * 1.0
    book = there * cover(np.maximum(np.abs(x) - thick / 2 + 1, height / 2 - board - tall - y), w)
    choice = (4 * n.cell(i, j, s.key + 4)).astype(int)
    hue = 0.6 + 0.7 * np.stack([n.cell(i, j, s.key + k) for k in (5, 7, 8)], 1)
    spine = s.colours[choice] * hue * (1 - 0.6 * (x / thick) ** 2)[:, None]
    label = cover(np.maximum(np.abs(y - 0.1 * height) - 30, np.abs(x) - 0.3 * thick), w) * (
        n.cell(i, j, s.key + 6) < 0.4
    )
    base = mix(base, mix(spine, np.array([0.8, 0.78, 0.72]), label), book)
    return mix(base, s.colours[0] * 0.9, cover(height / 2 - board - np.abs(y), w))


def _plaster(s, n, u, v, w):
    """A painted wall with stains and a coarse grain; on the floor it looks like concrete."""
    light = 1 + 0.12 * n.rough(u, v, 600, w, 4) + 0.06 * n.rough(u, v, 7, w, 2)
    stain = np.clip(2 * n.rough(u + 900, v, (420, 640), w) - 0.9, 0, 1)
    return mix(shades(light, s.colours[0]), s.colours[1] * 0.6, 0.4 * stain)


def _pegboard(s, n, u, v, w):
    """A perforated board with things hanging on it."""
    (_, x), (_, y) = tile(u, 40), tile(v, 40)
    base = shades(1 + 0.08 * n.rough(u, v, 200, w), s.colours[0])
    base = mix(base, s.colours[0] * 0.2, 0.9 * cover(np.hypot(x, y) - 5, w))
    (i, x), (j, y) = tile(u, s.cell[0]), tile(v, s.cell[1])
    half = s.cell[0] * (0.06 + 0.2 * n.cell(i, j, s.key)), s.cell[1] * (0.1 + 0.25 * n.cell(i, j, s.key + 1))
    shape = np.maximum(np.abs(x) - half[0], np.abs(y) - half[1])
    there = (n.cell(i, j, s.key + 2) < 0.55) * 1.0
    hung = s.colours[(4 * n.cell(i, j, s.key + 3)).astype(int)]
    base = (
        base
        * (1 - 0.45 * there * cover(np.maximum(np.abs(x - 9) - half[0], np.abs(y - 12) - half[1]), w + 14))[:, None]
    )
    return mix(base, hung * (1 - 0.25 * (x / half[0])[:, None] ** 2), there * cover(shape, w))


def _carpet(s, n, u, v, w):
    """Carpet tiles with a short pile, some in the second colour, with seams and flecks."""
    (i, x), (j, y) = tile(u, s.cell[0]), tile(v, s.cell[0])
    light = 1 + 0.2 * (n.cell(i, j, s.key) - 0.5) + 0.16 * n.rough(u, v, 7, w, 2) + 0.12 * n.rough(u, v, 350, w, 4)
    base = mix(shades(light, s.colours[0]), s.colours[1] * light[:, None], 0.5 * (n.cell(i, j, s.key + 1) < 0.3))
    base = mix(base, s.colours[2], 0.5 * np.clip(8 * n.smooth(u + 333, v, 21, w) - 5.6, 0, 1))
    return base * (1 - 0.45 * cover(s.cell[0] / 2 - np.maximum(np.abs(x), np.abs(y)) - 4, w))[:, None]


_PATTERNS = {
    "panels": _panels,
    "wood": _wood,
    "bricks": _bricks,
    "tiles": _bricks,
    "fabric": _fabric,
    "foam": _foam,
    "shelf": _shelf,
    "plaster": _plaster,
    "pegboard": _pegboard,
    "carpet": _carpet,
}


def pattern(surface: Surface, noise: Noise, u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Colours [n, 3] float32 of `surface` without its decals at (u, v) [n] mm; a pixel is `width` [n] mm wide there."""
    return _PATTERNS[surface.kind](surface, noise, u, v, width).astype(np.float32)
