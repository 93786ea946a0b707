SELECT symbol, day, ROUND(move, 2) AS move_percent
FROM (
  SELECT symbol, day, 100 * (close / before - 1) AS move, POWER(close / before - 1, 2) AS size
  FROM (
    SELECT symbol, day, close, LAG(close) OVER (PARTITION BY symbol ORDER BY day) AS before
    FROM prices
  ) pairs
  WHERE before IS NOT NULL
) moves
ORDER BY size DESC
LIMIT 20
