"""Writes nested dictionaries as TOML: each dictionary becomes a table."""

import json
import re


def _key(name):
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def dumps(data, path=()):
    """The TOML text of `data`; a value of `None` is left out."""
    lines = [f"{_key(k)} = {_value(v)}" for k, v in data.items() if not isinstance(v, dict) and v is not None]
    if lines and path:
        lines.insert(0, "[" + ".".join(map(_key, path)) + "]")
    text = "\n".join(lines) + ("\n" if lines else "")
    for key, value in data.items():
        if isinstance(value, dict):
            text += dumps(value, (*path, key))
    return text
