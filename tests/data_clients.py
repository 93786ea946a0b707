"""Data clients that others wrote against the embedded cloud: awswrangler, PyAthena with SQLAlchemy, and dbt-athena.

Checks are by value and are written from the clients' public documentation. dbt runs from an environment of its own.
"""

import os
import pathlib
import sys
import traceback

from support import ROOT, EmbeddedCloud

PASSED, FAILED = [], []


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:700]}'}", flush=True)


def checked(name, work):
    """A check whose work may fail with an error of the client; it gives whether it holds, or that and what was seen."""
    try:
        result = work()
    except Exception as error:  # Whatever a client raises is what was seen.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return check(name, False, f"{type(error).__name__}: {error} ({where.filename.split('/')[-1]}:{where.lineno})")
    holds, seen = result if isinstance(result, tuple) else (result, result)
    check(name, bool(holds) is True, seen)


def refused(work, *words):
    """Whether work is refused with all of these words."""
    try:
        work()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return all(word in said for word in words), said
    return False, "no error"


def main():
    import data_clients_pyathena
    import data_clients_wrangler

    chosen = sys.argv[1:] or ["wrangler", "pyathena", "dbt"]
    with EmbeddedCloud() as cloud:
        os.environ.update(cloud.environment)
        if "wrangler" in chosen:
            data_clients_wrangler.run(checked, refused)
        if "pyathena" in chosen:
            data_clients_pyathena.run(checked, refused)
        if "dbt" in chosen:
            import data_clients_dbt

            data_clients_dbt.run(checked, cloud.environment, pathlib.Path(ROOT / ".venv-dbt" / "bin" / "dbt"))
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
