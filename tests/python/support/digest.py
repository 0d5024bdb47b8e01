"""What a database holds, as digests: rows, sequences, catalogs, settings. Two equal digests: nothing has changed."""

# Rows of the database's own objects in these catalogs; columns that change without anybody's doing are left out.
CATALOGS = {
    "pg_attribute": "attrelid >= 16384",
    "pg_attrdef": "oid >= 16384",
    "pg_auth_members": "true",
    "pg_cast": "oid >= 16384",
    "pg_collation": "oid >= 16384",
    "pg_constraint": "oid >= 16384",
    "pg_db_role_setting": "true",
    "pg_default_acl": "true",
    "pg_depend": "objid >= 16384",
    "pg_description": "objoid >= 16384",
    "pg_event_trigger": "true",
    "pg_extension": "true",
    "pg_foreign_data_wrapper": "true",
    "pg_foreign_server": "true",
    "pg_index": "indexrelid >= 16384",
    "pg_inherits": "true",
    "pg_language": "true",
    "pg_largeobject_metadata": "true",
    "pg_opclass": "oid >= 16384",
    "pg_operator": "oid >= 16384",
    "pg_policy": "true",
    "pg_prepared_xacts": "true",
    "pg_proc": "oid >= 16384",
    "pg_publication": "true",
    "pg_replication_slots": "true",
    "pg_rewrite": "oid >= 16384",
    "pg_roles": "true",
    "pg_seclabel": "true",
    "pg_shdescription": "true",
    "pg_statistic_ext": "true",
    "pg_subscription": "true",
    "pg_tablespace": "true",
    "pg_trigger": "true",
    "pg_type": "oid >= 16384",
}

SQL = "\nUNION ALL ".join(
    f"SELECT '{name}', md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t WHERE {where}"
    for name, where in CATALOGS.items()
) + """
UNION ALL SELECT 'pg_class', md5(string_agg((to_jsonb(c) - '{relpages,reltuples,relallvisible,relfrozenxid,relminmxid}'::text[])::text, '|' ORDER BY oid))
          FROM pg_class c WHERE oid >= 16384 AND relpersistence <> 't' AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_toast_temp%')
UNION ALL SELECT 'pg_namespace', md5(string_agg(n::text, '|' ORDER BY oid)) FROM pg_namespace n WHERE nspname !~ '^pg_(toast_)?temp_'
UNION ALL SELECT 'pg_database', md5(string_agg((to_jsonb(d) - '{datfrozenxid,datminmxid}'::text[])::text, '|' ORDER BY oid)) FROM pg_database d
UNION ALL SELECT 'settings', md5(string_agg(name || '=' || coalesce(setting, ''), '|' ORDER BY name)) FROM pg_settings
UNION ALL SELECT 'auto.conf', md5(pg_read_file('postgresql.auto.conf'))
UNION ALL SELECT 'statistics reset', max(stats_reset)::text FROM pg_stat_database WHERE datname = current_database()
UNION ALL SELECT 'sequence ' || sequencename, concat_ws(',', last_value, start_value, increment_by) FROM pg_sequences
"""

RELATIONS = """
SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1
"""


def digest(conn):
    """{what: digest} of a superuser's connection's database."""
    result = dict(conn.execute(SQL).fetchall())
    relations = [name for (name,) in conn.execute(RELATIONS)]
    if relations:
        rows = "\nUNION ALL ".join(
            f"SELECT 'rows of {name}', count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {name} t"
            for name in relations)
        result |= dict(conn.execute(rows).fetchall())
    return result


def differences(before, after):
    """What has changed, by name."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
