"""Decals on walls and floors: posters, windows, lamps, cables, tape, rugs.

Each is drawn over the colours of a surface at points (x, y) mm from its own centre. As in module `texture`, shapes are
signed distances to their edges, smoothed over the width w of a pixel.
"""

import dataclasses

import numpy as np

from tfrecords_tools.dome.studio.texture import Noise, colour, cover, mix, shades, tile


@dataclasses.dataclass(frozen=True, eq=False)
class Decal:
    """One decal on a surface: centre `place` [2] mm, half width and height `half` [2] mm, `colours` [4, 3]."""

    kind: str
    place: np.ndarray
    half: np.ndarray
    colours: np.ndarray
    key: int


def _kinds(rng, place, share):
    """Kinds of the decals on a "wall", "slope" or "floor"; spread of their positions [2] mm; range of half sizes mm."""
    if place == "floor":
        kinds = ["rug"] * rng.binomial(6, 0.5) + ["poster"] * rng.integers(2, 9)
        kinds += ["tape"] * rng.integers(4, 10) + ["cable"] * rng.integers(2, 7)
        return kinds, np.array([2100.0, 2100.0]), (140, 750)
    high = place == "wall"
    kinds = ["window"] * (rng.random() < 0.14 * high) + ["lamp"] * (rng.random() < (0.05 if high else 0.2))
    kinds += ["poster"] * rng.binomial(4, share if high else share / 3) + ["cable"] * rng.binomial(4, 0.35)
    return kinds, np.array([600.0, 900.0 if high else 450.0]), (110, 380)


def draw(rng: np.random.Generator, place: str, share: float) -> tuple[Decal, ...]:
    """Random decals: posters, cables, a window or a lamp on a "wall" or "slope"; tape, posters and rugs on a "floor".

    The larger `share` (0..1), the more posters hang on a wall.
    """
    kinds, spread, half = _kinds(rng, place, share)
    found = []
    for kind in kinds:
        size = rng.uniform(*half) * np.array([1.0, rng.uniform(0.7, 1.5)])
        size = np.minimum(size, 230) if kind == "poster" and place == "floor" else size
        size = size * 1.5 + 150 if kind == "window" else size
        colours = np.stack([colour(rng) for _ in range(4)]).astype(np.float32)
        if kind == "poster" and rng.random() < 0.6:
            colours[0] = rng.uniform(0.72, 0.92)  # paper
        for _ in range(6):  # attempts to find a free place; a decal that finds none is left out
            where, solid = rng.uniform(-spread, spread), [d for d in found if d.kind != "cable"]
            if kind == "cable" or not any(np.all(np.abs(where - d.place) < 0.9 * (size + d.half)) for d in solid):
                one = Decal(kind, np.float32(where), np.float32(size), colours, int(rng.integers(1 << 10)))
                found.append(one)
                break
    return tuple(found)


def _within(d, x, y, margin=0.0):
    return np.maximum(np.abs(x) - d.half[0], np.abs(y) - d.half[1]) + margin


def _poster(base, d, n, x, y, w):
    """A sheet of paper with a border, a picture, a heading and lines of text."""
    base = base * (1 - 0.3 * cover(_within(d, x - 6, y - 8), w + 12))[:, None]
    sheet = mix(shades(np.ones_like(x), d.colours[0]), d.colours[1], cover(_within(d, x, y, 0.12 * d.half[0]), w))
    within = cover(_within(d, x, y, 0.2 * d.half[0]), w)
    layout, low = d.key % 4, d.half[1] * (0.25, -0.5, 0.7, -0.1)[d.key % 4]
    if layout != 1:  # a landscape of blobs
        blot = n.rough(x + 40 * d.key, y, d.half[0] * 0.8, w, 3)
        sheet = mix(sheet, d.colours[2] * (1 + 0.6 * blot)[:, None], cover(12 - 60 * blot, w + 3) * within)
    if layout == 0:
        sheet = mix(sheet, d.colours[3], cover(np.hypot(x, y + 0.3 * d.half[1]) - 0.4 * d.half[0], w))
    elif layout == 3:  # a bar chart
        bar, rest = tile(x, d.half[0] * 0.25)
        top = d.half[1] * (-0.75 + 0.6 * n.cell(bar, bar, d.key))
        shape = np.maximum(np.maximum(top - y, y + 0.2 * d.half[1]), np.abs(rest) - 0.08 * d.half[0])
        sheet = mix(sheet, d.colours[3], cover(shape, w) * within)
    line, rest = tile(y, 20 + d.key % 15)
    word = n.cell(np.floor((x + 900) / 34), line, d.key) < 0.75
    text = (y > low) * word * cover(np.abs(rest) - 5, w) * cover(_within(d, x, y, 0.25 * d.half[0]), w)
    head = cover(np.maximum(np.abs(y + 0.8 * d.half[1]) - 0.05 * d.half[1], np.abs(x) - 0.6 * d.half[0]), w)
    return mix(base, mix(sheet, d.colours[0] * 0.25, 0.8 * np.maximum(text, head)), cover(_within(d, x, y), w))


def _window(base, d, n, x, y, w):
    """A bright window with blinds, in a frame."""
    slat = np.abs(np.mod(y / 42, 1) - 0.5) * 2
    view = shades(1.25 + 0.2 * n.rough(x, y, 300, w, 2) - 0.3 * y / d.half[1], [0.92, 0.97, 1.0])
    view = view * (1 - 0.45 * np.clip(30 / w - 0.5, 0, 1) * np.clip(3 * slat - 1.4, 0, 1))[:, None]
    frame = np.minimum(-_within(d, x, y), np.abs(x) + 25) - 55
    return mix(base, mix(view, d.colours[0], cover(frame, w)), cover(_within(d, x, y), w))


def _lamp(base, d, n, x, y, w):
    """A panel of lamps behind a grid in a dark housing, with a glow on the wall around it."""
    base = base * (1 + 0.7 * np.exp(-np.maximum(_within(d, x, y), 0) / 150))[:, None]
    base = mix(base, np.full(3, 0.07), cover(_within(d, x, y), w))
    (_, a), (_, b) = tile(x, d.half[0] / 2), tile(y, d.half[0] / 2)
    grid = np.maximum(np.abs(a), np.abs(b)) - d.half[0] / 4 + 8
    glow = shades(1.7 - 1.1 * np.hypot(a, b) / d.half[0], [1.0, 0.95, 0.85])
    return mix(base, glow, cover(np.maximum(_within(d, x, y, 35), grid), w))


def _cable(base, d, n, x, y, w):
    """A winding cable from top to bottom (from side to side for an odd key), with a highlight."""
    if d.key % 2:
        x, y = y, x
    off = x - 0.5 * d.half[0] * np.sin(y / (2 * d.half[1]) + d.key) - 30 * n.smooth(y, y * 0 + d.key, 260, w)
    thick = 6 + d.key % 9
    base = base * (1 - 0.35 * cover(np.abs(off - thick) - thick, w + thick))[:, None]
    base = mix(base, d.colours[0] * 0.6, cover(np.abs(off) - thick, w))
    return mix(base, d.colours[0] * 0.6 + 0.2, 0.7 * cover(np.abs(off + 0.35 * thick) - 0.2 * thick, w))


def _tape(base, d, n, x, y, w):
    """A mark made of tape: a cross, or the outline of a rectangle."""
    if d.key % 2:
        arm = np.minimum(np.abs(x), np.abs(y)) - 24
        shape = np.maximum(arm, np.maximum(np.abs(x), np.abs(y)) - 160)
    else:
        shape = np.abs(_within(d, x, y)) - 22
    return mix(base, d.colours[0], 0.9 * cover(shape, w))


def _rug(base, d, n, x, y, w):
    """A rug: round with rings, or a rectangular mat with a border and a pattern."""
    if d.key % 3:
        light = 1 + 0.25 * n.rough(x, y, 10, w, 2) + 0.1 * n.rough(x, y, 90, w)
        waves = cover(np.abs(np.mod((x + 40 * np.abs(np.mod(y / 160, 1) - 0.5)) / 130, 1) - 0.5) * 130 - 22, w)
        mat = mix(shades(light, d.colours[0]), d.colours[1] * light[:, None], 0.7 * waves)
        mat = mix(mat, d.colours[2] * light[:, None], cover(-_within(d, x, y, 60), w))
        return mix(base, mat, cover(_within(d, x, y), w))
    radius = np.hypot(x, y)
    pile = shades(1 + 0.2 * n.rough(x, y, 10, w, 2), d.colours[0])
    pile = mix(pile, d.colours[1], 0.8 * cover(np.abs(np.mod(radius / d.half[0] * 3, 1) - 0.5) * d.half[0] / 3 - 40, w))
    return mix(base, pile, cover(radius - d.half[0], w))


_DECALS = {"poster": _poster, "window": _window, "lamp": _lamp, "cable": _cable, "tape": _tape, "rug": _rug}
# How far each kind extends beyond `half`, mm.
_BEYOND = {"poster": 30.0, "window": 5.0, "lamp": 750.0, "cable": 90.0, "tape": 190.0, "rug": 5.0}


def paint(base: np.ndarray, decal: Decal, noise: Noise, u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Draws `decal` into the colours `base` [n, 3] of points (u, v) [n] mm, and returns them.

    A pixel is `width` [n] mm wide at each point.
    """
    x, y = u - decal.place[0], v - decal.place[1]
    across, down = decal.half if decal.kind != "rug" else (decal.half.max(), decal.half.max())
    if decal.kind == "cable":  # from one end of the surface to the other
        across, down = (np.inf, decal.half[0]) if decal.key % 2 else (decal.half[0], np.inf)
    margin = _BEYOND[decal.kind] + width
    near = np.flatnonzero((np.abs(x) < across + margin) & (np.abs(y) < down + margin))
    if near.size:
        base[near] = _DECALS[decal.kind](base[near], decal, noise, x[near], y[near], width[near])
    return base
