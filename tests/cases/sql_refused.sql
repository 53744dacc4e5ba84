-- Statements that must be refused before anything happens. A block: a comment saying what it is, then the statement.
-- {home} is the data directory, {file} a data file of the dataset orders, {outside} a file elsewhere.

-- nothing
;

-- only a comment
-- SELECT 1

-- two statements
SELECT 1; SELECT 2

-- a second statement behind a comment
SELECT 1 /* ; */; DROP VIEW orders

-- COPY out
COPY (SELECT 1) TO '{home}/pwned.csv'

-- COPY in
COPY orders FROM '/etc/passwd'

-- COPY FROM DATABASE
COPY FROM DATABASE memory TO x

-- COPY within a CTE
WITH x AS (COPY (SELECT 1 AS a) TO '{home}/pwned.parquet') SELECT * FROM x

-- COPY over a data file, within a materialized CTE of a subquery
SELECT * FROM (WITH x AS MATERIALIZED (COPY (SELECT 1 AS a) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)) FROM x)

-- COPY within a CTE of an expression
SELECT (WITH x AS (COPY (SELECT 1 AS a) TO '{home}/pwned.csv') SELECT count(*) FROM x)

-- INSERT within a CTE
WITH x AS (INSERT INTO orders VALUES (1) RETURNING *) SELECT * FROM x

-- DELETE within a CTE
WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x

-- UPDATE within a CTE
WITH x AS (UPDATE orders SET id = 1 RETURNING *) SELECT * FROM x

-- MERGE within a CTE
WITH x AS (MERGE INTO orders USING quotes ON true WHEN MATCHED THEN DELETE RETURNING *) SELECT * FROM x

-- EXECUTE within a CTE
WITH x AS (EXECUTE p) SELECT * FROM x

-- EXPLAIN ANALYZE
EXPLAIN ANALYZE SELECT 1

-- EXPLAIN ANALYZE behind a comment
EXPLAIN /* */ ANALYZE WITH x AS (COPY (SELECT 1) TO '{home}/pwned.csv') FROM x

-- EXPLAIN with options
EXPLAIN (FORMAT json) SELECT 1

-- EXPLAIN of a statement that writes
EXPLAIN COPY (SELECT 1) TO '{home}/pwned.csv'

-- EXPLAIN of two statements
EXPLAIN SELECT 1; DROP VIEW orders

-- EXPLAIN of a hidden COPY
EXPLAIN WITH x AS (COPY (SELECT 1) TO '{home}/pwned.csv') FROM x

-- INSERT
INSERT INTO orders VALUES (1)

-- UPDATE
UPDATE orders SET id = 1

-- DELETE
DELETE FROM orders

-- TRUNCATE
TRUNCATE orders

-- MERGE
MERGE INTO orders USING quotes ON true WHEN MATCHED THEN DELETE

-- CREATE TABLE AS
CREATE TABLE t AS SELECT 1

-- CREATE VIEW
CREATE OR REPLACE VIEW orders AS SELECT 1

-- CREATE MACRO
CREATE MACRO sum(x) AS 42

-- CREATE TYPE, SEQUENCE, SCHEMA, INDEX, SECRET, TRIGGER: all of a kind
CREATE SEQUENCE s

-- CREATE TEMP TABLE
CREATE TEMP TABLE t (i INTEGER)

-- DROP
DROP VIEW orders

-- ALTER
ALTER VIEW orders RENAME TO x

-- COMMENT ON
COMMENT ON VIEW orders IS 'x'

-- ATTACH a file
ATTACH '{home}/x.duckdb'

-- ATTACH memory
ATTACH ':memory:' AS other

-- DETACH
DETACH memory

-- USE
USE memory

-- SET
SET threads = 1

-- SET search_path, which the lock lets through
SET search_path = 'information_schema'

-- SET VARIABLE
SET VARIABLE x = 1

-- RESET
RESET memory_limit

-- PRAGMA
PRAGMA database_list

-- PRAGMA with a value
PRAGMA enable_profiling = 'json'

-- INSTALL
INSTALL httpfs

-- LOAD
LOAD '{home}/x.duckdb_extension'

-- CALL
CALL pragma_version()

-- BEGIN
BEGIN

-- CHECKPOINT
CHECKPOINT

-- VACUUM
VACUUM

-- ANALYZE
ANALYZE

-- EXPORT
EXPORT DATABASE '{home}/out'

-- IMPORT
IMPORT DATABASE '{home}/in'

-- PREPARE
PREPARE p AS SELECT 1

-- EXECUTE
EXECUTE p

-- DEALLOCATE
DEALLOCATE p

-- CONNECT, which has no statement type
CONNECT '{home}/x.duckdb'

-- PIVOT without its values: it makes a type
PIVOT orders ON status USING sum(amount)

-- SHOW TABLES
SHOW TABLES

-- SHOW ALL TABLES
SHOW ALL TABLES

-- SHOW within a query
SELECT * FROM (SHOW ALL TABLES)

-- SHOW DATABASES
SHOW DATABASES

-- DESCRIBE without a name
DESCRIBE

-- DESCRIBE a file
DESCRIBE '{file}'

-- SUMMARIZE a file
SUMMARIZE '{file}'

-- SUMMARIZE a system view
SUMMARIZE duckdb_settings

-- a file by name
SELECT * FROM '{file}'

-- a file by name in a join, in a subquery
SELECT (SELECT count(*) FROM orders JOIN "{file}" USING (id))

-- a file of the system by name
FROM '/etc/passwd'

-- a CSV by name
SELECT * FROM '{outside}'

-- a URL by name
SELECT * FROM 'https://example.com/x.parquet'

-- read_csv
SELECT * FROM read_csv('/etc/passwd', header = false, sep = ':')

-- read_text
SELECT * FROM read_text('/etc/passwd')

-- read_blob of an allowed file
SELECT * FROM read_blob('{file}')

-- read_parquet of an allowed file
SELECT * FROM read_parquet('{file}')

-- parquet_metadata of an allowed file
SELECT * FROM parquet_metadata('{file}')

-- parquet_scan under a schema
SELECT * FROM main.parquet_scan('{file}')

-- a reader quoted and in capitals
SELECT * FROM "READ_TEXT"('/etc/passwd')

-- a reader in ORDER BY
SELECT 1 ORDER BY (SELECT content FROM read_text('/etc/passwd'))

-- a reader in LIMIT
SELECT 1 LIMIT (SELECT length(content) FROM read_text('/etc/passwd'))

-- a reader in a window frame
SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN (SELECT length(content) FROM read_text('/etc/passwd')) PRECEDING AND CURRENT ROW) FROM orders

-- a reader in FILTER
SELECT count(*) FILTER (WHERE (SELECT true FROM read_text('/etc/passwd'))) FROM orders

-- a reader in QUALIFY
SELECT 1 QUALIFY row_number() OVER () = (SELECT length(content) FROM read_text('/etc/passwd'))

-- a reader in HAVING
SELECT 1 GROUP BY 1 HAVING (SELECT true FROM read_text('/etc/passwd'))

-- a reader in a JOIN condition
SELECT * FROM orders a JOIN orders b ON (SELECT true FROM read_text('/etc/passwd'))

-- a reader in a lambda
SELECT list_transform([1], lambda x: (SELECT content FROM read_text('/etc/passwd')))

-- a reader in VALUES
VALUES ((SELECT content FROM read_text('/etc/passwd')))

-- a reader in PIVOT
PIVOT (SELECT * FROM read_text('/etc/passwd')) ON filename IN ('x') USING count(*)

-- a reader within a recursive CTE
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, read_text('/etc/passwd') WHERE n < 3) SELECT * FROM r

-- a reader as LATERAL with a computed path
SELECT * FROM (SELECT '/etc/passwd' AS p) t, read_text(t.p)

-- glob
SELECT * FROM glob('{home}/**')

-- sniff_csv
SELECT * FROM sniff_csv('/etc/passwd')

-- a query in a string
SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')

-- a table by its name in a string
SELECT * FROM query_table('duckdb_tables')

-- several tables by name in strings
SELECT * FROM query_table(['orders', '{file}'])

-- a table macro that calls query_table: any table by name
SELECT * FROM histogram_values(duckdb_tables, table_name)

-- a table macro that calls query_table: any file by name
SELECT * FROM histogram('{file}', id)

-- SQL from a tree
SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))

-- SQL from a tree, as a table
FROM json_execute_serialized_sql('{}')

-- duckdb_settings()
SELECT * FROM duckdb_settings()

-- duckdb_views()
SELECT sql FROM duckdb_views()

-- duckdb_views, the view
SELECT sql FROM duckdb_views

-- duckdb_temporary_files()
SELECT * FROM duckdb_temporary_files()

-- duckdb_secrets()
SELECT * FROM duckdb_secrets()

-- duckdb_logs
SELECT * FROM duckdb_logs

-- pragma_table_info
SELECT * FROM pragma_table_info('orders')

-- pragma_database_list
SELECT * FROM pragma_database_list

-- information_schema
SELECT * FROM information_schema.tables

-- pg_catalog
SELECT * FROM pg_catalog.pg_class

-- pg_tables by search path
SELECT * FROM pg_tables

-- sqlite_master
SELECT * FROM sqlite_master

-- a dataset under a schema
SELECT * FROM main.orders

-- a table of another database
SELECT * FROM other.main.secret

-- a system view whose name a CTE elsewhere has
SELECT * FROM (WITH sqlite_master AS (SELECT 1) SELECT * FROM sqlite_master) a, sqlite_master

-- a CTE used before it is there
WITH a AS (SELECT * FROM sqlite_master), sqlite_master AS (SELECT 1) SELECT * FROM a

-- a CTE that means the system view of its own name
WITH sqlite_master AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master

-- a recursive CTE whose first half means the system view
WITH RECURSIVE sqlite_master AS (SELECT 1 AS n FROM sqlite_master UNION ALL SELECT n + 1 FROM sqlite_master) FROM sqlite_master

-- a CTE of one side of a UNION used on the other
(WITH sqlite_master AS (SELECT 1) SELECT * FROM sqlite_master) UNION ALL SELECT 1 FROM sqlite_master

-- getenv
SELECT getenv('HOME')

-- current_setting
SELECT current_setting('temp_directory')

-- getvariable
SELECT getvariable('x')

-- which_secret
SELECT * FROM which_secret('s3://x', 's3')

-- nextval
SELECT nextval('s')

-- setseed
SELECT setseed(0.5)

-- sleep
SELECT sleep_ms(100000)

-- pg_sleep
SELECT pg_sleep(100)

-- write_log
SELECT write_log('x')

-- txid_current
SELECT txid_current()

-- raw aggregate states
SELECT finalize(to_aggregate_state({'x': 1}, 'sum', ['INTEGER']))

-- raw variant bytes
SELECT variant_bytes_to_variant('x'::BLOB)

-- a function under a schema
SELECT pg_catalog.pg_get_viewdef(1)

-- an internal function
SELECT __internal_compress_string_hugeint('x')

-- pointers
SELECT * FROM arrow_scan(1, 2, 3)

-- a Python function
SELECT * FROM python_map_function(1)

-- an extension that would load itself
SELECT stem('running', 'porter')

-- external resources
SELECT * FROM register_external_resource('x')

-- logging to a file
CALL enable_logging(storage = 'file', storage_path = '{home}/pwned')

-- the path column
SELECT filename FROM orders

-- the path column, quoted, through an alias
SELECT o."filename" FROM orders o

-- the row number column
SELECT file_row_number FROM orders

-- a Python variable of ours
SELECT * FROM request

-- a parameter that is not there
SELECT $x

-- an old-style lambda
SELECT list_transform([1], x -> x + 1)

-- time travel
SELECT * FROM orders AT (VERSION => 1)

-- nonsense
SELEC 1

-- an open quote
SELECT 'x

-- an open comment
SELECT 1 /*

-- a reader called on a value
SELECT '/etc/passwd'.read_text()

-- a reader at the end of a chain of calls
SELECT customer.upper().read_text() FROM orders

-- a reader as a method of a dataset
SELECT * FROM orders.read_text()

-- a function of the catalog by its whole name
SELECT system.main.getenv('HOME')

-- a function as an operator
SELECT 1 OPERATOR(main.getenv) 2

-- a function named by a string
SELECT list_aggregate(['HOME'], 'getenv')

-- a function within a type within a string
SELECT json_transform('{"a": "1"}', '{"a": "DECIMAL(getenv(1))"}')

-- a function as the modifier of a type
SELECT CAST('1' AS DECIMAL((SELECT length(content) FROM read_text('/etc/passwd'))))

-- a function that chooses columns
SELECT COLUMNS(lambda c: getenv(c) = 'x') FROM orders

-- a reader in the version of a table
FROM orders AT (VERSION => (SELECT content FROM read_text('/etc/passwd')))

-- a named argument of a table function
SELECT * FROM json_each('{}', path := getenv('HOME'))

-- a system view that is summarized before its CTE is there
WITH RECURSIVE a AS (FROM (SUMMARIZE duckdb_settings)), duckdb_settings AS (SELECT 1) SELECT * FROM a

-- the values of a PIVOT from a type
PIVOT orders ON status IN duckdb_settings USING sum(amount)

-- the recurring table of a CTE that does not recur
WITH duckdb_settings AS (SELECT 1) SELECT * FROM recurring.duckdb_settings

-- the raw state of an aggregate
SELECT sum(id) EXPORT_STATE FROM orders

-- a variable of the session by its sign
SELECT $orders

-- what a view of base and deltas calls its changes
SELECT * FROM _changes

-- the same beside a dataset
SELECT * FROM orders JOIN _changes USING (id)

-- the order of deltas
SELECT _at FROM orders

-- what was deleted
SELECT _deleted FROM orders

-- the same within EXPLAIN
EXPLAIN SELECT _deleted FROM orders

-- a version where the parser has one
SELECT * FROM orders AT (TIMESTAMP => now())

-- EXPLAIN with the files
EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM orders

-- the profile of queries
SELECT * FROM duckdb_profiling_settings()

-- profiling into a file
SELECT * FROM enable_profiling(save_location = '{home}/pwned')

-- the external file cache, which has paths
SELECT * FROM duckdb_external_file_cache()

-- one file, by the reader behind the readers
SELECT * FROM read_single_parquet_file('{file}')

-- a database file
SELECT * FROM read_duckdb('{home}/x.duckdb')

-- the plan as data
SELECT json_serialize_plan('SELECT * FROM orders')

-- the text of a view
SELECT pg_get_viewdef('orders')

-- every type there is
SELECT * FROM test_all_types()

-- a type made of text
SELECT make_type('ENUM', 'a')
