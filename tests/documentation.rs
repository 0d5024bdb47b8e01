//! Holds the documents against the program: what a reader is told about must exist, and the other way round.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use pgbelay::cli::Cli;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> io::Result<String> {
    fs::read_to_string(project(path))
}

/// README.md has a row for every command, and no other.
#[test]
fn the_readme_lists_the_commands() {
    let mut commands: Vec<String> = Vec::new();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let below: Vec<_> = command.get_subcommands().map(|c| format!("{name} {}", c.get_name())).collect();
        commands.extend(if below.is_empty() { vec![name.to_owned()] } else { below });
    }
    commands.sort();
    let readme = text("README.md").unwrap();
    let row = |line: &str| Some(line.strip_prefix("| `pgbelay ")?.split_once('`')?.0.to_owned());
    let mut rows: Vec<String> = readme.lines().filter_map(row).collect();
    rows.sort();
    assert_eq!(rows, commands);
}

/// docs/operations.md tells what to do about every SQLSTATE that the proxy answers with.
#[test]
fn the_operators_manual_explains_every_sqlstate() {
    let source = text("src/policy/verdict.rs").unwrap();
    let code = |line: &str| Some(line.trim().strip_prefix("pub const ")?.split_once("= \"")?.1.get(..5)?.to_owned());
    let codes: Vec<String> = source.lines().filter_map(code).collect();
    assert!(codes.len() > 15, "the codes have moved: {codes:?}");
    let manual = text("docs/operations.md").unwrap();
    let rows: Vec<&str> = manual.lines().filter_map(|l| l.strip_prefix("| ")?.split_once(" |")).map(|r| r.0).collect();
    for code in codes {
        assert!(rows.iter().any(|row| row.split(", ").any(|c| c == code)), "docs/operations.md has no row for {code}");
    }
}

/// Every relative link of a document leads to a file.
#[test]
fn links_lead_somewhere() {
    let mut documents = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in fs::read_dir(project("docs")).unwrap() {
        documents.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    let mut broken = Vec::new();
    for document in documents.iter().filter(|d| d.ends_with(".md")) {
        let folder = project(document).parent().unwrap().to_owned();
        for link in
            text(document).unwrap().split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
        {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
