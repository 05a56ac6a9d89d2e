//! Names of relations and columns that rewrites make.
//!
//! They begin with a control character, so that no table and no column of a query is called so: `__in_1` could be
//! a table of the user's. An explanation shows them with two underscores in its place.

/// The first character of such a name.
const FIRST: char = '\u{1}';

/// The reserved name that ends like this.
pub(super) fn reserved(name: impl std::fmt::Display) -> String {
    format!("{FIRST}{name}")
}

/// The text of a plan as an explanation shows it. Fields and JSON have escaped the character.
pub(crate) fn shown(plan: &str) -> String {
    plan.replace(FIRST, "__").replace("\\u{1}", "__").replace("\\u0001", "__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_name_is_shown_without_its_control_character() {
        let name = reserved("in_1");
        assert_ne!(name, "__in_1");
        assert_eq!(shown(&format!("{name}.k")), "__in_1.k");
        assert_eq!(shown(&format!("{name:?}")), "\"__in_1\"");
    }
}
