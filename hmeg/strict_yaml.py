"""YAML that people write: plain values only, and no name twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"  # `<<`, which may be given beside others and again


class _Loader(yaml.SafeLoader):
    """Of two values under one name the last would win, without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name = (key.tag, key.value)
            if name in names:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3, without a point, for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+"), list("-+0123456789")
)


def load_yaml(text: str) -> Any:
    """What a YAML text holds; ``yaml.YAMLError`` for what is none, and for a name that stands twice in one mapping."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
