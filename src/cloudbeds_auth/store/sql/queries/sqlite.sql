-- What SQLite says about itself; another database has a file of its own with the same names.

-- name: report
-- Read back on the connection that writes: what was asked for and what is in effect may differ.
SELECT sqlite_version() AS sqlite, files.file, journal.journal_mode,
    CASE syncs.synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END AS synchronous
FROM pragma_database_list files, pragma_journal_mode journal, pragma_synchronous syncs WHERE files.name = 'main'
