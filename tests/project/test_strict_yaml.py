"""YAML of users: one value a name, and plain values only."""

import pytest
import yaml

from hmeg.strict_yaml import load_yaml


def test_plain_values():
    text = "a: 1\nb: [x, {c: 2.5, d: null}]\n2: yes\n"
    assert load_yaml(text) == yaml.safe_load(text) == {"a": 1, "b": ["x", {"c": 2.5, "d": None}], 2: True}
    assert load_yaml("") is None
    merged = "x: &x {a: 1}\ny: &y {b: 2}\nz:\n  <<: *x\n  <<: *y\n  a: 3\n"
    assert load_yaml(merged)["z"] == {"a": 3, "b": 2}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "- {x: {p: 1, p: 1}}\n"])
def test_a_name_stands_once(text):
    with pytest.raises(yaml.YAMLError, match="is given twice"):
        load_yaml(text)


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system [ls]", "a: [", "? [a]\n: b\n", "\x00", "[" * 9999])
def test_rubbish_is_an_error_of_yaml(text):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("5e-5", 5e-5), ("-1E+3", -1000.0), ("1.5e-3", 0.0015), ("1e", "1e"), ("'1e-5'", "1e-5"), ("10", 10)],
)
def test_numbers_without_a_point(text, wanted):
    found = load_yaml(f"x: {text}")["x"]
    assert found == wanted
    assert type(found) is type(wanted)
