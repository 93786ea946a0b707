"""Writes M3 as CSV for `make accuracy`: the public file is Parquet in a compression that the model crate does not read."""

import pathlib

import pyarrow.csv
import pyarrow.parquet
from support import SHARED_DATA, TARGET

source = SHARED_DATA / "m3" / "M3_long.parquet"
if not source.exists():
    raise SystemExit(f"{source} is not there; set STEPPE_SHARED_DATA to the folder with the public data sets")
folder = pathlib.Path(TARGET) / "accuracy"
folder.mkdir(parents=True, exist_ok=True)
pyarrow.csv.write_csv(pyarrow.parquet.read_table(source), folder / "m3.csv")
