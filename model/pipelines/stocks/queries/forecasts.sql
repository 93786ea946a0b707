SELECT
  series AS symbol,
  observed_until,
  period,
  ROUND(value, 2) AS value,
  ROUND(lower, 2) AS lower,
  ROUND(upper, 2) AS upper,
  note,
  model_version,
  execution
FROM predictions
ORDER BY execution, symbol
