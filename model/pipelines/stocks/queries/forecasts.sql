SELECT
  series AS symbol,
  observed_until,
  period,
  ROUND(predicted, 2) AS value,
  ROUND(lower, 2) AS lower,
  ROUND(upper, 2) AS upper,
  note,
  model_version,
  execution
FROM crawled_close
WHERE NOT backtest
ORDER BY execution, symbol
