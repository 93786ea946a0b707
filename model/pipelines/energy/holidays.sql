-- A date whose month is none in which the holiday can be, and whose day is one, has both swapped.
SELECT
  _row,
  TRY_CAST(
    CASE
      WHEN months NOT LIKE CONCAT('%', month, '%') AND months LIKE CONCAT('%', day_of_month, '%')
        THEN CONCAT(SUBSTRING(written, 1, 4), '-', day_of_month, '-', month)
      ELSE written
    END AS DATE
  ) AS day,
  holiday
FROM (
  SELECT
    _row,
    BTRIM(day) AS written,
    SUBSTRING(BTRIM(day), 6, 2) AS month,
    SUBSTRING(BTRIM(day), 9, 2) AS day_of_month,
    BTRIM(holiday) AS holiday,
    CASE
      WHEN holiday LIKE 'New Year%' THEN '01'
      WHEN holiday LIKE 'Good Friday%' THEN '03 04'
      WHEN holiday LIKE 'Easter Monday%' THEN '03 04'
      WHEN holiday LIKE 'Early May%' THEN '05'
      WHEN holiday LIKE 'Spring bank%' THEN '05 06'
      WHEN holiday LIKE '%Diamond Jubilee%' THEN '06'
      WHEN holiday LIKE 'Summer bank%' THEN '08'
      ELSE '01 02 03 04 05 06 07 08 09 10 11 12'
    END AS months
  FROM raw
) dated
