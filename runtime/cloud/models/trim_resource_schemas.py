#!/usr/bin/env python3
"""Writes resource_schemas.json: AWS's published resource schemas of the types that the embedded
cloud has, as the package `cfn-lint` carries them (MIT-0), without prose, and of
the handlers only the actions that they call.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install cfn-lint==1.58.0
    steppe-cloud types | /tmp/v/bin/python runtime/cloud/models/trim_resource_schemas.py
"""

import json
import pathlib
import re
import sys

import cfnlint
from cfnlint.version import __version__

HERE = pathlib.Path(__file__).parent
TYPES = sorted(sys.stdin.read().split())
KEEP = {
    "type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "required", "properties", "patternProperties", "additionalProperties", "items",
    "minItems", "maxItems", "uniqueItems", "$ref", "anyOf", "oneOf", "allOf",
    "createOnlyProperties", "conditionalCreateOnlyProperties", "readOnlyProperties",
    "primaryIdentifier", "definitions",
}
NAMES = {"properties", "patternProperties", "definitions"}


def trimmed(schema):
    if isinstance(schema, list):
        return [trimmed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key not in KEEP:
            continue
        if key in NAMES:
            kept[key] = {name: trimmed(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "required"):
            kept[key] = value
        else:
            kept[key] = trimmed(value)
    return kept


def reachable(schema):
    """Definitions that nothing refers to are dropped."""
    definitions = schema.pop("definitions", {})
    found, todo = {}, [schema]
    while todo:
        for name in re.findall(r'"#/definitions/([^"/]+)', json.dumps(todo.pop())):
            if name not in found:
                found[name] = definitions[name]
                todo.append(definitions[name])
    if found:
        schema["definitions"] = dict(sorted(found.items()))
    return schema


def with_handlers(kept, schema):
    """The actions that CloudFormation calls when it makes, reads, changes and deletes one."""
    handlers = schema.get("handlers", {})
    named = ("create", "read", "update", "delete")
    actions = {name: handlers[name]["permissions"] for name in named if name in handlers}
    tagging = (schema.get("tagging") or {}).get("permissions")
    if tagging:
        actions["tagging"] = tagging
    if actions:
        kept["handlers"] = {name: sorted(set(list_)) for name, list_ in actions.items()}
    return kept


def main():
    data = pathlib.Path(cfnlint.__file__).parent / "data/schemas"
    files = json.loads((data / "providers/us-east-1.json").read_text())
    version = json.loads((data / "version.json").read_text())["schema_date"]
    lines = []
    for name in TYPES:
        schema = json.loads((data / f"resources/{files[name]}.json").read_text())
        kept = with_handlers(reachable(trimmed(schema)), schema)
        text = json.dumps(kept, separators=(",", ":"), sort_keys=True)
        lines.append(f"{json.dumps(name)}:{text}")
    origin = f"cfn-lint {__version__} (MIT-0), AWS's resource schemas of {version}, us-east-1"
    text = ",\n".join(lines)
    (HERE / "resource_schemas.json").write_text(
        f'{{"origin":{json.dumps(origin)},"types":{{\n{text}\n}}}}\n'
    )


main()
