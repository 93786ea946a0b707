SELECT symbol, day, ROUND(100 * (close / before - 1), 2) AS move_percent
FROM (
  SELECT symbol, day, close, LAG(close) OVER (PARTITION BY symbol ORDER BY day) AS before
  FROM prices
) moves
WHERE before IS NOT NULL
ORDER BY ABS(LN(close / before)) DESC
LIMIT 20
