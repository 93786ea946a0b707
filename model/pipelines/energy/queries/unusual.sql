SELECT
  u.entity AS household,
  u.within AS compared_within,
  u.rank,
  u.families AS flagged_by,
  u.reason,
  ROUND(u.reason_value, 3) AS value,
  ROUND(u.reason_usual, 3) AS usual
FROM unusual u
JOIN (SELECT MAX(looked_at) AS newest FROM unusual) latest ON latest.newest = u.looked_at
WHERE u.flagged
ORDER BY u.within, u.rank, u.entity
