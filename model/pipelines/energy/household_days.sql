-- Per household and day: how the load differs from the household's own level and from what all
-- households share on that day, such as the weather. Loads are logarithms of a day's kWh (at least
-- 0.3, which a fridge needs). Households with fewer than 60 whole days are left out.
WITH levels AS (
  SELECT household, AVG(LN(GREATEST(kwh, 0.3))) AS level, AVG(kwh) AS mean_kwh
  FROM readings
  GROUP BY household
  HAVING COUNT(*) >= 60
),
common AS (
  SELECT r.day, AVG(LN(GREATEST(r.kwh, 0.3)) - h.level) AS usual
  FROM levels h
  JOIN readings r ON r.household = h.household
  GROUP BY r.day
),
loads AS (
  SELECT
    r.household,
    r.day,
    r.kwh,
    h.mean_kwh,
    c.usual,
    LN(GREATEST(r.kwh, 0.3)) AS load,
    LN(GREATEST(r.kwh, 0.3)) - h.level - c.usual AS rest
  FROM levels h
  JOIN readings r ON r.household = h.household
  JOIN common c ON c.day = r.day
)
SELECT
  household,
  day,
  kwh,
  load,
  usual,
  rest,
  load - GREATEST(
    LAG(load) OVER (PARTITION BY household ORDER BY day),
    LEAD(load) OVER (PARTITION BY household ORDER BY day)
  ) AS above,
  CAST(ROW_NUMBER() OVER (PARTITION BY household ORDER BY day) AS INT) AS number,
  kwh < LEAST(0.3, mean_kwh / 10) AS is_zero
FROM loads
