-- One row per record of `raw`, whose columns are strings; runs unchanged on Spark and on the
-- embedded engine. What cannot be read as its type becomes NULL, and the rules judge it.
SELECT
  _row,
  NULLIF(TRIM(region), '') AS region,
  TRY_CAST(TRIM(year) AS INT) AS year,
  TRY_CAST(TRIM(marriages) AS BIGINT) AS marriages
FROM raw
