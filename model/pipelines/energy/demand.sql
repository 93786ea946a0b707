-- The panel of households grows, so the energy is that of a mean household; days on which less than
-- a tenth of the households had a whole day are left out.
SELECT
  'London' AS area,
  days.day,
  days.kwh,
  days.households,
  GREATEST(0.0, 15.5 - (weather.tmax + weather.tmin) / 2) AS heating,
  GREATEST(0.0, (weather.tmax + weather.tmin) / 2 - 20.0) AS cooling,
  weather.tmax,
  weather.cloud
FROM (
  SELECT
    day,
    AVG(kwh) AS kwh,
    COUNT(*) AS households,
    MAX(COUNT(*)) OVER () AS most
  FROM readings
  GROUP BY day
) days
JOIN weather ON weather.day = days.day
WHERE 10 * days.households >= days.most
