-- Per household: how much, how steady, when, and what changed. Loads are logarithms of a day's kWh
-- (at least 0.3, which a fridge needs); what a household shares with all others of the day, such as
-- the weather, is taken off before changes are looked at. Households with fewer than 60 whole days
-- have no profile.
WITH loads AS (
  SELECT
    r.household,
    r.day,
    r.kwh,
    LN(GREATEST(r.kwh, 0.3)) AS load,
    AVG(LN(GREATEST(r.kwh, 0.3))) OVER (PARTITION BY r.household) AS level,
    AVG(r.kwh) OVER (PARTITION BY r.household) AS mean_kwh,
    COUNT(*) OVER (PARTITION BY r.household) AS days,
    WEEKDAY(r.day) AS weekday
  FROM readings r
),
common AS (
  SELECT day, AVG(load - level) AS usual FROM loads GROUP BY day
),
rests AS (
  SELECT
    l.*,
    c.usual,
    l.load - l.level - c.usual AS rest,
    AVG(l.load - l.level - c.usual) OVER (
      PARTITION BY l.household, TRUNC(l.day, 'MONTH')
    ) AS of_month,
    l.load - GREATEST(
      LAG(l.load) OVER (PARTITION BY l.household ORDER BY l.day),
      LEAD(l.load) OVER (PARTITION BY l.household ORDER BY l.day)
    ) AS above,
    ROW_NUMBER() OVER (PARTITION BY l.household ORDER BY l.day) AS number,
    CASE WHEN l.kwh < LEAST(0.3, l.mean_kwh / 10) THEN 1 ELSE 0 END AS is_zero
  FROM loads l
  JOIN common c ON c.day = l.day
  WHERE l.days >= 60
),
-- Days in a row without energy: their number less that among such days stays the same.
runs AS (
  SELECT household, COUNT(*) AS days
  FROM (
    SELECT
      household,
      number - ROW_NUMBER() OVER (PARTITION BY household ORDER BY day) AS run
    FROM rests
    WHERE is_zero = 1
  ) zeros
  GROUP BY household, run
),
longest AS (
  SELECT household, MAX(days) AS days FROM runs GROUP BY household
),
daily AS (
  SELECT
    household,
    MAX(mean_kwh) AS kwh,
    STDDEV_POP(rest - of_month) AS spread,
    AVG(CASE WHEN weekday >= 5 THEN rest END) - AVG(CASE WHEN weekday < 5 THEN rest END)
      AS weekend,
    CORR(load, usual) AS season,
    AVG(CAST(is_zero AS DOUBLE)) AS zero_share,
    MAX(CASE WHEN from_highest = 5 THEN above END) AS spikes
  FROM (
    SELECT
      rests.*,
      ROW_NUMBER() OVER (PARTITION BY household ORDER BY above DESC, day) AS from_highest
    FROM rests
  ) ranked
  GROUP BY household
),
months AS (
  SELECT
    household,
    TRUNC(day, 'MONTH') AS month,
    AVG(rest) AS rest,
    ROW_NUMBER() OVER (PARTITION BY household ORDER BY TRUNC(day, 'MONTH')) AS number,
    COUNT(*) OVER (PARTITION BY household) AS months
  FROM rests
  WHERE is_zero = 0
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
-- months from their own level.
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
  daily.spikes,
  shifts.shift,
  drifts.drift
FROM daily
JOIN households ON households.household = daily.household
LEFT JOIN longest ON longest.household = daily.household
LEFT JOIN shifts ON shifts.household = daily.household
LEFT JOIN drifts ON drifts.household = daily.household
