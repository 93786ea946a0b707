SELECT
  d.series AS area,
  d.time AS day,
  ROUND(d.value, 3) AS kwh,
  ROUND(d.score, 2) AS score
FROM unusual_days d
JOIN (SELECT MAX(looked_at) AS newest FROM unusual_days) latest ON latest.newest = d.looked_at
ORDER BY d.series, d.time
