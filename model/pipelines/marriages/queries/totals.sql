SELECT year, SUM(marriages) AS marriages, COUNT(*) AS regions
FROM marriages
GROUP BY year
ORDER BY year
