SELECT observed_until, step, period, value, lower, upper, note, model_version, execution
FROM predictions
ORDER BY execution, step
