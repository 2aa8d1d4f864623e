-- What a leak of this database would expose (doctor.incident); each of these reads everything once.

-- name: exposed_grants
SELECT app, kind, CASE WHEN kind = 'api_key' AND imported_hash IS NOT NULL THEN 1 ELSE 0 END AS pasted,
    COUNT(*) AS grants
FROM grants WHERE role IN ('active', 'candidate', 'parked', 'set_aside') AND access_sealed IS NOT NULL
GROUP BY app, kind, pasted ORDER BY app, kind, pasted

-- name: exposed_rest
SELECT (SELECT COUNT(*) FROM grants WHERE user_id IS NOT NULL) AS people,
    (SELECT COUNT(*) FROM apps) AS apps,
    (SELECT COUNT(*) FROM caller_keys WHERE parent IS NULL AND ended_at IS NULL
        AND (expires_at IS NULL OR expires_at > :now)) AS callers
