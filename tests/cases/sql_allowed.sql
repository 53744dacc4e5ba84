-- Queries that must run. A block: a comment saying what it is, perhaps `-- params: JSON`, then the statement.
-- Datasets: orders(id, customer, amount, price, day, placed, status, tags list, place struct, doc JSON text),
-- quotes(customer, placed, rate), and one called: o'brien "x"

-- one value
SELECT 1

-- a semicolon at the end, and comments
SELECT /* one */ 1 -- two
;

-- filter, order, limit
SELECT id, customer FROM orders WHERE amount > 10 AND status <> 'open' ORDER BY id DESC NULLS LAST LIMIT 5 OFFSET 1

-- names are compared without regard to case
SELECT ID, Customer FROM ORDERS LIMIT 1

-- a name that must be quoted
SELECT count(*) FROM "o'brien ""x"""

-- aliases for tables and columns
SELECT o.id AS "the id", o.amount * 2 AS twice FROM orders AS o

-- grouping with HAVING
SELECT customer, count(*) AS n, sum(amount) AS total FROM orders GROUP BY customer HAVING count(*) > 1 ORDER BY total

-- GROUP BY ALL and ORDER BY ALL
SELECT status, customer, avg(amount) FROM orders GROUP BY ALL ORDER BY ALL

-- ROLLUP and GROUPING
SELECT status, customer, grouping(status), sum(amount) FROM orders GROUP BY ROLLUP (status, customer)

-- CUBE
SELECT status, customer, count(*) FROM orders GROUP BY CUBE (status, customer)

-- GROUPING SETS
SELECT status, customer, count(*) FROM orders GROUP BY GROUPING SETS ((status), (customer), ())

-- FILTER
SELECT count(*) FILTER (WHERE status = 'open') AS open, count(*) AS n FROM orders

-- DISTINCT ON
SELECT DISTINCT ON (customer) customer, id FROM orders ORDER BY customer, id

-- a window with a frame
SELECT id, sum(amount) OVER (PARTITION BY customer ORDER BY day ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM orders

-- a named window
SELECT id, rank() OVER w, lag(amount, 1, 0) OVER w FROM orders WINDOW w AS (PARTITION BY status ORDER BY amount)

-- QUALIFY
SELECT customer, id FROM orders QUALIFY row_number() OVER (PARTITION BY customer ORDER BY amount DESC) = 1

-- IGNORE NULLS and EXCLUDE
SELECT first_value(amount IGNORE NULLS) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM orders

-- joins of all kinds
SELECT * FROM orders o LEFT JOIN quotes q USING (customer) FULL JOIN quotes r ON o.customer = r.customer SEMI JOIN quotes s ON s.customer = o.customer

-- ANTI and NATURAL joins
SELECT count(*) FROM orders ANTI JOIN quotes USING (customer) NATURAL JOIN orders

-- ASOF join
SELECT o.id, q.rate FROM orders o ASOF JOIN quotes q ON o.customer = q.customer AND o.placed >= q.placed

-- positional join
SELECT * FROM orders POSITIONAL JOIN quotes

-- LATERAL
SELECT o.id, x.twice FROM orders o, LATERAL (SELECT o.amount * 2 AS twice) x

-- a list flattened beside its row
SELECT o.id, t.tag FROM orders o, unnest(o.tags) AS t(tag)

-- set operations
SELECT customer FROM orders UNION ALL BY NAME SELECT customer FROM quotes EXCEPT SELECT 'nobody' INTERSECT SELECT 'x'

-- WITH
WITH big AS (SELECT * FROM orders WHERE amount > 5), n AS MATERIALIZED (SELECT count(*) AS n FROM big) SELECT * FROM big, n

-- a CTE inside a subquery, and one that shadows a dataset
SELECT * FROM (WITH orders AS (SELECT 7 AS id) SELECT id FROM orders) JOIN orders USING (id)

-- recursive CTE
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r

-- recursive CTE with keys
WITH RECURSIVE r(k, n) USING KEY (k) AS (SELECT 1, 0 UNION SELECT k, n + 1 FROM r WHERE n < 3) SELECT * FROM r

-- subqueries: scalar, IN, EXISTS, ANY, correlated
SELECT id, (SELECT max(rate) FROM quotes q WHERE q.customer = o.customer) FROM orders o WHERE customer IN (SELECT customer FROM quotes) AND EXISTS (SELECT 1 FROM quotes) AND amount >= ANY (SELECT rate FROM quotes)

-- FROM first
FROM orders SELECT id WHERE amount > 1

-- FROM alone
FROM quotes

-- VALUES
VALUES (1, 'a'), (2, 'b')

-- VALUES as a table
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(n, letter)

-- TABLE
TABLE quotes

-- DESCRIBE a dataset
DESCRIBE orders

-- DESCRIBE a query
DESCRIBE SELECT id, amount * 2 AS twice FROM orders

-- SUMMARIZE a dataset
SUMMARIZE orders

-- EXPLAIN
EXPLAIN SELECT customer, sum(amount) FROM orders GROUP BY 1

-- EXPLAIN with a comment before it
-- how will it run?
EXPLAIN WITH x AS (SELECT 1 AS n) FROM x

-- PIVOT with its values listed
PIVOT orders ON status IN ('open', 'paid') USING sum(amount) GROUP BY customer

-- PIVOT in standard spelling
SELECT * FROM (SELECT customer, status, amount FROM orders) PIVOT (sum(amount) FOR status IN ('open', 'paid'))

-- UNPIVOT
UNPIVOT (SELECT id, amount, price::DOUBLE AS price FROM orders) ON amount, price INTO NAME measure VALUE number

-- lambdas
SELECT list_transform(tags, lambda t: upper(t)), list_filter([1, 2, 3], lambda n: n > 1), list_reduce([1, 2], lambda a, b: a + b) FROM orders

-- list comprehension
SELECT [t || '!' FOR t IN tags IF t <> 'b'] FROM orders

-- lists: slices, aggregates, ranges
SELECT list(id)[1:2], tags[1], len(tags), list_sort(tags), list_aggregate([1, 2, 3], 'sum'), range(3) FROM orders GROUP BY tags

-- structs
SELECT place.city, place['zip'], struct_pack(a := 1, b := 'x'), {'c': 2}.c FROM orders

-- maps and unions
SELECT MAP {'a': 1}['a'], map_keys(MAP {'k': 2}), union_value(num := 3)

-- JSON
SELECT doc->>'$.color', doc->'size', json_extract_string(doc, '$.color'), json_object('id', id), (doc::JSON).color FROM orders

-- JSON as a table
SELECT key, value FROM json_each('{"a": 1, "b": [2]}')

-- sampling
SELECT count(*) FROM orders TABLESAMPLE reservoir(2 ROWS) REPEATABLE (1)

-- sampling at the end
SELECT * FROM orders USING SAMPLE 50 PERCENT (bernoulli)

-- star with EXCLUDE, REPLACE, RENAME
SELECT * EXCLUDE (doc, tags) REPLACE (upper(customer) AS customer) RENAME (id AS number) FROM orders

-- COLUMNS
SELECT min(COLUMNS('^(id|amount)$')), max(COLUMNS(lambda c: c LIKE 'pri%')) FROM orders

-- dates
SELECT date_trunc('month', day), extract(year FROM placed), day + INTERVAL 3 DAY, age(DATE '2024-03-01', day), strftime(placed, '%Y'), placed AT TIME ZONE 'UTC' FROM orders

-- the clock
SELECT current_date, current_timestamp, now(), today()

-- text
SELECT lower(customer), customer ILIKE 'a%', regexp_replace(customer, '[aeiou]', '*', 'g'), customer SIMILAR TO '.*', format('{}-{}', id, status), customer[1:2], string_agg(status, ',' ORDER BY id) FROM orders GROUP BY ALL

-- casts
SELECT amount::INTEGER, CAST(id AS VARCHAR), TRY_CAST(customer AS DATE), '12'::DECIMAL(10, 2), [1, 2]::DOUBLE[], 'a'::ENUM('a', 'b') FROM orders

-- CASE, COALESCE, BETWEEN, IN, IS DISTINCT FROM
SELECT CASE status WHEN 'open' THEN 1 ELSE 0 END, coalesce(NULL, amount), amount BETWEEN 1 AND 20, id IN (1, 2), nullif(id, 1), status IS DISTINCT FROM 'x', if(id > 1, 'y', 'n') FROM orders

-- statistics
SELECT quantile_cont(amount, 0.5), median(amount), stddev(amount), corr(amount, id), approx_count_distinct(customer), arg_max(id, amount), mode(status), histogram(status) FROM orders

-- vectors
SELECT array_cosine_similarity([1, 0]::FLOAT[2], [0, 1]::FLOAT[2]), list_distance([1, 2], [3, 4])

-- table functions that compute
SELECT * FROM range(3) AS a(i), generate_series(1, 4, 2) AS b(j)

-- functions as methods
SELECT customer.upper(), 'abc'.substring(1, 2) FROM orders

-- COLLATE
SELECT customer FROM orders ORDER BY customer COLLATE NOCASE

-- who and where
SELECT current_user, current_database(), version()

-- parameters by position
-- params: [2, "ann"]
SELECT * FROM orders WHERE id >= ? AND customer = ?

-- numbered parameters
-- params: ["b"]
SELECT $1, upper($1)

-- named parameters
-- params: {"who": "ann", "least": 1.5}
SELECT count(*) FROM orders WHERE customer = $who AND amount > $least

-- a list as a parameter
-- params: [[1, 3]]
SELECT id FROM orders WHERE id IN (SELECT unnest(?))

-- a moving average over days
SELECT avg(amount) OVER (ORDER BY placed RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW) FROM orders

-- a running total and shares of months
WITH m AS (SELECT date_trunc('month', day) AS month, sum(amount) AS a FROM orders GROUP BY ALL) SELECT month, a, a - lag(a) OVER (ORDER BY month) AS change, round(100.0 * a / sum(a) OVER (), 2) AS share FROM m ORDER BY month

-- percentiles within a group
SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY amount DESC), mode() WITHIN GROUP (ORDER BY status) FROM orders

-- a sample that is the same each time
SELECT * FROM orders TABLESAMPLE reservoir(2 ROWS) REPEATABLE (1)

-- dates without gaps
SELECT d::DATE AS day, count(id) FROM generate_series(DATE '2024-01-01', DATE '2024-01-09', INTERVAL 1 DAY) t(d) LEFT JOIN orders ON day = d::DATE GROUP BY ALL ORDER BY ALL

-- JSON as rows
SELECT o.id, j.key, j.value FROM orders o, json_each(o.doc) j

-- lists by comprehension, slice and lambda with a place
SELECT [x * 2 FOR x IN [1, 2, 3] IF x > 1], [1, 2, 3][2:], [1, 2, 3][-1], list_transform([1, 2], lambda x, i: x * i)

-- unnesting structs
SELECT unnest([{'a': 1}, {'a': 2}], recursive := true)

-- columns by pattern, renamed and replaced
SELECT * EXCLUDE (tags, doc) REPLACE (upper(customer) AS customer) RENAME (amount AS amt), COLUMNS('^pl') AS 'x_\0' FROM orders

-- texts by pattern into named parts
SELECT regexp_extract('2024-05', '(\d+)-(\d+)', ['year', 'month']), format('{:.2f}', 1.5), printf('%05d', 7)

-- a recursive CTE with keys
WITH RECURSIVE t(a, b) USING KEY (a) AS (SELECT 1, 2 UNION SELECT a + 1, b FROM recurring.t WHERE a < 3) FROM t

-- a nested CTE within a recursion
WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL (WITH z AS (SELECT n FROM t) SELECT n + 1 FROM z WHERE n < 3)) FROM t

-- errors as nulls
SELECT TRY(CAST('x' AS INTEGER)), TRY_CAST('x' AS DATE), 1 / 0

-- UNPIVOT with some columns, and nulls kept
SELECT * FROM (SELECT id, amount, price::DOUBLE AS price FROM orders) UNPIVOT INCLUDE NULLS (v FOR what IN (amount, price))

-- PIVOT over two columns with totals
PIVOT orders ON status IN ('open', 'paid') USING sum(amount) AS s, count(*) AS n GROUP BY customer

-- UNION BY NAME, EXCEPT ALL, INTERSECT ALL
(SELECT 1 AS a, 2 AS b UNION ALL BY NAME SELECT 3 AS b) EXCEPT ALL SELECT 3, 2 INTERSECT ALL SELECT 1, 2

-- ASOF LEFT JOIN with USING
SELECT o.id, q.rate FROM orders o ASOF LEFT JOIN quotes q USING (customer, placed)

-- frames by GROUPS, with EXCLUDE TIES
SELECT sum(amount) OVER (ORDER BY day GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM orders

-- the top of each group as a list
SELECT customer, max_by(id, amount, 2), arg_min(status, id), list(id ORDER BY id DESC) FROM orders GROUP BY ALL

-- a struct taken apart by star
SELECT id, place.*, unnest(tags) AS tag FROM orders

-- a materialized CTE beside one that is not
WITH a AS MATERIALIZED (FROM orders), b AS NOT MATERIALIZED (FROM a) SELECT count(*) FROM a JOIN b USING (id)

-- columns chosen by a lambda, summed
SELECT sum(COLUMNS(lambda c: c IN ('id', 'amount'))) FROM orders

-- a share of the rows, and an offset
FROM orders ORDER BY id LIMIT 50% OFFSET 1

-- LATERAL over a correlated top one
SELECT o.id, l.rate FROM orders o LEFT JOIN LATERAL (SELECT rate FROM quotes q WHERE q.customer = o.customer ORDER BY placed DESC LIMIT 1) l ON true

-- JSON taken apart and put together
SELECT doc->>'$.color', doc->'size', json_extract(doc, ['$.color', '$.size']), json_group_array(id) OVER (), to_json(place) FROM orders

-- gaps filled and interpolated
SELECT day, fill(amount) OVER (ORDER BY day) FROM orders

-- bins and a histogram
SELECT time_bucket(INTERVAL 1 MONTH, placed) AS m, count(*), histogram(id) FROM orders GROUP BY m ORDER BY m

-- text alike
SELECT jaro_winkler_similarity(customer, 'anne'), levenshtein(customer, 'anna'), customer SIMILAR TO 'a.*' FROM orders

-- a name that has a CTE of the same name as something within a view
WITH _changes AS (SELECT 1 AS id) SELECT * FROM _changes JOIN orders USING (id)
