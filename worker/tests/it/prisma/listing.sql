WITH space AS (
    SELECT oid, nspname AS schema FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS (
    SELECT c.*, space.schema FROM pg_class c JOIN space ON space.oid = c.relnamespace
)
SELECT schema || '.' FROM space
UNION ALL
SELECT format('%s.%s: relation %s', schema, relname, relkind) FROM relation
UNION ALL
SELECT format('%s.%s: column %s %s %s %s default %s', schema, relname,
    row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), a.attname,
    format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END,
    pg_get_expr(d.adbin, d.adrelid))
FROM relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE relkind NOT IN ('i', 'S')
UNION ALL
SELECT format('%s.%s: constraint %s %s', schema, relname, conname, pg_get_constraintdef(k.oid))
FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
UNION ALL
SELECT format('%s.%s: index %s', schema, relname, pg_get_indexdef(r.oid))
FROM relation r WHERE relkind = 'i'
UNION ALL
SELECT format('%s.%s: trigger %s', schema, relname, pg_get_triggerdef(t.oid))
FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT format('%s.%s: enum %s', schema, typname,
    (SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
FROM pg_type t JOIN space ON space.oid = t.typnamespace WHERE typtype = 'e'
UNION ALL
SELECT format('%s.%s: function', schema, proname)
FROM pg_proc p JOIN space ON space.oid = p.pronamespace
UNION ALL
SELECT format('%s.%s: comment on %s %s', schema, relname, coalesce(attname, 'it'), description)
FROM relation r
JOIN pg_description d ON d.objoid = r.oid AND d.classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = objsubid AND objsubid > 0
UNION ALL
SELECT format('%s.: comment %s', schema, obj_description(space.oid, 'pg_namespace'))
FROM space
