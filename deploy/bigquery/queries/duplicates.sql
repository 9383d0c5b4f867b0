-- Jobs of the last 31 days with two results that differ. There must be none: a job has one result, which may be
-- published more than once, and is the same each time. For 31 days the ledger knows it.
--
-- What the ledger does not keep may be done twice, and then shows: a read that is in no batch, and a write in
-- none that is the same twice. A dry run does nothing, and is left out.
--
--   bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false < deploy/bigquery/queries/duplicates.sql

SELECT
  JSON_VALUE(data, '$.job') AS job,
  ANY_VALUE(JSON_VALUE(data, '$.action')) AS action,
  COUNT(*) AS published,
  COUNT(DISTINCT JSON_VALUE(data, '$.finishedAt')) AS differing,
  STRING_AGG(DISTINCT JSON_VALUE(data, '$.status'), ', ') AS statuses
FROM results
WHERE publish_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 31 DAY)
  AND JSON_VALUE(data, '$.status') != 'previewed'
GROUP BY job
HAVING differing > 1
ORDER BY differing DESC
