SELECT year, SUM(marriages) AS marriages, COUNT(*) AS regions
FROM processed
GROUP BY year
ORDER BY year
