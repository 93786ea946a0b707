SELECT day, ROUND(kwh, 3) AS kwh, households, ROUND(tmax, 1) AS tmax, ROUND(heating, 1) AS heating
FROM demand
ORDER BY day DESC
