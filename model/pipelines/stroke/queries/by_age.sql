SELECT floor(age / 10) * 10 AS age_from, count(*) AS people,
  sum(CASE WHEN stroke THEN 1 ELSE 0 END) AS strokes,
  round(avg(CASE WHEN stroke THEN 1.0 ELSE 0.0 END), 4) AS happened,
  round(avg(probability), 4) AS predicted
FROM patients
JOIN predictions ON predictions.entity = CAST(patients.id AS VARCHAR)
WHERE execution = (SELECT max_by(execution, scored_at) FROM predictions)
GROUP BY floor(age / 10) * 10
ORDER BY age_from
