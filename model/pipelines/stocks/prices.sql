-- What a day told beside its close: how far prices went apart, where they went from the opening, and
-- how much was traded beside the twenty days before. Shares, so that all symbols are alike. A quote
-- without an opening, without extremes or without trade tells nothing of these.
SELECT
  symbol,
  day,
  close,
  CASE WHEN low > 0 AND high >= low THEN (high - low) / close ELSE 0.0 END AS swing,
  CASE WHEN open > 0 THEN (close - open) / open ELSE 0.0 END AS course,
  CASE WHEN volume > 0 AND before > 0 THEN LEAST(volume * days / before, 5.0) ELSE 1.0 END AS turnover
FROM (
  SELECT
    symbol,
    day,
    open,
    high,
    low,
    close,
    volume,
    SUM(volume) OVER newest AS before,
    COUNT(volume) OVER newest AS days
  FROM quotes
  WINDOW newest AS (
    PARTITION BY symbol ORDER BY day ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING
  )
) quotes
