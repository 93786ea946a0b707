SELECT floor(age / 10) * 10 AS age_from, count(*) AS people,
  sum(CASE WHEN stroke THEN 1 ELSE 0 END) AS strokes,
  round(avg(CASE WHEN stroke THEN 1.0 ELSE 0.0 END), 4) AS happened,
  round(avg(probability), 4) AS predicted
FROM patients
JOIN predictions ON predictions.entity = CAST(patients.id AS VARCHAR)
WHERE execution = (SELECT execution FROM predictions ORDER BY scored_at DESC LIMIT 1)
GROUP BY floor(age / 10) * 10
ORDER BY age_from
