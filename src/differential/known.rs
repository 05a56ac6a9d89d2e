//! Kinds of statements that are known to be answered wrongly, with the reason.
//!
//! Statements of [`OUT_OF_REACH`] are not made. The other kinds are those of plain DataFusion alone.
//! Where the oracle covers a statement it decides, and these only sort the report. A difference
//! between plain DataFusion and the oracle that no kind explains is reported as `unexplained`.

use std::collections::BTreeSet;

use gnist_differential::Outcome;

/// Features of statements that DataFusion answers wrongly and Gnist does not mend yet, with the
/// reason. No statement has them, unless it is asked for.
pub(super) const OUT_OF_REACH: &[(&str, &str)] = &[];

/// A kind: the features that a statement must have one of, and what goes wrong.
struct Known {
    kind: &'static str,
    features: &'static [&'static str],
}

const KNOWN: &[Known] = &[
    Known {
        kind: "EXCEPT ALL and INTERSECT ALL don't count copies (#12955, #12956)",
        features: &["set:except-all", "set:intersect-all"],
    },
    Known {
        kind: "the key of a USING or NATURAL join is the left one (#22881)",
        features: &["join:using", "join:natural"],
    },
    Known {
        kind: "NOT IN breaks three-valued logic (#25340)",
        features: &["subquery:not-in", "subquery:all", "subquery:any", "subquery:in"],
    },
    Known {
        kind: "decorrelation loses the row of an aggregate without groups (#24960)",
        features: &["subquery:exists", "subquery:not-exists", "subquery:scalar", "lateral"],
    },
    Known {
        kind: "NaN has two places and -0.0 is less than 0.0",
        features: &["value:nan", "value:-0.0"],
    },
    Known { kind: "a window's values are taken for ordered", features: &["order:some-columns"] },
    Known { kind: "infinity stays in a sliding sum", features: &["value:infinity"] },
    Known {
        kind: "a record with line feeds is cut",
        features: &["csv:newlines", "csv:terminator"],
    },
];

/// The kind of a difference between plain DataFusion and the oracle.
pub(super) fn kind_of(features: &BTreeSet<String>, outcome: &Outcome) -> &'static str {
    if matches!(outcome, Outcome::Fails(_)) {
        return "integers and decimals wrap on overflow (#3520)";
    }
    let has = |known: &&Known| known.features.iter().any(|feature| features.contains(*feature));
    KNOWN.iter().find(has).map_or("unexplained", |known| known.kind)
}
