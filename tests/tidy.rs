//! The shape of the source (docs/architecture.md): which module may name which library, and how long a file may get.

#![allow(clippy::unwrap_used)] // Tests may fail loudly.

use std::fs;
use std::path::Path;

/// Most lines of a source file. Split a longer one where its subject changes.
const MAX_LINES: usize = 650;

/// A library, and the only places that may name it: files, or folders with their `/`, under `src`.
struct Home {
    library: &'static str,
    may_name: &'static [&'static str],
}

/// Each library that has a home of its own.
const HOMES: &[Home] = &[
    // No second parser: SQL is read in `sql` alone.
    Home { library: "sqlparser", may_name: &["sql/"] },
    Home { library: "x509_cert", may_name: &["auth/certificate.rs"] },
    Home { library: "pgwire::", may_name: &["wire/", "startup/"] },
];

/// Folders without sockets, tasks or clocks: bytes and facts in, actions out.
const WITHOUT_TOKIO: &[&str] = &["sql/", "policy/", "wire/", "session/"];

/// What gives the session's state machine its bytes, and its wake-ups.
const DRIVERS: &[&str] = &["session/driver.rs", "session/driver/", "session/control.rs"];

/// Every source file: its path under `src`, with `/`, and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((below(&root, &path), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn below(root: &Path, path: &Path) -> String {
    let parts: Vec<_> = path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
    parts.join("/")
}

/// Whether a file is one of `places` or lies in one of them.
fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| if place.ends_with('/') { file.starts_with(place) } else { file == *place })
}

/// Where a file names a library, as `file:line`.
fn naming(file: &str, text: &str, library: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(library));
    lines.map(|(index, _)| format!("{file}:{}", index + 1)).collect()
}

/// A file's text without the unit tests at its end: these may check against a library that the code itself does not name.
fn code(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:#?}");
}

#[test]
fn libraries_are_named_only_at_home() {
    let mut astray = Vec::new();
    for Home { library, may_name } in HOMES {
        for (file, text) in sources().iter().filter(|(file, _)| !is_in(file, may_name)) {
            astray.extend(naming(file, code(text), library));
        }
    }
    assert!(astray.is_empty(), "{astray:#?}");
}

#[test]
fn the_core_does_without_tokio() {
    let mut astray = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| is_in(file, WITHOUT_TOKIO) && !is_in(file, DRIVERS)) {
        astray.extend(naming(file, text, "tokio"));
    }
    assert!(astray.is_empty(), "{astray:#?}");
}

/// A place that has moved would make its rule say nothing.
#[test]
fn the_places_exist() {
    let files = sources();
    let names = |place: &str, library: &str| {
        files.iter().any(|(file, text)| is_in(file, &[place]) && !naming(file, code(text), library).is_empty())
    };
    for Home { library, may_name } in HOMES {
        for place in *may_name {
            assert!(names(place, library), "nothing in src/{place} names {library}");
        }
    }
    for place in DRIVERS {
        assert!(names(place, "tokio"), "nothing in src/{place} names tokio");
    }
    for place in WITHOUT_TOKIO {
        assert!(files.iter().any(|(file, _)| is_in(file, &[place])), "src/{place} is gone");
    }
}
