//! The rules of ARCHITECTURE.md that `cargo metadata` can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use libtest_mimic::{Failed, Trial};

/// Crates of ours, and the crates of ours that each may depend on.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("gnist-common", &[]),
    ("gnist-storage", &["gnist-common"]),
    ("gnist-operators", &["gnist-common", "gnist-storage"]),
    ("gnist-proto", &["gnist-common"]),
    ("gnist-differential", &[]),
    ("gnist-scheduler", &["gnist-common"]),
    ("gnist-cluster-manager", &["gnist-common", "gnist-proto", "gnist-scheduler"]),
    ("gnist-driver", &["gnist-common", "gnist-storage", "gnist-operators", "gnist-proto"]),
    ("gnist-worker", &["gnist-common", "gnist-storage", "gnist-operators", "gnist-proto"]),
];

/// Crates that the pure ones never reach, directly or not.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "prost",
    "arrow",
    "datafusion",
    "object_store",
    "rand",
    "chrono",
    "time",
    "getrandom",
    "fastrand",
    "reqwest",
    "hyper",
];

/// Crates that must exist once.
const SINGLE: &[&str] =
    &["arrow", "arrow-array", "arrow-schema", "parquet", "object_store", "datafusion", "tonic"];

/// Licences that may be linked; an expression is fine when one of its choices is here.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Metadata) -> Result<(), Failed>| {
        Trial::test(format!("architecture::{name}"), move || test(&metadata()?))
    };
    vec![
        trial("dependencies_go_one_way", dependencies_go_one_way),
        trial("pure_crates_stay_pure", pure_crates_stay_pure),
        trial("the_cluster_manager_never_builds_datafusion", manager_without_datafusion),
        trial("one_version_of_each_kernel", one_version_of_each_kernel),
        trial("every_licence_is_on_the_list", every_licence_is_on_the_list),
        Trial::test("architecture::every_fault_applies_to_the_sources", every_fault_applies),
    ]
}

fn metadata() -> Result<Metadata, Failed> {
    let mut command = MetadataCommand::new();
    // Cargo runs tests in the package's folder. A path compiled in would name another clone's when
    // clones share one target folder.
    command.manifest_path("Cargo.toml").other_options(vec![
        "--locked".to_owned(),
        "--offline".to_owned(),
        "--filter-platform".to_owned(),
        "x86_64-unknown-linux-gnu".to_owned(),
    ]);
    Ok(command.exec()?)
}

/// The patches of tests/faults, which take too long to be built and run here.
fn every_fault_applies() -> Result<(), Failed> {
    let mut count = 0;
    for entry in fs::read_dir("tests/faults")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            applies(&path).map_err(|reason| format!("{}: {reason}", path.display()))?;
            count += 1;
        }
    }
    if count == 0 { Err("no fault in tests/faults".into()) } else { Ok(()) }
}

/// Every hunk's old lines stand in its file, in one place.
fn applies(patch: &Path) -> Result<(), String> {
    let patch = fs::read_to_string(patch).map_err(|error| error.to_string())?;
    for file in patch.split("--- a/").skip(1) {
        let (name, changes) = file.split_once('\n').ok_or("no line after the file's name")?;
        let source = fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
        for hunk in changes.split("\n@@ ").skip(1) {
            let lines = hunk.lines().skip(1).filter(|line| line.starts_with([' ', '-']));
            let old: String = lines.map(|line| format!("{}\n", &line[1..])).collect();
            let places = source.matches(&old).count();
            if places != 1 {
                return Err(format!("a hunk of {name} is in {places} places of it:\n{old}"));
            }
        }
    }
    Ok(())
}

fn dependencies_go_one_way(metadata: &Metadata) -> Result<(), Failed> {
    for (name, allowed) in DIRECTIONS {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == *name);
        let package = package.ok_or_else(|| format!("no crate `{name}`"))?;
        for dependency in &package.dependencies {
            let ours = dependency.name.starts_with("gnist");
            if ours && !allowed.contains(&dependency.name.as_str()) {
                return Err(format!("`{name}` must not depend on `{}`", dependency.name).into());
            }
        }
    }
    Ok(())
}

fn pure_crates_stay_pure(metadata: &Metadata) -> Result<(), Failed> {
    for name in ["gnist-common", "gnist-scheduler", "gnist-differential"] {
        none_of(metadata, name, IMPURE)?;
    }
    Ok(())
}

fn manager_without_datafusion(metadata: &Metadata) -> Result<(), Failed> {
    none_of(metadata, "gnist-cluster-manager", &["datafusion", "arrow", "parquet", "object_store"])
}

fn none_of(metadata: &Metadata, name: &str, forbidden: &[&str]) -> Result<(), Failed> {
    let reached = reached_from(metadata, name)?;
    let found = forbidden.iter().find(|crate_name| reached.contains(**crate_name));
    match found {
        Some(crate_name) => Err(format!("`{name}` reaches `{crate_name}`").into()),
        None => Ok(()),
    }
}

/// Names of everything a crate links, but for its tests.
fn reached_from<'a>(metadata: &'a Metadata, name: &str) -> Result<BTreeSet<&'a str>, Failed> {
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let graph = metadata.resolve.as_ref().ok_or("no dependency graph")?;
    let nodes: BTreeMap<_, _> = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = names.iter().find(|(_, found)| **found == name).ok_or("no such crate")?.0;
    let mut seen = BTreeSet::from([*start]);
    let mut queue = vec![*start];
    while let Some(id) = queue.pop() {
        for dependency in &nodes[id].deps {
            let linked = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            if dependency.dep_kinds.iter().any(linked) && seen.insert(&dependency.pkg) {
                queue.push(&dependency.pkg);
            }
        }
    }
    Ok(seen.into_iter().map(|id| names[id]).collect())
}

fn one_version_of_each_kernel(metadata: &Metadata) -> Result<(), Failed> {
    for name in SINGLE {
        let packages = metadata.packages.iter().filter(|package| package.name.as_str() == *name);
        let versions: BTreeSet<String> =
            packages.map(|package| package.version.to_string()).collect();
        if versions.len() != 1 {
            return Err(format!("`{name}` has the versions {versions:?}").into());
        }
    }
    Ok(())
}

fn every_licence_is_on_the_list(metadata: &Metadata) -> Result<(), Failed> {
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or("");
        let choices = licence.replace(" OR ", "/");
        let fits = |choice: &str| {
            let parts = choice.split(" AND ");
            parts
                .map(|part| part.trim_matches(['(', ')', ' ']))
                .all(|part| LICENCES.contains(&part))
        };
        if !choices.split('/').any(fits) {
            return Err(format!("`{}` has the licence `{licence}`", package.name).into());
        }
    }
    Ok(())
}
