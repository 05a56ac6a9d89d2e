//! The reference page of all keys, made from the registry.

use std::fmt::Write as _;

use super::KEYS;

/// The reference as a Markdown page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Config keys\n\n\
         Made by `gnist config-reference`. Set with `--conf KEY=VALUE`, the environment variable, \
         or `gnist.toml`; the first of these that has the key wins.\n\n\
         | key | environment | value | default | what it does |\n\
         |---|---|---|---|---|\n",
    );
    for key in KEYS {
        let default = key.default.map_or("derived".to_owned(), |text| format!("`{text}`"));
        let (name, variable, kind, doc) =
            (key.name, key.environment_name(), key.kind, key.doc.trim());
        writeln!(page, "| `{name}` | `{variable}` | {kind} | {default} | {doc} |")
            .expect("a string takes every write");
    }
    page
}
