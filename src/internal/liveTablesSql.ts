/** The statements that read tables from the system catalog, for servers from PostgreSQL 15 on. */

/** Follows a type to what it is made of: a domain may be over a domain, and each may forbid NULL or have a default. */
const baseOf = (type: string, modifier: string): string => `
  WITH RECURSIVE made(oid, modifier, required, filled, kind, element) AS (
    SELECT t.oid, ${modifier}, false, false, t.typtype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END
    FROM pg_type t WHERE t.oid = ${type}
    UNION ALL
    SELECT b.oid, CASE WHEN m.modifier = -1 THEN d.typtypmod ELSE m.modifier END, m.required OR d.typnotnull,
      m.filled OR d.typdefault IS NOT NULL, b.typtype, CASE WHEN b.typcategory = 'A' THEN b.typelem ELSE 0 END
    FROM made m JOIN pg_type d ON d.oid = m.oid AND d.typtype = 'd' JOIN pg_type b ON b.oid = d.typbasetype
  )
  SELECT * FROM made WHERE kind <> 'd'`

// What the triggers of a row's insert may write: the texts of their functions, and their arguments.
const insertTriggers = `
  SELECT string_agg(p.prosrc || ' ' || encode(g.tgargs, 'escape'), ' ')
  FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
  WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    AND g.tgtype & 1 = 1 AND g.tgtype & 66 > 0 AND g.tgtype & 4 > 0`

/** The columns of tables, in their order. */
export const columnsSql = `
SELECT w.ord::int4, a.attrelid::text, c.relkind::text, (${insertTriggers}), a.attname::text,
  format_type(a.atttypid, -1), base.oid::int8::int4,
  CASE WHEN coalesce(element.oid, base.oid) IN (1042, 1043) AND coalesce(element.modifier, base.modifier) > 4
    THEN coalesce(element.modifier, base.modifier) - 4 END,
  element.oid::int8::int4,
  (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text FROM pg_enum e
    WHERE e.enumtypid = coalesce(element.oid, base.oid)),
  NOT (a.attnotnull OR base.required), a.attidentity::text, a.attgenerated::text,
  a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' OR base.filled
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_class c ON c.oid = to_regclass(w.name)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN LATERAL (${baseOf("a.atttypid", "a.atttypmod")}) base ON true
LEFT JOIN LATERAL (${baseOf("base.element", "base.modifier")}) element ON base.element <> 0
ORDER BY 1, a.attnum`

const names = (relation: string, columns: string): string =>
  `ARRAY(SELECT a.attname::text FROM unnest(${columns}) WITH ORDINALITY AS k(num, at) ` +
  `JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = k.num ORDER BY k.at)`

const traits = `concat(
    CASE WHEN i.indnullsnotdistinct THEN 'n' END, CASE WHEN i.indpred IS NOT NULL THEN 'w' END,
    CASE WHEN i.indexprs IS NOT NULL THEN 'e' END,
    (SELECT concat(CASE WHEN u.condeferrable THEN 'd' END, CASE WHEN u.condeferred THEN 'l' END)
      FROM pg_constraint u WHERE u.conindid = i.indexrelid AND u.contype IN ('u', 'p') LIMIT 1))`

/**
 * The keys of tables. A partial index, or one of expressions, does not keep the columns themselves unique; included
 * columns are no part of the key, and stand behind it. Servers before PostgreSQL 18 enforce every foreign key.
 */
export const keysSql = `
SELECT w.ord::int4, CASE WHEN i.indisprimary THEN 'primary'
    WHEN i.indpred IS NOT NULL OR i.indexprs IS NOT NULL THEN 'conditional' ELSE 'unique' END,
  ${names("i.indrelid", "(i.indkey::int2[])[0:i.indnkeyatts - 1]")}, ${traits}, ARRAY[]::text[], '', true
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_index i ON i.indrelid = to_regclass(w.name) AND i.indisunique AND i.indisvalid
UNION ALL
SELECT w.ord::int4, 'foreign', ${names("c.conrelid", "c.conkey")},
  c.confrelid::text, ${names("c.confrelid", "c.confkey")}, c.confdeltype::text,
  coalesce((to_jsonb(c) ->> 'conenforced')::bool, true)
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_constraint c ON c.conrelid = to_regclass(w.name) AND c.contype = 'f'`
