SELECT
  symbol,
  day,
  ROUND(close, 2) AS close,
  ROUND(100 * course, 2) AS course_percent,
  ROUND(100 * swing, 2) AS swing_percent,
  ROUND(turnover, 2) AS turnover
FROM prices
ORDER BY day DESC, symbol
