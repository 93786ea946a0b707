SELECT entity, round(probability, 4) AS probability, label, age, bmi, glucose, reasons
FROM predictions
JOIN patients ON predictions.entity = CAST(patients.id AS VARCHAR)
WHERE execution = (SELECT execution FROM predictions ORDER BY scored_at DESC LIMIT 1)
ORDER BY probability DESC, entity
LIMIT 20
