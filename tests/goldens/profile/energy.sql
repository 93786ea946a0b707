SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), min(r1), max(r1),
  count(r2), approx_distinct(r2), count(c2), min(c2), max(c2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(r3), max(r3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95)
FROM (
  SELECT
    "household" AS r0,
    "day" AS r1,
    "kwh" AS r2, CASE WHEN is_finite("kwh") THEN "kwh" END AS c2,
    "readings" AS r3, CAST("readings" AS double) AS c3
  FROM "readings"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(r0), max(r0),
  count(r1), approx_distinct(r1), count(c1), min(c1), max(c1), avg(c1), stddev_samp(c1), approx_percentile(c1, 0.05), approx_percentile(c1, 0.25), approx_percentile(c1, 0.5), approx_percentile(c1, 0.75), approx_percentile(c1, 0.95),
  count(r2), approx_distinct(r2), count(c2), min(c2), max(c2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(c3), max(c3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95)
FROM (
  SELECT
    "day" AS r0,
    "tmax" AS r1, CASE WHEN is_finite("tmax") THEN "tmax" END AS c1,
    "tmin" AS r2, CASE WHEN is_finite("tmin") THEN "tmin" END AS c2,
    "cloud" AS r3, CASE WHEN is_finite("cloud") THEN "cloud" END AS c3
  FROM "weather"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(r0), max(r0),
  count(r1), approx_distinct(r1), min(length(r1)), max(length(r1))
FROM (
  SELECT
    "day" AS r0,
    "holiday" AS r1
  FROM "holidays"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), min(length(r1)), max(length(r1)),
  count(r2), approx_distinct(r2), min(length(r2)), max(length(r2))
FROM (
  SELECT
    "household" AS r0,
    "tariff" AS r1,
    "acorn_group" AS r2
  FROM "households"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), min(r1), max(r1),
  count(r2), approx_distinct(r2), count(c2), min(c2), max(c2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(r3), max(r3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95),
  count(r4), approx_distinct(r4), count(c4), min(c4), max(c4), avg(c4), stddev_samp(c4), approx_percentile(c4, 0.05), approx_percentile(c4, 0.25), approx_percentile(c4, 0.5), approx_percentile(c4, 0.75), approx_percentile(c4, 0.95),
  count(r5), approx_distinct(r5), count(c5), min(c5), max(c5), avg(c5), stddev_samp(c5), approx_percentile(c5, 0.05), approx_percentile(c5, 0.25), approx_percentile(c5, 0.5), approx_percentile(c5, 0.75), approx_percentile(c5, 0.95),
  count(r6), approx_distinct(r6), count(c6), min(c6), max(c6), avg(c6), stddev_samp(c6), approx_percentile(c6, 0.05), approx_percentile(c6, 0.25), approx_percentile(c6, 0.5), approx_percentile(c6, 0.75), approx_percentile(c6, 0.95),
  count(r7), approx_distinct(r7), count(c7), min(c7), max(c7), avg(c7), stddev_samp(c7), approx_percentile(c7, 0.05), approx_percentile(c7, 0.25), approx_percentile(c7, 0.5), approx_percentile(c7, 0.75), approx_percentile(c7, 0.95)
FROM (
  SELECT
    "area" AS r0,
    "day" AS r1,
    "kwh" AS r2, CASE WHEN is_finite("kwh") THEN "kwh" END AS c2,
    "households" AS r3, CAST("households" AS double) AS c3,
    "heating" AS r4, CASE WHEN is_finite("heating") THEN "heating" END AS c4,
    "cooling" AS r5, CASE WHEN is_finite("cooling") THEN "cooling" END AS c5,
    "tmax" AS r6, CASE WHEN is_finite("tmax") THEN "tmax" END AS c6,
    "cloud" AS r7, CASE WHEN is_finite("cloud") THEN "cloud" END AS c7
  FROM "demand"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), min(r1), max(r1),
  count(r2), approx_distinct(r2), count(c2), min(c2), max(c2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(c3), max(c3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95),
  count(r4), approx_distinct(r4), count(c4), min(c4), max(c4), avg(c4), stddev_samp(c4), approx_percentile(c4, 0.05), approx_percentile(c4, 0.25), approx_percentile(c4, 0.5), approx_percentile(c4, 0.75), approx_percentile(c4, 0.95),
  count(r5), approx_distinct(r5), count(c5), min(c5), max(c5), avg(c5), stddev_samp(c5), approx_percentile(c5, 0.05), approx_percentile(c5, 0.25), approx_percentile(c5, 0.5), approx_percentile(c5, 0.75), approx_percentile(c5, 0.95),
  count(r6), approx_distinct(r6), count(c6), min(c6), max(c6), avg(c6), stddev_samp(c6), approx_percentile(c6, 0.05), approx_percentile(c6, 0.25), approx_percentile(c6, 0.5), approx_percentile(c6, 0.75), approx_percentile(c6, 0.95),
  count(r7), approx_distinct(r7), count(c7), min(r7), max(r7), avg(c7), stddev_samp(c7), approx_percentile(c7, 0.05), approx_percentile(c7, 0.25), approx_percentile(c7, 0.5), approx_percentile(c7, 0.75), approx_percentile(c7, 0.95),
  count(r8), approx_distinct(r8), count(CASE WHEN r8 THEN 1 END)
FROM (
  SELECT
    "household" AS r0,
    "day" AS r1,
    "kwh" AS r2, CASE WHEN is_finite("kwh") THEN "kwh" END AS c2,
    "load" AS r3, CASE WHEN is_finite("load") THEN "load" END AS c3,
    "usual" AS r4, CASE WHEN is_finite("usual") THEN "usual" END AS c4,
    "rest" AS r5, CASE WHEN is_finite("rest") THEN "rest" END AS c5,
    "above" AS r6, CASE WHEN is_finite("above") THEN "above" END AS c6,
    "number" AS r7, CAST("number" AS double) AS c7,
    "is_zero" AS r8
  FROM "household_days"
);

SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), min(length(r1)), max(length(r1)),
  count(r2), approx_distinct(r2), count(c2), min(c2), max(c2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(c3), max(c3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95),
  count(r4), approx_distinct(r4), count(c4), min(c4), max(c4), avg(c4), stddev_samp(c4), approx_percentile(c4, 0.05), approx_percentile(c4, 0.25), approx_percentile(c4, 0.5), approx_percentile(c4, 0.75), approx_percentile(c4, 0.95),
  count(r5), approx_distinct(r5), count(c5), min(c5), max(c5), avg(c5), stddev_samp(c5), approx_percentile(c5, 0.05), approx_percentile(c5, 0.25), approx_percentile(c5, 0.5), approx_percentile(c5, 0.75), approx_percentile(c5, 0.95),
  count(r6), approx_distinct(r6), count(c6), min(c6), max(c6), avg(c6), stddev_samp(c6), approx_percentile(c6, 0.05), approx_percentile(c6, 0.25), approx_percentile(c6, 0.5), approx_percentile(c6, 0.75), approx_percentile(c6, 0.95),
  count(r7), approx_distinct(r7), count(c7), min(r7), max(r7), avg(c7), stddev_samp(c7), approx_percentile(c7, 0.05), approx_percentile(c7, 0.25), approx_percentile(c7, 0.5), approx_percentile(c7, 0.75), approx_percentile(c7, 0.95),
  count(r8), approx_distinct(r8), count(c8), min(c8), max(c8), avg(c8), stddev_samp(c8), approx_percentile(c8, 0.05), approx_percentile(c8, 0.25), approx_percentile(c8, 0.5), approx_percentile(c8, 0.75), approx_percentile(c8, 0.95),
  count(r9), approx_distinct(r9), count(c9), min(c9), max(c9), avg(c9), stddev_samp(c9), approx_percentile(c9, 0.05), approx_percentile(c9, 0.25), approx_percentile(c9, 0.5), approx_percentile(c9, 0.75), approx_percentile(c9, 0.95),
  count(r10), approx_distinct(r10), count(c10), min(c10), max(c10), avg(c10), stddev_samp(c10), approx_percentile(c10, 0.05), approx_percentile(c10, 0.25), approx_percentile(c10, 0.5), approx_percentile(c10, 0.75), approx_percentile(c10, 0.95)
FROM (
  SELECT
    "household" AS r0,
    "acorn_group" AS r1,
    "kwh" AS r2, CASE WHEN is_finite("kwh") THEN "kwh" END AS c2,
    "spread" AS r3, CASE WHEN is_finite("spread") THEN "spread" END AS c3,
    "weekend" AS r4, CASE WHEN is_finite("weekend") THEN "weekend" END AS c4,
    "season" AS r5, CASE WHEN is_finite("season") THEN "season" END AS c5,
    "zero_share" AS r6, CASE WHEN is_finite("zero_share") THEN "zero_share" END AS c6,
    "zero_days" AS r7, CAST("zero_days" AS double) AS c7,
    "spikes" AS r8, CASE WHEN is_finite("spikes") THEN "spikes" END AS c8,
    "shift" AS r9, CASE WHEN is_finite("shift") THEN "shift" END AS c9,
    "drift" AS r10, CASE WHEN is_finite("drift") THEN "drift" END AS c10
  FROM "profiles"
);
