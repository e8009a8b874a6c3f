//! The SQL that the program `sql` parses: what an application says about each of its tables.

/// A name, a column of text, one of numbers, one of times, and the table that it refers to.
const TABLES: [[&str; 5]; 14] = [
    ["customers", "email", "credit", "joined_at", "regions"],
    ["regions", "title", "population", "surveyed_at", "countries"],
    ["countries", "iso_code", "area", "founded_at", "continents"],
    ["orders", "reference", "total", "placed_at", "customers"],
    ["order_lines", "note", "quantity", "picked_at", "orders"],
    ["products", "description", "price", "listed_at", "suppliers"],
    ["suppliers", "vat_number", "rating", "audited_at", "countries"],
    ["invoices", "iban", "amount", "due_at", "orders"],
    ["payments", "method", "fee", "settled_at", "invoices"],
    ["shipments", "tracking_code", "weight", "sent_at", "orders"],
    ["employees", "surname", "salary", "hired_at", "departments"],
    ["departments", "purpose", "budget", "reviewed_at", "employees"],
    ["articles", "headline", "word_count", "published_at", "employees"],
    ["comments", "body", "votes", "written_at", "articles"],
];

const TEMPLATES: [&str; 18] = [
    "CREATE TABLE {table} (id BIGINT PRIMARY KEY, {text} VARCHAR(200) NOT NULL, {number} NUMERIC(12, 2) \
     DEFAULT 0 CHECK ({number} >= 0), {time} TIMESTAMP WITH TIME ZONE, {parent}_id BIGINT REFERENCES \
     {parent} (id) ON DELETE CASCADE, UNIQUE ({text}, {time}))",
    "CREATE INDEX {table}_by_{time} ON {table} ({time} DESC, {parent}_id)",
    "ALTER TABLE {table} ADD COLUMN archived BOOLEAN NOT NULL DEFAULT false",
    "INSERT INTO {table} (id, {text}, {number}, {time}) VALUES (1, 'first', 10.5, '2024-01-31'), \
     (2, 'it''s the second', 20, CURRENT_TIMESTAMP), (3, NULL, -1e3, NULL) RETURNING id, {text}",
    "INSERT INTO {table} (id, {text}) SELECT id, lower({text}) FROM {table}_staging AS staged WHERE NOT \
     EXISTS (SELECT 1 FROM {table} WHERE {table}.id = staged.id) ON CONFLICT (id) DO UPDATE SET \
     {text} = EXCLUDED.{text}",
    "SELECT * FROM {table} WHERE id = $1",
    "SELECT id, {text}, {number} * 1.19 AS gross FROM {table} WHERE {time} BETWEEN $1 AND $2 AND {text} \
     LIKE '%a_b%' ORDER BY {number} DESC NULLS LAST, id LIMIT 50 OFFSET 100",
    "SELECT child.id, child.{text}, parent.* FROM {table} AS child LEFT JOIN {parent} AS parent ON \
     child.{parent}_id = parent.id WHERE parent.id IS NOT NULL OR child.{number} IN (1, 2, 3, 5, 8)",
    "SELECT {parent}_id, count(*), sum({number}) AS total, avg({number}) FILTER (WHERE {number} > 0), \
     max({time}) FROM {table} GROUP BY {parent}_id HAVING count(*) > 10 AND sum({number}) < 1000",
    "SELECT id, {number}, rank() OVER (PARTITION BY {parent}_id ORDER BY {number} DESC) AS place, \
     sum({number}) OVER (ORDER BY {time} ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) FROM {table}",
    "SELECT CASE WHEN {number} < 10 THEN 'low' WHEN {number} < 100 THEN 'middle' ELSE 'high' END AS \
     class, count(DISTINCT {text}) FROM {table} GROUP BY 1 ORDER BY 2",
    "WITH recent AS (SELECT * FROM {table} WHERE {time} > now() - INTERVAL '30 days'), best AS (SELECT \
     {parent}_id, max({number}) AS most FROM recent GROUP BY {parent}_id) SELECT recent.{text}, best.most \
     FROM recent JOIN best USING ({parent}_id) WHERE recent.{number} = best.most",
    "WITH RECURSIVE chain (id, depth) AS (SELECT id, 0 FROM {table} WHERE {parent}_id IS NULL UNION ALL \
     SELECT child.id, chain.depth + 1 FROM {table} AS child JOIN chain ON child.{parent}_id = chain.id) \
     SELECT depth, count(*) FROM chain GROUP BY depth",
    "(SELECT {text} FROM {table} WHERE {number} > 5) UNION (SELECT {text} FROM {table}_archive) EXCEPT \
     SELECT name FROM blocked ORDER BY 1",
    "UPDATE {table} SET {number} = coalesce({number}, 0) + 1, {text} = trim(both ' ' from {text}) || '-' \
     || cast(id AS VARCHAR), {time} = CURRENT_TIMESTAMP WHERE {parent}_id IN (SELECT id FROM {parent} \
     WHERE archived)",
    "DELETE FROM {table} WHERE {time} < $1 AND NOT (archived OR {number} IS NULL) RETURNING id",
    "CREATE VIEW {table}_summary AS SELECT extract(year FROM {time}) AS year, substring({text} FROM 1 FOR \
     3) AS start, count(*) AS entries FROM {table} GROUP BY 1, 2",
    "SELECT {table}.{text}, latest.{number} FROM {table} CROSS JOIN LATERAL (SELECT {number} FROM {parent} \
     WHERE {parent}.id = {table}.{parent}_id ORDER BY {time} LIMIT 1) AS latest",
];

pub fn all() -> Vec<String> {
    TABLES.iter().flat_map(|table| TEMPLATES.iter().map(|template| fill(template, table))).collect()
}

fn fill(template: &str, [table, text, number, time, parent]: &[&str; 5]) -> String {
    template
        .replace("{table}", table)
        .replace("{text}", text)
        .replace("{number}", number)
        .replace("{time}", time)
        .replace("{parent}", parent)
}
