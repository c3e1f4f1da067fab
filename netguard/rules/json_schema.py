"""The rule files as JSON Schemas (draft 2020-12), for editors that complete and underline.

Made from the models that `check` itself goes by (schema.py): keys, lists, words. What a word must look
like is `check`'s to say: an editor's YAML reads `640` as a number and `true` as a truth value, here
every value is text.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from netguard.rules import schema, schema_feeds, schema_watch
from netguard.rules.words import Model

_SCALAR = ["string", "number", "boolean"]
FILES: dict[str, type[Model]] = {
    "netguard.json": schema.NetguardFile,
    "sites.json": schema.SitesFile,
    "protected.json": schema.ProtectedFile,
    "services.json": schema.ServicesFile,
    "vendor-feed.json": schema.FeedFile,
    "groups.json": schema.GroupsFile,
    "tablets.json": schema.TabletsFile,
    "tests.json": schema.CasesFile,
    "presence.json": schema_watch.PresenceFile,
    "alerts.json": schema_watch.AlertsFile,
    "feeds.json": schema_feeds.FeedsFile,
}


class _Generator(GenerateJsonSchema):
    """Writes each value that a parser of ours reads as one scalar."""

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return {"type": _SCALAR}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        words: list[Any] = list(schema["expected"])
        words += [int(word) for word in words if str(word).isdigit()]
        return {"enum": words}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # A default is a value of ours, not a text of the file.
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # Nothing is null in a rule file: what is not said is left out.
        return self.generate_inner(schema["schema"])


def schemas() -> dict[str, dict[str, Any]]:
    """Return a JSON Schema by file name."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **model.model_json_schema(by_alias=True, schema_generator=_Generator),
        }
        for name, model in FILES.items()
    }
