SELECT p.series AS region, p.period, p.value, p.lower, p.upper, c.marriages AS last_value, p.note, p.model_version, p.execution
FROM predictions p
JOIN marriages c ON c.region = p.series AND CAST(c.year AS VARCHAR) = p.observed_until
ORDER BY region, p.execution
