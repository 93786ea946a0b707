"""Checks that every dependency has a licence that this project can ship under Apache-2.0."""

import json
import pathlib
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "OpenSSL", "Unicode-3.0", "Unlicense", "Zlib", "bzip2-1.0.6",
}


def alternatives(expression):
    """The sets of licences of an SPDX expression, one of which must be allowed as a whole."""
    text = expression.replace("/", " OR ").strip()
    while text.startswith("(") and text.endswith(")") and closes_at_end(text):
        text = text[1:-1].strip()
    for operator in (" OR ", " AND "):
        parts = split_outside(text, operator)
        if len(parts) > 1:
            options = [alternatives(p) for p in parts]
            if operator == " OR ":
                return [licences for option in options for licences in option]
            combined = [set()]
            for option in options:
                combined = [a | b for a in combined for b in option]
            return combined
    return [{text}]


def closes_at_end(text):
    depth = 0
    for position, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return position == len(text) - 1
    return False


def split_outside(text, operator):
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0 and text.startswith(operator, position):
            parts.append(text[start:position])
            start = position + len(operator)
    return parts + [text[start:]]


def of_file(package):
    """The licence of a package that ships its text and names no expression: only one that is known word for word."""
    file = package.get("license_file")
    if not file:
        return ""
    words = (pathlib.Path(package["manifest_path"]).parent / file).read_text().split()
    return "Apache-2.0" if words[:4] == ["Apache", "License", "Version", "2.0,"] else ""


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    refused = []
    for package in packages:
        expression = package.get("license") or of_file(package)
        if not any(licences <= ALLOWED for licences in alternatives(expression)):
            refused.append(f"{package['name']} {package['version']}: {expression or 'no licence given'}")
    if refused:
        sys.exit("licences that are not allowed:\n" + "\n".join(sorted(refused)))
    print(f"licences: {len(packages)} packages, all allowed")


if __name__ == "__main__":
    main()
