-- Per household: how much, how steady, when, and what changed.
WITH all_months AS (
  SELECT household, TRUNC(day, 'MONTH') AS month, AVG(rest) AS rest
  FROM household_days
  GROUP BY household, TRUNC(day, 'MONTH')
),
daily AS (
  SELECT
    d.household,
    AVG(d.kwh) AS kwh,
    STDDEV_POP(d.rest - m.rest) AS spread,
    AVG(CASE WHEN WEEKDAY(d.day) >= 5 THEN d.rest END)
      - AVG(CASE WHEN WEEKDAY(d.day) < 5 THEN d.rest END) AS weekend,
    CORR(d.load, d.usual) AS season,
    AVG(CASE WHEN d.is_zero THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END) AS zero_share
  FROM all_months m
  JOIN household_days d ON d.household = m.household AND TRUNC(d.day, 'MONTH') = m.month
  GROUP BY d.household
),
-- Days in a row without energy: their number less that among such days stays the same.
runs AS (
  SELECT household, COUNT(*) AS days
  FROM (
    SELECT
      household,
      number - ROW_NUMBER() OVER (PARTITION BY household ORDER BY day) AS run
    FROM household_days
    WHERE is_zero
  ) zeros
  GROUP BY household, run
),
longest AS (
  SELECT household, MAX(days) AS days FROM runs GROUP BY household
),
-- By how much the fifth highest day is above both of its neighbours.
peaks AS (
  SELECT household, MAX(CASE WHEN place = 5 THEN above END) AS spikes
  FROM (
    SELECT
      household,
      above,
      ROW_NUMBER() OVER (PARTITION BY household ORDER BY above DESC) AS place
    FROM household_days
    WHERE above > 0
  ) ranked
  GROUP BY household
),
months AS (
  SELECT
    household,
    AVG(rest) AS rest,
    ROW_NUMBER() OVER (PARTITION BY household ORDER BY TRUNC(day, 'MONTH')) AS number,
    COUNT(*) OVER (PARTITION BY household) AS months
  FROM household_days
  WHERE NOT is_zero
  GROUP BY household, TRUNC(day, 'MONTH')
  HAVING COUNT(*) >= 10
),
-- Sums of the months up to each one, and of all.
sums AS (
  SELECT
    household,
    number,
    months,
    SUM(rest) OVER (PARTITION BY household ORDER BY number) AS before,
    SUM(rest) OVER (PARTITION BY household) AS total,
    SUM(rest * rest) OVER (PARTITION BY household) AS squares
  FROM months
),
-- The two levels that a household has had, if it has had two: how far apart, in deviations of the
-- months from their own level, which are 0.2 and more.
shifts AS (
  SELECT
    household,
    MAX(
      ABS(before / number - (total - before) / NULLIF(months - number, 0))
      / SQRT(
        GREATEST(
          squares - before * before / number
          - (total - before) * (total - before) / NULLIF(months - number, 0),
          0.0
        ) / months + 0.04
      )
    ) AS shift
  FROM sums
  WHERE number >= 3 AND months - number >= 3
  GROUP BY household
),
-- How much more it has become over the whole time, as far as it has become so steadily.
drifts AS (
  SELECT
    household,
    CASE WHEN CORR(rest, CAST(number AS DOUBLE)) > 0 THEN
      POWER(CORR(rest, CAST(number AS DOUBLE)), 3.0) * STDDEV_POP(rest)
      / NULLIF(STDDEV_POP(CAST(number AS DOUBLE)), 0.0) * MAX(months)
    ELSE 0.0 END AS drift
  FROM months
  GROUP BY household
)
SELECT
  daily.household,
  households.acorn_group,
  daily.kwh,
  daily.spread,
  daily.weekend,
  daily.season,
  daily.zero_share,
  COALESCE(longest.days, 0) AS zero_days,
  peaks.spikes,
  shifts.shift,
  drifts.drift
FROM daily
JOIN households ON households.household = daily.household
LEFT JOIN longest ON longest.household = daily.household
LEFT JOIN peaks ON peaks.household = daily.household
LEFT JOIN shifts ON shifts.household = daily.household
LEFT JOIN drifts ON drifts.household = daily.household
