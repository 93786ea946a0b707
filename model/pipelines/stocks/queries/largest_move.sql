SELECT MAX(ABS(LN(close / before))) AS move
FROM (
  SELECT close, LAG(close) OVER (PARTITION BY symbol ORDER BY day) AS before
  FROM prices
) moves
WHERE before IS NOT NULL
