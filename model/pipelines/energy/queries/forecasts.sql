SELECT observed_until, step, period, value, lower, upper, procure, note, model_version, execution
FROM predictions
ORDER BY execution, step
