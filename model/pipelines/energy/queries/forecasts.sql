SELECT
  observed_until,
  step,
  period,
  predicted AS value,
  lower,
  upper,
  procure,
  note,
  model_version,
  execution
FROM predictions
WHERE NOT backtest
ORDER BY execution, step
