SELECT h.tariff, h.acorn_group, COUNT(DISTINCT r.household) AS households, ROUND(AVG(r.kwh), 3) AS kwh
FROM readings r
JOIN households h ON h.household = r.household
GROUP BY h.tariff, h.acorn_group
ORDER BY h.tariff, h.acorn_group
