SELECT
  count(*),
  count(r0), approx_distinct(r0), min(length(r0)), max(length(r0)),
  count(r1), approx_distinct(r1), count(c1), min(c1), max(c1), avg(c1), stddev_samp(c1), approx_percentile(c1, 0.05), approx_percentile(c1, 0.25), approx_percentile(c1, 0.5), approx_percentile(c1, 0.75), approx_percentile(c1, 0.95),
  count(r2), approx_distinct(r2), count(c2), min(r2), max(r2), avg(c2), stddev_samp(c2), approx_percentile(c2, 0.05), approx_percentile(c2, 0.25), approx_percentile(c2, 0.5), approx_percentile(c2, 0.75), approx_percentile(c2, 0.95),
  count(r3), approx_distinct(r3), count(c3), min(r3), max(r3), avg(c3), stddev_samp(c3), approx_percentile(c3, 0.05), approx_percentile(c3, 0.25), approx_percentile(c3, 0.5), approx_percentile(c3, 0.75), approx_percentile(c3, 0.95),
  count(r4), approx_distinct(r4), count(CASE WHEN r4 THEN 1 END),
  count(r5), approx_distinct(r5), min(r5), max(r5),
  count(r6), approx_distinct(r6), min(r6), max(r6)
FROM (
  SELECT
    nullif("имя", '') AS r0,
    TRY_CAST(nullif("a""b", '') AS double) AS r1, CASE WHEN is_finite(TRY_CAST(nullif("a""b", '') AS double)) THEN TRY_CAST(nullif("a""b", '') AS double) END AS c1,
    TRY_CAST(nullif("n", '') AS integer) AS r2, CAST(TRY_CAST(nullif("n", '') AS integer) AS double) AS c2,
    TRY_CAST(nullif("price", '') AS decimal(10,2)) AS r3, CAST(TRY_CAST(nullif("price", '') AS decimal(10,2)) AS double) AS c3,
    TRY_CAST(nullif("flag", '') AS boolean) AS r4,
    TRY_CAST(nullif("day", '') AS date) AS r5,
    TRY_CAST(nullif("at", '') AS timestamp) AS r6
  FROM "odd ""table"""
);

SELECT count(*)
FROM (
  SELECT count(*) AS n
  FROM "odd ""table"""
  GROUP BY "имя", "day"
  HAVING count(*) > 1
);

SELECT
  count(CASE WHEN c1 = 1E0 THEN 1 END), count(CASE WHEN c1 < (-6.5E0) THEN 1 END), count(CASE WHEN c1 >= 3E0 THEN 1 END), count(CASE WHEN c1 >= (-6.5E0) AND c1 < (-6E0) THEN 1 END), count(CASE WHEN c1 >= (-6E0) AND c1 < (-5.5E0) THEN 1 END), count(CASE WHEN c1 >= (-5.5E0) AND c1 < (-5E0) THEN 1 END), count(CASE WHEN c1 >= (-5E0) AND c1 < (-4.5E0) THEN 1 END), count(CASE WHEN c1 >= (-4.5E0) AND c1 < (-4E0) THEN 1 END), count(CASE WHEN c1 >= (-4E0) AND c1 < (-3.5E0) THEN 1 END), count(CASE WHEN c1 >= (-3.5E0) AND c1 < (-3E0) THEN 1 END), count(CASE WHEN c1 >= (-3E0) AND c1 < (-2.5E0) THEN 1 END), count(CASE WHEN c1 >= (-2.5E0) AND c1 < (-2E0) THEN 1 END), count(CASE WHEN c1 >= (-2E0) AND c1 < (-1.5E0) THEN 1 END), count(CASE WHEN c1 >= (-1.5E0) AND c1 < (-1E0) THEN 1 END), count(CASE WHEN c1 >= (-1E0) AND c1 < (-5E-1) THEN 1 END), count(CASE WHEN c1 >= (-5E-1) AND c1 < 0E0 THEN 1 END), count(CASE WHEN c1 >= 0E0 AND c1 < 5E-1 THEN 1 END), count(CASE WHEN c1 >= 5E-1 AND c1 < 1E0 THEN 1 END), count(CASE WHEN c1 >= 1E0 AND c1 < 1.5E0 THEN 1 END), count(CASE WHEN c1 >= 1.5E0 AND c1 < 2E0 THEN 1 END), count(CASE WHEN c1 >= 2E0 AND c1 < 2.5E0 THEN 1 END), count(CASE WHEN c1 >= 2.5E0 AND c1 < 3E0 THEN 1 END),
  count(CASE WHEN c2 = 7E0 THEN 1 END), count(CASE WHEN c2 < 7E0 THEN 1 END), count(CASE WHEN c2 >= 9E0 THEN 1 END), count(CASE WHEN c2 >= 7E0 AND c2 < 8E0 THEN 1 END), count(CASE WHEN c2 >= 8E0 AND c2 < 9E0 THEN 1 END)
FROM (
  SELECT
    TRY_CAST(nullif("a""b", '') AS double) AS r1, CASE WHEN is_finite(TRY_CAST(nullif("a""b", '') AS double)) THEN TRY_CAST(nullif("a""b", '') AS double) END AS c1,
    TRY_CAST(nullif("n", '') AS integer) AS r2, CAST(TRY_CAST(nullif("n", '') AS integer) AS double) AS c2
  FROM "odd ""table"""
);

SELECT * FROM (
  SELECT 0 AS c, substr(v, 1, 200) AS t, n
  FROM (
    SELECT nullif("имя", '') AS v, count(*) AS n
    FROM "odd ""table"""
    WHERE nullif("имя", '') IS NOT NULL
    GROUP BY nullif("имя", '')
    ORDER BY n DESC, v
    LIMIT 11
  )
)
UNION ALL
SELECT * FROM (
  SELECT 5 AS c, CAST(v AS varchar) AS t, n
  FROM (
    SELECT date_trunc('day', TRY_CAST(nullif("day", '') AS date)) AS v, count(*) AS n
    FROM "odd ""table"""
    WHERE TRY_CAST(nullif("day", '') AS date) IS NOT NULL
    GROUP BY date_trunc('day', TRY_CAST(nullif("day", '') AS date))
    ORDER BY v
    LIMIT 10000
  )
)
UNION ALL
SELECT * FROM (
  SELECT 6 AS c, CAST(v AS varchar) AS t, n
  FROM (
    SELECT date_trunc('year', TRY_CAST(nullif("at", '') AS timestamp)) AS v, count(*) AS n
    FROM "odd ""table"""
    WHERE TRY_CAST(nullif("at", '') AS timestamp) IS NOT NULL
    GROUP BY date_trunc('year', TRY_CAST(nullif("at", '') AS timestamp))
    ORDER BY v
    LIMIT 10000
  )
);

SELECT
  corr(c1, c2), count(CASE WHEN c1 IS NOT NULL AND c2 IS NOT NULL THEN 1 END)
FROM (
  SELECT
    TRY_CAST(nullif("a""b", '') AS double) AS r1, CASE WHEN is_finite(TRY_CAST(nullif("a""b", '') AS double)) THEN TRY_CAST(nullif("a""b", '') AS double) END AS c1,
    TRY_CAST(nullif("n", '') AS integer) AS r2, CAST(TRY_CAST(nullif("n", '') AS integer) AS double) AS c2
  FROM "odd ""table"""
);
