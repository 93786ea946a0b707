SELECT region, year, marriages, previous, ROUND(100.0 * (marriages - previous) / previous, 1) AS percent
FROM (
  SELECT region, year, marriages, LAG(marriages) OVER (PARTITION BY region ORDER BY year) AS previous
  FROM marriages
) changes
WHERE previous > 0
ORDER BY year DESC, region
