"""Seeded faults of files: what people, editors, other programs and disks do to them."""

import copy
import json
import random

WRONG = (None, True, "", "x", "1e999", [], [[]], {}, 0, -1, 1.5, 10**400, float("nan"), float("inf"), [1, "a"], "ä")


def _places(content, path=()):
    """The paths of all values in nested lists and objects."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _container(content, path):
    for key in path[:-1]:
        content = content[key]
    return content


def mutate_object(chance: random.Random, content: object) -> object:
    """A copy of JSON content with one place replaced, removed, doubled, or put one level deeper."""
    content = copy.deepcopy(content)
    path = chance.choice(list(_places(content)))
    if not path:
        return chance.choice(WRONG)
    container, key = _container(content, path), path[-1]
    kind = chance.choice(("replace", "replace", "remove", "double", "nest"))
    if kind == "replace":
        container[key] = copy.deepcopy(chance.choice(WRONG))
    elif kind == "remove":
        del container[key]
    elif kind == "double" and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[key] = [container[key]]
    return content


def mutate_bytes(chance: random.Random, data: bytes) -> bytes:
    """The content of a file cut short, with bytes flipped, in another encoding, with a stray quote, or empty."""
    kind = chance.choice(("cut", "flip", "flip", "utf-16", "latin-1", "bom", "quote", "zeros", "semicolons", "lines"))
    if kind == "cut":
        return data[: chance.randrange(len(data))]
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 5))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    text = data.decode("utf-8", "replace")
    if kind == "utf-16":
        return text.encode("utf-16")
    if kind == "latin-1":
        return text.replace("a", "ä", 1).encode("latin-1", "replace")
    if kind == "bom":
        return b"\xef\xbb\xbf" + data
    place = chance.randrange(len(text) + 1)
    if kind == "quote":
        return (text[:place] + '"' + text[place:]).encode()
    if kind == "zeros":
        return data[:place] + bytes(20) + data[place:]
    if kind == "semicolons":
        return text.replace(",", ";").encode()
    lines = text.splitlines()
    chance.shuffle(lines)
    return "\r\n".join(lines).encode()


def mutate_json(chance: random.Random, data: bytes) -> bytes:
    """A file of JSON with a fault of its content or of its bytes."""
    if chance.random() < 0.25:
        return mutate_bytes(chance, data)
    content = mutate_object(chance, json.loads(data))
    return (("[" * 100_000) if chance.random() < 0.01 else json.dumps(content)).encode()


def mutate_table(chance: random.Random, data: bytes) -> bytes:
    """A table with a cell replaced, a cell more or less, a row doubled, or a fault of its bytes."""
    if chance.random() < 0.4:
        return mutate_bytes(chance, data)
    rows = [line.split(",") for line in data.decode().splitlines()]
    row = chance.choice(rows)
    place = chance.randrange(len(row))
    kind = chance.choice(("cell", "cell", "cell", "more", "less", "double"))
    if kind == "cell":
        row[place] = chance.choice(("", "nan", "-1", "1e999", "x", "9" * 30, '"', "*", "../x", " 1 ", "٣"))
    elif kind == "more":
        row.insert(place, "1")
    elif kind == "less":
        del row[place]
    else:
        rows.append(row)
    return "\n".join(",".join(row) for row in rows).encode()
