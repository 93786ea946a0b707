SELECT bmi IS NULL AS bmi_missing, count(*) AS people,
  sum(CASE WHEN stroke THEN 1 ELSE 0 END) AS strokes,
  round(avg(CASE WHEN stroke THEN 1.0 ELSE 0.0 END), 4) AS share
FROM patients
GROUP BY bmi IS NULL
ORDER BY bmi_missing
