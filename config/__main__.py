"""`python -m config` writes config.schema.json, the completion that editors offer for config.json."""

import copy
import json
from collections.abc import Sequence

import msgspec

import strategies
from config.faults import Schema
from config.settings import FOLDER, schema, tidy

SCHEMA_PATH = FOLDER / "config.schema.json"


def published_schema(names: Sequence[str]) -> str:
    """The file's text, with the parameters of these strategies."""
    whole: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **copy.deepcopy(schema())}
    options = whole["$defs"]["MarketSettings"]["properties"]["strategy"]["anyOf"]
    strategy = next(option for option in options if option.get("type") == "object")
    strategy["required"] = ["name"]
    strategy["properties"] = {
        "name": {"type": "string", "description": "A file in strategies/", "examples": list(names)}
    }
    strategy["allOf"] = [_parameters(name) for name in names]
    return json.dumps(whole, indent=2) + "\n"


def _parameters(name: str) -> Schema:
    params = tidy(msgspec.json.schema(strategies.find(name).params_type))
    params = params["$defs"][params["$ref"].rsplit("/", 1)[-1]]
    then = {"properties": {"name": {}, **params["properties"]}, "additionalProperties": False}
    return {"if": {"properties": {"name": {"const": name}}}, "then": then}


if __name__ == "__main__":
    SCHEMA_PATH.write_text(published_schema(strategies.names()), encoding="utf-8", newline="\n")
