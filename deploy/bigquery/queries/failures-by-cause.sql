-- What jobs failed for in the last 7 days, who must act, and what mends it: the most frequent cause first.
--
--   bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false < deploy/bigquery/queries/failures-by-cause.sql

WITH result AS (
  SELECT
    publish_time,
    JSON_VALUE(data, '$.user') AS user,
    JSON_VALUE(data, '$.status') AS status,
    JSON_VALUE(data, '$.error.fault') AS fault,
    JSON_VALUE(data, '$.error.stage') AS stage,
    JSON_VALUE(data, '$.error.reason') AS reason,
    JSON_VALUE(data, '$.error.message') AS message,
    JSON_VALUE(data, '$.error.fix') AS fix
  FROM results
  WHERE publish_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY JSON_VALUE(data, '$.job') ORDER BY publish_time) = 1
)
SELECT
  status,
  fault,
  stage,
  reason,
  COUNT(*) AS jobs,
  COUNT(DISTINCT user) AS users,
  MAX(publish_time) AS latest,
  -- Message and fix may name the user: one stands for all.
  ANY_VALUE(message) AS message,
  ANY_VALUE(fix) AS fix
FROM result
WHERE status NOT IN ('succeeded', 'previewed')
GROUP BY status, fault, stage, reason
ORDER BY jobs DESC
