SELECT entity, round(probability, 4) AS probability, label,
  reasons[1].column AS first_reason, reasons[1].value AS its_value,
  round(reasons[1].effect, 3) AS its_effect
FROM predictions
WHERE execution = (SELECT max_by(execution, scored_at) FROM predictions)
ORDER BY probability DESC, entity
LIMIT 20
