SELECT CORR(load_change, warmth_change) AS correlation
FROM (
  SELECT
    day,
    kwh - LAG(kwh) OVER (ORDER BY day) AS load_change,
    tmax - LAG(tmax) OVER (ORDER BY day) AS warmth_change
  FROM demand
) changes
WHERE EXTRACT(MONTH FROM day) BETWEEN 4 AND 10
