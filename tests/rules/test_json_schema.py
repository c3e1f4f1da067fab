"""The JSON Schemas, held by a validator of others: they take the example hospital, and no misspelt key."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from netguard.rules.json_schema import FILES, schemas

RULES = Path(__file__).parents[2] / "rules"
KIND = {"services": "services.json", "tests": "tests.json", "feeds": "vendor-feed.json"}


def kind(path):
    return KIND.get(path.parent.name) or (
        "services.json" if path.parent.name == "unverified" else f"{path.stem}.json"
    )


class Loader(yaml.SafeLoader):
    """YAML as editors read it (1.2): dates are text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":int"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@pytest.mark.parametrize(
    "path", sorted(RULES.rglob("*.yaml")), ids=lambda p: str(p.relative_to(RULES))
)
def test_the_example_hospital_is_valid(path):
    validator = jsonschema.Draft202012Validator(schemas()[kind(path)])
    body = yaml.load(path.read_text(), Loader)
    assert [error.message for error in validator.iter_errors(body)] == []
    body[next(iter(body)) + "x"] = 1
    assert not validator.is_valid(body)


def test_each_schema_is_one():
    for name, body in schemas().items():
        jsonschema.Draft202012Validator.check_schema(body)
        assert name in FILES


@pytest.mark.parametrize("version", ["1", 1])
def test_a_number_or_a_text_is_the_version(version):
    head = {"version": version, "organisation": "chu", "resolver": {"upstream": ["10.1.1.53"]}}
    assert jsonschema.Draft202012Validator(schemas()["netguard.json"]).is_valid(head)


def test_a_list_is_no_word_and_a_word_no_list():
    validator = jsonschema.Draft202012Validator(schemas()["groups.json"])
    assert validator.is_valid({"groups": {"a": {"allow": ["b"]}}})
    assert not validator.is_valid({"groups": {"a": {"allow": "b"}}})
    assert not validator.is_valid({"groups": {"a": {"allow": ["b"], "grace": ["10m"]}}})
    for hours in (
        "07:00-22:00",
        ["10:00-12:00"],
        {"mon-fri": "10:00-12:00", "sat,sun": ["14:00-18:00"]},
    ):
        assert validator.is_valid({"groups": {"a": {"allow": ["b"], "hours": hours}}})
    assert not validator.is_valid({"groups": {"a": {"allow": ["b"], "hours": [["10:00-12:00"]]}}})
