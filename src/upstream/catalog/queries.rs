//! What is asked of the server: system catalogs as rows (Postgres documentation, chapter "System Catalogs").
//!
//! `search_path` on the connection cannot mislead the queries: every name and operator in them is qualified.

use std::str::FromStr;

use super::super::connection::{Connection, Row};
use super::reach::{BuiltIn, Class, Found, Object, Relation, Routine};
use crate::upstream::ConnectError;

/// Postgres's own functions, which have OIDs below 16384 (`FirstNormalObjectId`): what a superuser has put into pg_catalog is
/// not among them.
const BUILT_INS: &str = "
SELECT n.nspname::text, p.proname::text, pg_catalog.array_agg(p.oid),
       pg_catalog.bool_or(p.provolatile OPERATOR(pg_catalog.=) 'v')
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 WHERE p.oid OPERATOR(pg_catalog.<) 16384
 GROUP BY 1, 2";

/// The database's own functions. A temporary schema goes by the name that statements use.
///
/// A function can leave session state behind when its body can: only SQL and PL/pgSQL bodies that hold none of the words that
/// do so are trusted not to. The source tells what else a function calls, whatever it says of itself. C and internal code has none;
/// a READ ONLY transaction holds neither it nor untrusted languages.
const ROUTINES: &str = "
SELECT p.oid,
       CASE WHEN n.nspname OPERATOR(pg_catalog.~) '^pg_temp_' THEN 'pg_temp' ELSE n.nspname::text END,
       p.proname::text,
       p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults,
       CASE WHEN p.provariadic OPERATOR(pg_catalog.<>) 0 OR a.aggkind IN ('o', 'h') THEN 32767::int2 ELSE p.pronargs END,
       p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.prosecdef,
       p.provolatile OPERATOR(pg_catalog.<>) 'v',
       NOT l.lanpltrusted AND l.lanname OPERATOR(pg_catalog.<>) 'sql',
       l.lanname NOT IN ('sql', 'plpgsql')
           OR p.prosrc OPERATOR(pg_catalog.~*)
              '(set_config|\\mset\\M|\\mreset\\M|temp|listen|advisory|execute|prepare|\\mload\\M|hold|discard|dblink)',
       COALESCE(t.typtype IN ('c', 'd', 'p'), false),
       CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'a' OR l.lanname IN ('c', 'internal') THEN '' ELSE {BODY} END,
       p.provolatile OPERATOR(pg_catalog.=) 'i' AND NOT p.prosecdef
           AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                          AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid OPERATOR(pg_catalog.=) p.oid
  LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384";

/// From Postgres 14 on a body may be kept parsed.
const BODY: &str = "COALESCE(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)";
/// Before.
const BODY_13: &str = "p.prosrc";

/// Which of the database's own objects needs which: `r` relations (views), `f` functions, `o` operators, `t` types.
///
/// Dependencies on Postgres's own objects are not recorded in pg_depend, so that those of aggregates, operators and casts are
/// read where they stand.
const NEEDS: &str = "
SELECT 'f', a.aggfnoid::oid, 'f', f.oid
  FROM pg_catalog.pg_aggregate a,
       LATERAL pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                       a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) AS f (oid)
 WHERE a.aggfnoid::oid OPERATOR(pg_catalog.>=) 16384 AND f.oid OPERATOR(pg_catalog.<>) 0
UNION ALL
SELECT 'o', o.oid, 'f', o.oprcode::oid FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL
SELECT 't', t.oid, 'f', c.castfunc
  FROM pg_catalog.pg_cast c, LATERAL pg_catalog.unnest(ARRAY[c.castsource, c.casttarget]) AS t (oid)
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384 AND c.castfunc OPERATOR(pg_catalog.<>) 0
   AND t.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL
SELECT DISTINCT
       CASE WHEN r.ev_class IS NOT NULL THEN 'r' WHEN k.contypid IS NOT NULL THEN 't'
            WHEN d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass THEN 't' ELSE 'f' END,
       COALESCE(r.ev_class, k.contypid, d.objid),
       CASE d.refclassid WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'r'
                         WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN 'o'
                         WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN 't' ELSE 'f' END,
       d.refobjid
  FROM pg_catalog.pg_depend d
  LEFT JOIN pg_catalog.pg_rewrite r
         ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND r.oid OPERATOR(pg_catalog.=) d.objid AND r.ev_type OPERATOR(pg_catalog.=) '1'
  LEFT JOIN pg_catalog.pg_constraint k
         ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
        AND k.oid OPERATOR(pg_catalog.=) d.objid AND k.contypid OPERATOR(pg_catalog.<>) 0
 WHERE d.refobjid OPERATOR(pg_catalog.>=) 16384
   AND d.refclassid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
                        'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
   AND (r.oid IS NOT NULL OR k.oid IS NOT NULL
        OR d.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass))";

const OPERATORS: &str = "
SELECT o.oid, o.oprname::text FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384";

/// Domains, and types that have casts of their own.
const TYPES: &str = "
SELECT t.oid, t.typname::text FROM pg_catalog.pg_type t
 WHERE t.oid OPERATOR(pg_catalog.>=) 16384
   AND (t.typtype OPERATOR(pg_catalog.=) 'd'
        OR EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE t.oid IN (c.castsource, c.casttarget)))";

/// Views, and tables with rules for writes.
const RELATIONS: &str = "
SELECT c.oid, CASE WHEN n.nspname OPERATOR(pg_catalog.~) '^pg_temp_' THEN 'pg_temp' ELSE n.nspname::text END,
       c.relname::text, c.relkind OPERATOR(pg_catalog.=) 'm',
       EXISTS (SELECT FROM pg_catalog.pg_rewrite r
                WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.<>) '1')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384
   AND (c.relkind IN ('v', 'm') OR c.relhasrules)";

/// The custom settings that functions set by a literal: no view of the server's shows them.
const CUSTOM_SETTINGS: &str = r"
SELECT DISTINCT pg_catalog.lower(m.found[1])
  FROM pg_catalog.pg_proc p,
       LATERAL pg_catalog.regexp_matches(
           p.prosrc, '(?:set_config\s*\(\s*''|\mset\s+(?:session\s+)?)([a-z_]\w*\.\w+)', 'gi') AS m (found)
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384";

/// Asks all of it.
pub(super) async fn ask(connection: &mut Connection) -> Result<Found, ConnectError> {
    let version = connection.query("SELECT pg_catalog.current_setting('server_version_num')").await?;
    let version: u32 = version.first().map_or_else(|| Err(unexpected()), |row| parsed(row, 0))?;
    let body = if version >= 140_000 { BODY } else { BODY_13 };
    let mut found = Found::default();
    for row in &connection.query(BUILT_INS).await? {
        let oids = text(row, 2)?;
        let oids = oids.trim_matches(['{', '}']).split(',').map(u32::from_str).collect::<Result<_, _>>();
        let oids = oids.map_err(|_| unexpected())?;
        found.built_ins.push(BuiltIn { schema: text(row, 0)?, name: text(row, 1)?, oids, is_volatile: flag(row, 3)? });
    }
    for row in &connection.query(&ROUTINES.replace("{BODY}", body)).await? {
        found.routines.push(Routine {
            oid: parsed(row, 0)?,
            schema: text(row, 1)?,
            name: text(row, 2)?,
            least: parsed(row, 3)?,
            most: parsed(row, 4)?,
            is_volatile: flag(row, 5)?,
            is_planned: flag(row, 6)?,
            is_unheld: flag(row, 7)?,
            may_leave_state: flag(row, 8)?,
            takes_row: flag(row, 9)?,
            source: text(row, 10)?,
            is_immutable_of_extension: flag(row, 11)?,
        });
    }
    for row in &connection.query(NEEDS).await? {
        let object = |class: usize, oid: usize| {
            Ok::<_, ConnectError>(Object { class: class_of(&text(row, class)?), oid: parsed(row, oid)? })
        };
        found.needs.push((object(0, 1)?, object(2, 3)?));
    }
    for row in &connection.query(OPERATORS).await? {
        found.operators.push((parsed(row, 0)?, text(row, 1)?));
    }
    for row in &connection.query(TYPES).await? {
        found.types.push((parsed(row, 0)?, text(row, 1)?));
    }
    for row in &connection.query(RELATIONS).await? {
        found.relations.push(Relation {
            oid: parsed(row, 0)?,
            schema: text(row, 1)?,
            name: text(row, 2)?,
            is_materialized: flag(row, 3)?,
            has_rules: flag(row, 4)?,
        });
    }
    for row in &connection.query(CUSTOM_SETTINGS).await? {
        found.custom_settings.push(text(row, 0)?);
    }
    Ok(found)
}

fn text(row: &Row, column: usize) -> Result<String, ConnectError> {
    row.get(column).cloned().flatten().ok_or_else(unexpected)
}

fn flag(row: &Row, column: usize) -> Result<bool, ConnectError> {
    Ok(text(row, column)? == "t")
}

fn parsed<T: FromStr>(row: &Row, column: usize) -> Result<T, ConnectError> {
    text(row, column)?.parse().map_err(|_| unexpected())
}

fn unexpected() -> ConnectError {
    ConnectError::Protocol("a row of the catalog is not as asked for".to_owned())
}

fn class_of(letter: &str) -> Class {
    match letter {
        "r" => Class::Relation,
        "o" => Class::Operator,
        "t" => Class::Type,
        _ => Class::Routine,
    }
}
