-- Copyright (c) 2026, dds.socketpipe contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Tables of many types, the largest one with :rows rows, and what else a database has.

BEGIN;
SELECT setseed(0.7);
CREATE SCHEMA "odd ""schema""";
CREATE TYPE state AS ENUM ('open', 'it''s closed');
CREATE TABLE customers (
    id serial PRIMARY KEY, name text NOT NULL, secret bytea, facts jsonb, tags text[], born date, state state
);
INSERT INTO customers (name, secret, facts, tags, born, state)
SELECT format(E'Gr\u00fc\u00dfe \u6f22\u5b57 \U0001f642 \t "%s" \\N ''\n\r', n),
    decode(md5(n::text) || '00ff0a0d5c', 'hex'),
    jsonb_build_object('n', n, 'list', jsonb_build_array(1.10, null, E'\u00fc\n"')),
    ARRAY[n::text, NULL, 'a,b', '{}', ''],
    date '4713-01-01 BC' + n,
    CASE n % 3 WHEN 0 THEN 'open'::state WHEN 1 THEN 'it''s closed' END
FROM generate_series(1, 1000) AS n;
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer int NOT NULL REFERENCES customers, amount numeric, ratio double precision,
    at timestamptz, length interval, noise bytea
);
INSERT INTO orders
SELECT n, n % 1000 + 1, (n::numeric / 7) ^ 5, sqrt(n), timestamptz '2026-03-29 00:59:59.999999+01' + n * interval '1 s',
    n * interval '1 month 1 day 1 us', decode(md5(random()::text) || md5(random()::text), 'hex')
FROM generate_series(1, :rows) AS n;
INSERT INTO orders VALUES (-1, 1, 'NaN', '-Infinity', 'infinity', '-1 us', ''), (-2, 2, NULL, NULL, NULL, NULL, NULL);
CREATE INDEX orders_by_customer ON orders (customer, at DESC) WHERE amount > 0;
CREATE VIEW sums AS SELECT name, sum(amount) AS amount FROM customers JOIN orders ON customer = customers.id GROUP BY name;
CREATE MATERIALIZED VIEW counts AS SELECT customer, count(*) AS count FROM orders GROUP BY customer;
CREATE TABLE "odd ""schema"""."a ""table"" in 漢字" ("a column" text);
INSERT INTO "odd ""schema"""."a ""table"" in 漢字" VALUES (''), (NULL), (E'\\.\n'), (repeat('long ', 1000000));
CREATE TABLE nothing_in_it (id int);
CREATE SEQUENCE numbers START 17 INCREMENT 5;
SELECT nextval('numbers'), nextval('numbers');
CREATE FUNCTION double(n int) RETURNS int LANGUAGE sql AS $$ SELECT 2 * n $$;
COMMENT ON TABLE orders IS E'what they\nwant';
SELECT lo_from_bytea(4711, (SELECT string_agg(decode(md5(n::text), 'hex'), '') FROM generate_series(1, 60000) AS n));
SELECT lo_from_bytea(4712, '');
COMMIT;
