-- Who of a batch was not served, and why. What was started again by retry has another id, ID~N: the last of a user's
-- counts. The batch is the parameter:
--
--   bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false \
--     --parameter=batch::signatures-20261122T030000.000Z < deploy/bigquery/queries/failed-in-batch.sql

WITH result AS (
  SELECT
    JSON_VALUE(data, '$.user') AS user,
    JSON_VALUE(data, '$.job') AS job,
    JSON_VALUE(data, '$.status') AS status,
    JSON_VALUE(data, '$.error.fault') AS fault,
    JSON_VALUE(data, '$.error.reason') AS reason,
    JSON_VALUE(data, '$.error.message') AS message,
    JSON_VALUE(data, '$.error.fix') AS fix
  FROM results
  WHERE JSON_VALUE(attributes, '$.batch') = @batch
  -- BigQuery reads microseconds, and no more digits than that.
  QUALIFY ROW_NUMBER() OVER (PARTITION BY JSON_VALUE(data, '$.user') ORDER BY TIMESTAMP(REGEXP_REPLACE(JSON_VALUE(data, '$.finishedAt'), '([.][0-9]{6})[0-9]+', '\\1')) DESC) = 1
)
SELECT user, status, fault, reason, message, fix, job
FROM result
WHERE status NOT IN ('succeeded', 'previewed')
ORDER BY reason, user
