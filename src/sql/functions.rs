//! Functions that reach beyond the data, and the names of Postgres's own functions.
//!
//! Everything else about a function (volatility, language, owner) is the server's catalog's to tell.

use super::harmless;

/// What kind of harm a function can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Acts on other sessions or on the server as a whole: pg_terminate_backend, pg_reload_conf, pg_stat_reset …
    ProcessControl,
    /// Reaches files of the server: pg_read_file, lo_export, pg_ls_dir …
    Files,
    /// Makes the server open a connection of its own: dblink, postgres_fdw.
    OtherConnection,
    /// Replication, recovery, WAL, backup: slots, origins, pg_promote, pg_backup_start …
    Replication,
    /// Runs SQL given as text: query_to_xml, ts_stat, crosstab …
    RunsSql,
    /// Changes large objects.
    LargeObject,
    /// Takes or releases an advisory lock; [`advisory`] tells which.
    AdvisoryLock,
    /// Sends a notification.
    Notification,
    /// Moves a sequence: nextval, setval.
    Sequence,
    /// Changes a setting: set_config, setseed.
    Settings,
    /// Waits: pg_sleep.
    Sleep,
    /// Has the server give the transaction an id, as a write does: txid_current. It changes nothing else.
    TransactionId,
}

impl Category {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::ProcessControl => "process control",
            Category::Files => "files",
            Category::OtherConnection => "other connection",
            Category::Replication => "replication",
            Category::RunsSql => "runs SQL",
            Category::LargeObject => "large object",
            Category::AdvisoryLock => "advisory lock",
            Category::Notification => "notification",
            Category::Sequence => "sequence",
            Category::Settings => "settings",
            Category::Sleep => "sleep",
            Category::TransactionId => "transaction id",
        }
    }
}

/// What an advisory lock function does (Postgres documentation, 9.28.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advisory {
    /// Takes a lock that the session holds until it ends or releases it.
    LockSession,
    /// Takes a lock that ends with the transaction.
    LockTransaction,
    /// Releases one.
    Unlock,
    /// Releases all of the session's.
    UnlockAll,
}

/// The functions of pg_catalog that can do harm (Postgres 13 to 18), by category; sorted within each.
const BUILT_IN: &[(Category, &[&str])] = &[
    (
        Category::ProcessControl,
        &[
            // Maintenance and storage, normally run by VACUUM and ANALYZE.
            "brin_desummarize_range",
            "brin_summarize_new_values",
            "brin_summarize_range",
            "gin_clean_pending_list",
            "pg_cancel_backend",
            "pg_clear_attribute_stats",
            "pg_clear_relation_stats",
            "pg_extension_config_dump",
            // Interrupts another session, which then tells of itself.
            "pg_get_process_memory_contexts",
            "pg_import_system_collations",
            "pg_log_backend_memory_contexts",
            "pg_nextoid",
            "pg_reload_conf",
            "pg_restore_attribute_stats",
            "pg_restore_relation_stats",
            "pg_rotate_logfile",
            "pg_rotate_logfile_old",
            "pg_set_attribute_stats",
            "pg_set_relation_stats",
            "pg_stat_reset",
            "pg_stat_reset_backend_stats",
            "pg_stat_reset_replication_slot",
            "pg_stat_reset_shared",
            "pg_stat_reset_single_function_counters",
            "pg_stat_reset_single_table_counters",
            "pg_stat_reset_slru",
            "pg_stat_reset_subscription_stats",
            "pg_stop_making_pinned_objects",
            "pg_terminate_backend",
        ],
    ),
    (
        Category::Files,
        &[
            "lo_export",
            "lo_import",
            "pg_hba_file_rules",
            "pg_ident_file_mappings",
            "pg_ls_archive_statusdir",
            "pg_ls_dir",
            "pg_ls_logdir",
            "pg_ls_logicalmapdir",
            "pg_ls_logicalsnapdir",
            "pg_ls_replslotdir",
            "pg_ls_summariesdir",
            "pg_ls_tmpdir",
            "pg_ls_waldir",
            "pg_read_binary_file",
            "pg_read_file",
            "pg_read_file_old",
            "pg_show_all_file_settings",
            "pg_stat_file",
        ],
    ),
    (
        Category::Replication,
        &[
            "pg_backup_start",
            "pg_backup_stop",
            "pg_copy_logical_replication_slot",
            "pg_copy_physical_replication_slot",
            "pg_create_logical_replication_slot",
            "pg_create_physical_replication_slot",
            "pg_create_restore_point",
            "pg_drop_replication_slot",
            "pg_log_standby_snapshot",
            "pg_logical_emit_message",
            "pg_logical_slot_get_binary_changes",
            "pg_logical_slot_get_changes",
            "pg_logical_slot_peek_binary_changes",
            "pg_logical_slot_peek_changes",
            "pg_promote",
            "pg_replication_origin_advance",
            "pg_replication_origin_create",
            "pg_replication_origin_drop",
            "pg_replication_origin_session_reset",
            "pg_replication_origin_session_setup",
            "pg_replication_origin_xact_reset",
            "pg_replication_origin_xact_setup",
            "pg_replication_slot_advance",
            "pg_start_backup",
            "pg_stop_backup",
            "pg_switch_wal",
            "pg_sync_replication_slots",
            "pg_wal_replay_pause",
            "pg_wal_replay_resume",
        ],
    ),
    (
        Category::RunsSql,
        &[
            "cursor_to_xml",
            "cursor_to_xmlschema",
            "database_to_xml",
            "database_to_xml_and_xmlschema",
            "database_to_xmlschema",
            "query_to_xml",
            "query_to_xml_and_xmlschema",
            "query_to_xmlschema",
            "schema_to_xml",
            "schema_to_xml_and_xmlschema",
            "schema_to_xmlschema",
            "table_to_xml",
            "table_to_xml_and_xmlschema",
            "table_to_xmlschema",
            "ts_rewrite",
            "ts_stat",
        ],
    ),
    (
        // Reading them (lo_open, loread, lo_get, lo_lseek, lo_tell, lo_close) is harmless: writing needs one of these.
        Category::LargeObject,
        &["lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_truncate", "lo_truncate64", "lo_unlink", "lowrite"],
    ),
    (
        Category::AdvisoryLock,
        &[
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_advisory_unlock",
            "pg_advisory_unlock_all",
            "pg_advisory_unlock_shared",
            "pg_advisory_xact_lock",
            "pg_advisory_xact_lock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
            "pg_try_advisory_xact_lock",
            "pg_try_advisory_xact_lock_shared",
        ],
    ),
    (Category::Notification, &["pg_notify"]),
    (Category::Sequence, &["nextval", "setval"]),
    (Category::Settings, &["set_config", "setseed"]),
    (Category::Sleep, &["pg_sleep", "pg_sleep_for", "pg_sleep_until"]),
    (Category::TransactionId, &["pg_current_xact_id", "txid_current"]),
];

/// The same of extensions, which may be installed in any schema.
const EXTENSIONS: &[(Category, &[&str])] = &[
    (
        Category::ProcessControl,
        &[
            // pg_surgery, pg_visibility, pg_prewarm, pg_stat_statements, pageinspect, pg_buffercache.
            "autoprewarm_dump_now",
            "autoprewarm_start_worker",
            "get_raw_page",
            "heap_force_freeze",
            "heap_force_kill",
            "pg_buffercache_evict",
            "pg_buffercache_evict_all",
            "pg_buffercache_evict_relation",
            "pg_prewarm",
            "pg_stat_statements_reset",
            "pg_truncate_visibility_map",
        ],
    ),
    (
        Category::Files,
        // adminpack.
        &["pg_file_rename", "pg_file_sync", "pg_file_unlink", "pg_file_write", "pg_logdir_ls"],
    ),
    (
        Category::OtherConnection,
        &[
            "dblink",
            "dblink_cancel_query",
            "dblink_close",
            "dblink_connect",
            "dblink_connect_u",
            "dblink_disconnect",
            "dblink_exec",
            "dblink_fetch",
            "dblink_get_result",
            "dblink_open",
            "dblink_send_query",
            "postgres_fdw_disconnect",
            "postgres_fdw_disconnect_all",
        ],
    ),
    (
        Category::RunsSql,
        // tablefunc, xml2, pg_background, pg_cron.
        &["connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4", "pg_background_launch", "xpath_table"],
    ),
    (Category::LargeObject, &["lo_manage"]),
];

/// Prefixes that stand for a family.
const FAMILIES: &[(Category, &str)] =
    &[(Category::ProcessControl, "binary_upgrade_"), (Category::OtherConnection, "dblink_")];

/// The category of a function by its name, as the server resolves it (unquoted parts in lower case), whatever its arguments;
/// `None` for a function that this table has nothing to say of.
pub fn category(schema: Option<&str>, name: &str) -> Option<Category> {
    let built_in = || match schema {
        None | Some("pg_catalog") => find(BUILT_IN, name),
        Some(_) => None,
    };
    let family = || FAMILIES.iter().find(|(_, prefix)| name.starts_with(prefix)).map(|&(category, _)| category);
    built_in().or_else(|| find(EXTENSIONS, name)).or_else(family)
}

/// The category of a call of so many arguments: one overload of a name may be harmless.
pub fn category_of_call(schema: Option<&str>, name: &str, arity: usize) -> Option<Category> {
    // ts_rewrite(query, target, substitute) replaces; ts_rewrite(query, text) runs its text.
    category(schema, name).filter(|_| !(name == "ts_rewrite" && arity == 3))
}

/// Whether a volatile function of pg_catalog is known: in the table above, or known to do no harm.
pub fn is_known_volatile(name: &str) -> bool {
    category(None, name).is_some() || harmless::is_harmless(name)
}

/// Whether a volatile function that an extension may bring is known to do no harm, though nothing on the server would hold it.
pub fn is_harmless_extension(name: &str) -> bool {
    harmless::is_harmless_extension(name)
}

fn find(table: &[(Category, &[&str])], name: &str) -> Option<Category> {
    table.iter().find(|(_, names)| names.binary_search(&name).is_ok()).map(|&(category, _)| category)
}

/// Whether a function of Postgres's own may give another value for each row: it is VOLATILE (Postgres documentation, "Function
/// Volatility Categories"). Those that only tell of the server's state are left out.
pub fn is_volatile(name: &str) -> bool {
    const VALUES: &[&str] = &[
        "clock_timestamp",
        "currval",
        "gen_random_uuid",
        "lastval",
        "nextval",
        "random",
        "random_normal",
        "setval",
        "timeofday",
        "uuidv4",
        "uuidv7",
    ];
    VALUES.contains(&name) || category(None, name).is_some()
}

/// What an advisory lock function does; `None` for any other function.
pub fn advisory(name: &str) -> Option<Advisory> {
    match name {
        "pg_advisory_lock" | "pg_advisory_lock_shared" | "pg_try_advisory_lock" | "pg_try_advisory_lock_shared" => {
            Some(Advisory::LockSession)
        }
        "pg_advisory_xact_lock"
        | "pg_advisory_xact_lock_shared"
        | "pg_try_advisory_xact_lock"
        | "pg_try_advisory_xact_lock_shared" => Some(Advisory::LockTransaction),
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" => Some(Advisory::Unlock),
        "pg_advisory_unlock_all" => Some(Advisory::UnlockAll),
        _ => None,
    }
}

/// Whether Postgres itself brings a function of this name (in pg_catalog, or as grammar: COALESCE, XMLELEMENT …).
pub fn is_built_in(name: &str) -> bool {
    use std::sync::LazyLock;
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let mut names: Vec<&str> =
            include_str!("built_in_functions.txt").lines().filter(|l| !l.starts_with('#')).collect();
        names.sort_unstable();
        names
    });
    is_grammar(name) || NAMES.binary_search(&name).is_ok()
}

/// Whether Postgres's grammar has this name to itself, as COALESCE: no catalog has a function of that name.
pub fn is_grammar(name: &str) -> bool {
    super::keywords::is_grammar(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_have_no_name_twice() {
        for table in [BUILT_IN, EXTENSIONS] {
            let mut all: Vec<&str> = table.iter().flat_map(|(_, names)| names.iter().copied()).collect();
            for (category, names) in table {
                assert!(names.is_sorted(), "{category:?}");
            }
            all.sort_unstable();
            let before = all.len();
            all.dedup();
            assert_eq!(all.len(), before);
        }
    }

    #[test]
    fn categories() {
        for (schema, name, expected) in [
            (None, "pg_terminate_backend", Some(Category::ProcessControl)),
            (Some("pg_catalog"), "pg_terminate_backend", Some(Category::ProcessControl)),
            (Some("app"), "pg_terminate_backend", None),
            (None, "pg_reload_conf", Some(Category::ProcessControl)),
            (None, "binary_upgrade_set_next_pg_type_oid", Some(Category::ProcessControl)),
            (None, "pg_read_binary_file", Some(Category::Files)),
            (None, "lo_export", Some(Category::Files)),
            (None, "lo_put", Some(Category::LargeObject)),
            (None, "lo_get", None),
            (Some("ext"), "dblink_exec", Some(Category::OtherConnection)),
            (None, "dblink_build_sql_insert", Some(Category::OtherConnection)),
            (None, "pg_promote", Some(Category::Replication)),
            (None, "query_to_xml", Some(Category::RunsSql)),
            (None, "pg_advisory_xact_lock", Some(Category::AdvisoryLock)),
            (None, "pg_notify", Some(Category::Notification)),
            (None, "nextval", Some(Category::Sequence)),
            (None, "currval", None),
            (None, "set_config", Some(Category::Settings)),
            (None, "pg_sleep_for", Some(Category::Sleep)),
            (None, "txid_current", Some(Category::TransactionId)),
            (None, "pg_current_xact_id_if_assigned", None),
            (None, "lower", None),
        ] {
            assert_eq!(category(schema, name), expected, "{schema:?}.{name}");
        }
    }

    #[test]
    fn every_advisory_function_of_the_table_is_told_apart() {
        let (_, names) = BUILT_IN.iter().find(|(category, _)| *category == Category::AdvisoryLock).unwrap();
        assert!(names.iter().all(|name| advisory(name).is_some()));
        assert_eq!(advisory("pg_try_advisory_lock_shared"), Some(Advisory::LockSession));
        assert_eq!(advisory("pg_try_advisory_xact_lock"), Some(Advisory::LockTransaction));
        assert_eq!(advisory("pg_advisory_unlock_all"), Some(Advisory::UnlockAll));
    }

    #[test]
    fn built_in_names() {
        for name in [
            "lower",
            "format_type",
            "jsonb_set",
            "percentile_cont",
            "coalesce",
            "grouping",
            "xmlelement",
            "current_date",
            "any_value",
            "json_scalar",
            "uuidv7",
            "random_normal",
            "to_oct",
            "regexp_count",
        ] {
            assert!(is_built_in(name), "{name}");
        }
        for name in ["touch", "wipe_drafts", "dblink", "uuid_generate_v4", ""] {
            assert!(!is_built_in(name), "{name}");
        }
    }
}
