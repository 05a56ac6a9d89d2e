//! The generator and the oracle together: what they cover, and that a seed repeats.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Dice, Generator, Outcome, answer, features, smaller_statements, sql, table_set};

const STATEMENTS: usize = 1500;

#[test]
fn a_seed_gives_the_same_statements() {
    let texts = || {
        let mut dice = Dice::new(7);
        let tables = table_set(&mut dice, &BTreeSet::new());
        let mut generator = Generator::new(&mut dice, &tables);
        let text = |_| sql(&generator.statement().query, &tables);
        (0..50).map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(), texts());
}

#[test]
fn the_oracle_covers_most_statements_and_many_have_rows() {
    let (mut covered, mut with_rows) = (0, 0);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..15 {
        let mut dice = Dice::new(seed);
        let tables = table_set(&mut dice, &BTreeSet::new());
        let mut generator = Generator::new(&mut dice, &tables);
        for _ in 0..STATEMENTS / 15 {
            let statement = generator.statement();
            for feature in features(&statement.query, &tables) {
                *used.entry(feature).or_default() += 1;
            }
            match answer(&statement, &tables) {
                Outcome::Rows(rows) => {
                    covered += 1;
                    with_rows += usize::from(!rows.is_empty());
                }
                Outcome::Fails(_) => covered += 1,
                Outcome::NotCovered(reason) | Outcome::Undetermined(reason) => {
                    *reasons.entry(reason).or_default() += 1
                }
            }
        }
    }
    assert!(covered * 100 >= STATEMENTS * 90, "{covered} of {STATEMENTS}: {reasons:?}");
    assert!(with_rows * 100 >= STATEMENTS * 60, "{with_rows} of {STATEMENTS} have rows");
    for feature in ["window:ignore-nulls", "set:except-all", "subquery:not-in", "csv:gzip"] {
        assert!(used.contains_key(feature), "no `{feature}` in {used:?}");
    }
}

#[test]
fn smaller_statements_stay_statements() {
    let mut dice = Dice::new(3);
    let tables = table_set(&mut dice, &BTreeSet::new());
    let mut generator = Generator::new(&mut dice, &tables);
    let (mut known, mut all) = (0, 0);
    for _ in 0..20 {
        for smaller in smaller_statements(&generator.statement()) {
            all += 1;
            known += usize::from(!matches!(answer(&smaller, &tables), Outcome::NotCovered(_)));
        }
    }
    assert!(known * 10 >= all * 8, "{known} of {all} are answered");
}
