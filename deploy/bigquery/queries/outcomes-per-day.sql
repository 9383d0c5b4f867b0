-- Jobs per day by what came of them, in the last 30 days, each job once.
--
--   bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false < deploy/bigquery/queries/outcomes-per-day.sql

WITH result AS (
  SELECT
    publish_time,
    JSON_VALUE(data, '$.status') AS status,
    JSON_VALUE(data, '$.action') AS action
  FROM results
  WHERE publish_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
  -- A result may be published more than once, and is the same then.
  QUALIFY ROW_NUMBER() OVER (PARTITION BY JSON_VALUE(data, '$.job') ORDER BY publish_time) = 1
)
SELECT
  DATE(publish_time) AS day,
  action,
  COUNT(*) AS jobs,
  COUNTIF(status = 'succeeded') AS succeeded,
  COUNTIF(status = 'previewed') AS previewed,
  COUNTIF(status = 'failed') AS failed,
  COUNTIF(status = 'refused') AS refused,
  COUNTIF(status = 'expired') AS expired,
  COUNTIF(status = 'cancelled') AS cancelled,
  COUNTIF(status = 'uncertain') AS uncertain
FROM result
GROUP BY day, action
ORDER BY day DESC, jobs DESC
