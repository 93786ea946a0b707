#!/usr/bin/env python3
"""Trims AWS's API models, as botocore has them, to the operations that the embedded cloud has.

    steppe-cloud operations | python3 runtime/cloud/models/trim_api_models.py

writes one file per service into `api/`. Of an operation that is there its input and output are
kept, of the others the name. Members of an input that the operation does not read have no shape.
"""

import collections
import json
import pathlib
import sys

import botocore
import botocore.loaders

FOLDER = pathlib.Path(__file__).parent / "api"
LOADER = botocore.loaders.Loader()
# Of what is kept, nothing is needed to speak with a service.
DROPPED = {
    "documentation", "documentationUrl", "deprecated", "deprecatedMessage", "deprecatedSince",
    "sensitive", "exception", "fault", "synthetic", "box", "wrapper", "xmlOrder", "streaming",
    "contextParam", "hostLabel", "jsonvalue", "union", "document", "requiresLength", "internal",
    "eventstream", "event", "eventpayload",
}
# What services refuse in other words than those of AWS's framework, and check themselves.
OWN_WORDS = {
    ("athena", "MaxQueryResults"): ["max"], ("sqs", "QueueAttributeName"): ["enum"],
    ("cloudtrail", "MaxResults"): ["min", "max"],
}


def models():
    """The newest models by the names that requests are signed for, which a few services share."""
    found = collections.defaultdict(list)
    for name in LOADER.list_available_services("service-2"):
        model = LOADER.load_service_model(name, "service-2")
        metadata = model["metadata"]
        signed_for = metadata.get("signingName", metadata["endpointPrefix"])
        found[signed_for].append((name, model))
        if name not in (signed_for, metadata["endpointPrefix"]):
            # By its own name, too, where it shares the other one.
            found[name].append((name, model))
    return found


def trimmed(value):
    if isinstance(value, dict):
        return {key: trimmed(inner) for key, inner in value.items() if key not in DROPPED}
    return value


def reachable(shapes, names):
    """The shapes of these names and of all that they are made of."""
    kept, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name in kept or name is None:
            continue
        shape = kept[name] = trimmed(shapes[name])
        inner = list(shape.get("members", {}).values())
        inner += [shape[part] for part in ("member", "key", "value") if part in shape]
        waiting += [member["shape"] for member in inner]
    return kept


def operation(model, name, members):
    """An operation, the shape of its input, and the other shapes that it needs."""
    whole = model["operations"][name]
    kept = {"http": whole["http"]}
    if members == ["-"]:  # another library speaks for it
        return kept, {}, []
    needed, own = [], {}
    if "input" in whole:
        kept["input"] = name + "/input"
        structure = trimmed(model["shapes"][whole["input"]["shape"]])
        unknown = set(members) - set(structure.get("members", {}))
        if unknown:
            sys.exit(f"{name} has no {', '.join(sorted(unknown))}")
        for member, about in structure.get("members", {}).items():
            if member in members:
                needed.append(about["shape"])
            else:
                about.pop("shape")
        own[name + "/input"] = structure
    elif members:
        sys.exit(f"{name} has no input")
    if "output" in whole:
        kept["output"] = whole["output"]["shape"]
        needed.append(whole["output"]["shape"])
        if "resultWrapper" in whole["output"]:
            kept["wrapper"] = whole["output"]["resultWrapper"]
    return kept, own, needed


def errors(model):
    """Codes and statuses of errors that are not their names and 400."""
    found = {}
    for name, shape in model["shapes"].items():
        about = shape.get("error", {})
        code, status = about.get("code", name), about.get("httpStatusCode", 400)
        if shape.get("exception") and (code, status) != (name, 400):
            found[name] = [code, status]
    return found


def lines(about):
    """One member in a line, of large ones one of their members."""
    parts = []
    for key, value in about.items():
        if key in ("operations", "shapes"):
            inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{inner}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    wanted = collections.defaultdict(dict)
    for line in sys.stdin:
        service, name, *members = line.split()
        wanted[service][name] = members
    known = models()
    FOLDER.mkdir(exist_ok=True)
    for service, operations in sorted(wanted.items()):
        has_all = (m for m in known[service] if set(operations) <= set(m[1]["operations"]))
        source, model = next(has_all, (None, None))
        if model is None:
            sys.exit(f"no model of {service} has {', '.join(sorted(operations))}")
        metadata = model["metadata"]
        kept, own, needed = {}, {}, []
        for name, members in sorted(operations.items()):
            kept[name], inputs, more = operation(model, name, members)
            own.update(inputs)
            needed += more
        shapes = reachable(model["shapes"], needed) | own
        for (of, shape), rules in OWN_WORDS.items():
            if of == service and shape in shapes:
                for rule in rules:
                    shapes[shape].pop(rule)
        (FOLDER / f"{service}.json").write_text(lines({
            "origin": f"botocore {botocore.__version__} (Apache-2.0): {source} "
            f"{metadata['apiVersion']}, trimmed",
            "name": metadata["serviceId"],
            "protocol": metadata["protocol"],
            "others": sorted(set(model["operations"]) - set(operations)),
            "errors": errors(model),
            "operations": kept,
            "shapes": dict(sorted(shapes.items())),
        }))


main()
