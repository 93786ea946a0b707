SELECT
  series AS symbol,
  period AS day,
  ROUND(actual, 2) AS close,
  ROUND(predicted, 2) AS predicted,
  ROUND(lower, 2) AS lower,
  ROUND(upper, 2) AS upper
FROM crawled_close
WHERE scored_at = (SELECT MAX(scored_at) FROM crawled_close)
ORDER BY symbol, day
