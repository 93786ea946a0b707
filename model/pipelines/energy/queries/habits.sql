SELECT
  g.cluster,
  g.words,
  COUNT(*) AS households,
  ROUND(AVG(p.kwh), 2) AS kwh_per_day,
  ROUND(AVG(p.spread), 3) AS spread,
  ROUND(AVG(p.weekend), 3) AS weekend,
  ROUND(AVG(p.season), 3) AS season
FROM habits g
JOIN (SELECT MAX(looked_at) AS newest FROM habits) latest ON latest.newest = g.looked_at
JOIN profiles p ON p.household = g.entity
GROUP BY g.cluster, g.words
ORDER BY g.cluster
