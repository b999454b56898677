"""What distinguishes subjects: sizes, proportions, skin tone and sleeve, drawn from published anthropometry.

The hand length l follows the mixture of both sexes and is spread evenly over the subjects i:
u_i = frac(offset(seed) + i alpha), l_i = F^-1(u_i). The sex is drawn given l by Bayes' rule, the breadth given both,
and bone j is its mean m_j with a residual e_j, scaled so that the whole hand has length l:

    b = mean_b + sd_b (rho (l - mean_l) / sd_l + sqrt(1 - rho^2) z_b),    bone_j = m_j (1 + r_j e_j) l / l(m, e)

With r_j^2 = cv_j^2 - cv_l^2, the standard deviations of every bone and of the length come out as published.

Sources. Bones of 66 adults on radiographs: Buryanov & Kotiuk 2010, "Proportions of hand segments", Int. J. Morphol.
28(3):755-758. Hand length and breadth: ACOPLA95, Colombian workers aged 20-59, n = 2100 (standard deviations estimated
from percentiles). Skin: the ten swatches of the Monk Skin Tone scale, Monk 2019, skintone.google.
"""

import dataclasses
import functools
from statistics import NormalDist

import numpy as np

from tfrecords_tools.dome.random_keys import RandomKey

FINGERS = ("thumb", "index", "middle", "ring", "little")
# mm; one row per finger: metacarpal, proximal, middle, distal phalanx (thumb: metacarpal, proximal, distal).
BONES = (
    (46.22, 31.57, 21.67),
    (68.12, 39.78, 22.38, 15.82),
    (64.60, 44.63, 26.33, 17.40),
    (58.00, 41.37, 25.65, 17.30),
    (53.69, 32.74, 18.11, 15.96),
)
BONES_SD = (
    (3.94, 3.13, 1.60),
    (6.27, 4.94, 2.51, 2.26),
    (5.38, 3.81, 3.00, 1.85),
    (5.06, 3.87, 3.29, 2.22),
    (4.36, 2.77, 2.54, 2.45),
)
SOFT_TIP = np.array([5.67, 3.84, 3.95, 3.95, 3.73])  # mm of soft tissue beyond the last bone
SEXES = ("woman", "man")
# Mean and standard deviation in mm; rows as in SEXES.
LENGTH = np.array([[166.0, 8.0], [183.0, 10.0]])
_LENGTHS = [NormalDist(*row) for row in LENGTH.tolist()]
_NORMAL = NormalDist()  # SciPy has one too, but takes half a second to import
PALM = np.array([[92.0, 5.0], [103.0, 6.0]])
BREADTH = np.array([[75.0, 4.0], [84.0, 4.0]])
MONK = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
SWATCHES = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in MONK]) / 255  # [10, 3]

MEDIAN_LENGTH, MEDIAN_BREADTH = LENGTH[:, 0].mean(), BREADTH[:, 0].mean()
# Choice: where the crease at the root of a finger lies along its first phalanx. The palm's length is measured up to it.
ROOT_CREASE = 0.34
FOREARM_RATIO = 1.4  # length from elbow to wrist divided by the hand's length
PATTERNS = ("plain", "stripes", "checks", "ribbed")
BARE = -1000.0  # edge of a sleeve for a bare arm: beyond any elbow

# Choice: anatomy that the tables do not give, for the median hand in mm: where the metacarpals start (the middle one so
# far from the wrist crease that the median length comes out), x and z of the knuckles, half widths of the flesh.
_CARPUS = MEDIAN_LENGTH - sum(BONES[2]) - SOFT_TIP[2]
_STARTS = np.array([[21, 17, 9], [12.5, _CARPUS - 5, 0], [2.5, _CARPUS, -2], [-7, _CARPUS - 0.5, -1], [-15, 14.5, 2]])
_KNUCKLE_X = np.array([0, 23.5, 3.0, -16.0, -32.5])
_KNUCKLE_Z = np.array([0, -0.5, -3.0, -1.5, 2.5])
_RADII = np.array(
    [[13, 11.3, 10.7, 8.9], [9.8, 9.3, 8.2, 7.1], [10.4, 9.5, 8.4, 7.2], [10.0, 8.9, 8.0, 6.9], [8.6, 7.8, 7.0, 6.1]]
)
# Flesh outside the centres of the outer knuckles, both sides together, mm; it matches what the mesh has there.
_EDGE_FLESH = 25.3
_LENGTH_BREADTH = 0.5  # Choice: correlation of length and breadth within a sex
_CLIP = 2.5  # standard deviations
# Additive recurrences of Roberts (2018) in two dimensions (size, tone) and three (breadth, thickness, sleeve).
_ALPHA = np.array([0.7548776662, 0.5698402910, 0.8191725134, 0.6710436067, 0.5497004779])


@dataclasses.dataclass(frozen=True)
class Sleeve:
    """A sleeve from `edge` (y in the hand frame, mm; BARE for none) to the elbow, in colours [3] in 0..1.

    `period` (mm) is that of the `pattern`, one of PATTERNS.
    """

    edge: float
    colour: np.ndarray
    pattern: str
    colour2: np.ndarray
    period: float


@dataclasses.dataclass(frozen=True, eq=False)
class Traits:
    """One person's right hand; lengths in mm.

    Attributes:
        length: wrist crease to tip of the middle finger.
        breadth: at the knuckles.
        bases: first joint of each finger in the hand frame, [5, 3].
        lengths: from joint to joint along each finger, [5, 3].
        radii: half widths of the fingers at their joints, [5, 4].
        thickness: relative to the median, 1.
        tone: of the skin, from 0 (lightest) to 1 (darkest).
        skin: colour of the back of the hand, [3] in 0..1.
    """

    name: str
    sex: str
    length: float
    breadth: float
    bases: np.ndarray
    lengths: np.ndarray
    radii: np.ndarray
    thickness: float
    tone: float
    skin: np.ndarray
    sleeve: Sleeve


@functools.cache
def _length_table():
    """Quantiles of the hand length, half of the people of each sex: probabilities [n] and lengths [n] mm."""
    length = np.linspace(*(LENGTH[:, 0] + [-_CLIP, _CLIP] * LENGTH[:, 1]), 400)
    return np.mean([[sex.cdf(value) for value in length] for sex in _LENGTHS], 0), length


def _stature(fraction, rng):
    """Length and breadth (mm) and sex (index into SEXES) for quantiles `fraction` of length, tone and breadth."""
    length = np.interp(fraction[0], *_length_table())
    likelihood = [sex.pdf(length) for sex in _LENGTHS]
    sex = int(rng.random() * sum(likelihood) > likelihood[0])
    taller = (length - LENGTH[sex, 0]) / LENGTH[sex, 1]
    other = np.sqrt(1 - _LENGTH_BREADTH**2) * _NORMAL.inv_cdf(fraction[2])
    z = np.clip(_LENGTH_BREADTH * taller + other, -_CLIP, _CLIP)
    return length, BREADTH[sex, 0] + z * BREADTH[sex, 1], sex


def _bones(rng, vary):
    """Bone lengths before scaling, mm: metacarpals [5], and the bones beyond the first joint [5, 3]."""
    # The thumb's first joint lies at the base of its metacarpal, which therefore counts as a phalanx.
    mean = np.array([(row[0], *row) if len(row) == 3 else row for row in BONES])
    cv = np.array([(row[0], *row) if len(row) == 3 else row for row in BONES_SD]) / mean
    length_cv = np.sqrt((LENGTH[:, 1] ** 2).mean() + LENGTH[:, 0].var()) / MEDIAN_LENGTH
    # Choice: most of the residual is shared by all fingers (such as long middle phalanges), so that they match.
    residual = np.sqrt(0.6) * rng.standard_normal(4) + np.sqrt(0.4) * rng.standard_normal((5, 4))
    bones = mean * (1 + vary * np.sqrt(np.maximum(cv**2 - length_cv**2, 0)) * np.clip(residual, -_CLIP, _CLIP))
    return bones[:, 0], bones[:, 1:]


def _skeleton(rng, length, breadth, thickness, vary):
    """`bases` [5, 3] and `lengths` [5, 3] mm (see `Traits`) of a hand of this length, breadth and thickness."""
    metacarpals, phalanges = _bones(rng, vary)
    scale = length / (_STARTS[2, 1] + metacarpals[2] + phalanges[2].sum() + SOFT_TIP[2])
    starts, metacarpals, phalanges = scale * _STARTS, scale * metacarpals, scale * phalanges
    flesh = _EDGE_FLESH * thickness * length / MEDIAN_LENGTH
    wide = (breadth - flesh) / (_KNUCKLE_X[1] - _KNUCKLE_X[4])
    aside = np.stack([wide * _KNUCKLE_X, scale * _KNUCKLE_Z], 1) - starts[:, [0, 2]] * [wide / scale, 1]
    forward = np.sqrt(metacarpals**2 - np.sum(aside**2, 1))
    bases = starts * [wide / scale, 1, 1] + np.stack([aside[:, 0], forward, aside[:, 1]], 1)
    bases[0] = starts[0] * [wide / scale, 1, 1]  # the first joint of the thumb is its saddle joint
    lengths = phalanges.copy()
    lengths[:, 2] += scale * SOFT_TIP / 2  # the tip joint lies in the soft tissue beyond the bone
    return bases, lengths


def _sleeve(rng, fraction, length, vary):
    """A sleeve whose edge lies between wrist and elbow; about one arm in eight is bare."""
    hue, dark = rng.random(3), rng.random() ** 0.7
    colour = np.clip((0.08 + 0.85 * dark) * (1 + 0.9 * rng.random() * (hue - hue.mean())), 0.04, 0.95)
    colour2 = np.clip(colour + rng.choice([-1, 1]) * rng.uniform(0.12, 0.4) + rng.uniform(-0.12, 0.12, 3), 0.03, 0.97)
    low, high = 16.0, 0.75 * FOREARM_RATIO * length
    edge = -(low + (high - low) * (fraction / 0.88) ** 1.6) if fraction < 0.88 else BARE
    pattern = str(rng.choice(PATTERNS))
    period = rng.uniform(17, 22) if pattern == "ribbed" else rng.uniform(30, 56)  # mm; the mesh is too coarse for less
    return Sleeve(edge if vary else -45.0, colour, pattern, colour2, period)


def skin_colour(tone: float, warmth: float = 0.0) -> np.ndarray:
    """Colour [3] of the back of a hand: `tone` in 0..1 along the Monk scale, `warmth` from -1 (olive) to 1 (ruddy)."""
    swatch = np.array([np.interp(tone, np.linspace(0, 1, len(SWATCHES)), channel) for channel in SWATCHES.T])
    return np.clip(swatch * (1 + warmth * np.array([0.02, -0.015, -0.035])), 0, 1)


@functools.lru_cache(maxsize=512)
def traits(seed: int, index: int) -> Traits:
    """The `Traits` of subject number `index`, a pure function of its arguments; subject 0 is the median person."""
    vary = float(index != 0)
    offset = np.random.default_rng([seed, RandomKey.CROWD]).random(len(_ALPHA))
    fraction = np.clip((offset + index * _ALPHA) % 1.0, 1e-3, 1 - 1e-3)
    rng = np.random.default_rng([seed, RandomKey.TRAITS, index])
    length, breadth, sex = _stature(fraction, rng)
    if not vary:
        length, breadth = MEDIAN_LENGTH, MEDIAN_BREADTH
    # Broad hands have thicker fingers; the rest is chance.
    fleshy = 0.4 * (breadth / MEDIAN_BREADTH - length / MEDIAN_LENGTH)
    thickness = 1 + vary * np.clip(fleshy + 0.05 * _NORMAL.inv_cdf(fraction[3]), -0.12, 0.14)
    bases, lengths = _skeleton(rng, length, breadth, thickness, vary)
    radii = _RADII * thickness * length / MEDIAN_LENGTH
    tone = fraction[1] if vary else 0.5
    skin = skin_colour(tone, vary * rng.uniform(-1, 1))
    sleeve = _sleeve(rng, fraction[4], length, vary)
    return Traits(f"S{index}", SEXES[sex], length, breadth, bases, lengths, radii, thickness, tone, skin, sleeve)


def _measures(person):
    """The bones of one person as the tables count them, mm: five rows as in BONES."""
    scale = person.length / MEDIAN_LENGTH
    wide = (person.bases[1, 0] - person.bases[4, 0]) / (_KNUCKLE_X[1] - _KNUCKLE_X[4])
    metacarpals = np.linalg.norm(person.bases - _STARTS * [wide, scale, scale], axis=1)
    phalanges = person.lengths - np.outer(scale * SOFT_TIP / 2, [0, 0, 1])
    return [tuple(row) if finger == 0 else (metacarpals[finger], *row) for finger, row in enumerate(phalanges)]


def statistics(seed: int, count: int) -> list[tuple[str, str, float, float, float, float]]:
    """Statistics of subjects 1 to `count` beside the published tables.

    Rows: name, unit, mean and standard deviation, published mean and standard deviation.
    """
    people = [traits(seed, index) for index in range(1, count + 1)]
    rows = []
    for sex, name in enumerate(SEXES):
        group = [person for person in people if person.sex == name]
        palms = [person.bases[2, 1] + ROOT_CREASE * person.lengths[2, 0] for person in group]
        for label, values, table in (
            ("hand length", [person.length for person in group], LENGTH),
            ("palm length", palms, PALM),
            ("hand breadth", [person.breadth for person in group], BREADTH),
        ):
            rows.append((f"{label}, {name}", "mm", np.mean(values), np.std(values), *table[sex]))
    bones = [_measures(person) for person in people]
    for finger, name in enumerate(FINGERS):
        parts = ("metacarpal", "proximal", "distal") if finger == 0 else ("metacarpal", "proximal", "middle", "distal")
        values = np.array([measured[finger] for measured in bones])
        for part, mean, sd, *table in zip(
            parts, values.mean(0), values.std(0), BONES[finger], BONES_SD[finger], strict=True
        ):
            rows.append((f"{name} {part}", "mm", mean, sd, *table))
    return rows
