SELECT
  series AS area,
  period AS day,
  step,
  ROUND(actual, 3) AS kwh,
  ROUND(predicted, 3) AS predicted,
  ROUND(lower, 3) AS lower,
  ROUND(upper, 3) AS upper
FROM predictions
WHERE scored_at = (SELECT MAX(scored_at) FROM predictions)
ORDER BY area, day
