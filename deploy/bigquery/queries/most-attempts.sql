-- Jobs of the last 7 days that took most: of attempts first, then of time in the attempt that settled them.
--
--   bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false < deploy/bigquery/queries/most-attempts.sql

SELECT
  JSON_VALUE(data, '$.job') AS job,
  JSON_VALUE(data, '$.user') AS user,
  JSON_VALUE(data, '$.action') AS action,
  JSON_VALUE(data, '$.status') AS status,
  CAST(JSON_VALUE(data, '$.attempts') AS INT64) AS attempts,
  -- BigQuery reads microseconds, and no more digits than that.
  TIMESTAMP_DIFF(
    TIMESTAMP(REGEXP_REPLACE(JSON_VALUE(data, '$.finishedAt'), '([.][0-9]{6})[0-9]+', '\\1')),
    TIMESTAMP(REGEXP_REPLACE(JSON_VALUE(data, '$.startedAt'), '([.][0-9]{6})[0-9]+', '\\1')),
    MILLISECOND) / 1000 AS seconds
FROM results
WHERE publish_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
QUALIFY ROW_NUMBER() OVER (PARTITION BY JSON_VALUE(data, '$.job') ORDER BY publish_time) = 1
ORDER BY attempts DESC, seconds DESC
LIMIT 100
