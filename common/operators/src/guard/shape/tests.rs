//! Texts of every form are read, and nothing of them is overlooked.

use std::collections::HashMap;

use super::*;

fn fields(text: &str) -> Vec<String> {
    let fields = read(text).fields.into_iter();
    fields.map(|field| format!("{}.{}", field.operator, field.name)).collect()
}

#[test]
fn an_operator_has_its_fields_and_its_input_has_its_own() {
    let text = "AExec { one: [B { c: 1 }], input: BExec { two: \"} ,\" }, three: None }";
    assert_eq!(fields(text), ["AExec.one", "BExec.two", "AExec.input", "AExec.three"]);
}

#[test]
fn values_differ_where_their_texts_do() {
    assert_ne!(of(&vec![1, 2]), of(&vec![2, 1]));
    assert_ne!(of(&Some("a")), of(&Some("b")));
    assert_ne!(of(&("a, b", "c")), of(&("a", "b, c")));
    assert_eq!(of(&Some(1.5)), of(&Some(1.5)));
}

#[test]
fn maps_are_equal_whatever_the_order_of_their_entries() {
    let entries = |range: std::ops::Range<u32>| range.map(|n| (n, n * n));
    let one: HashMap<_, _> = entries(0..100).collect();
    let other: HashMap<_, _> = entries(0..100).rev().collect();
    assert_eq!(of(&one), of(&other));
    let less: HashMap<_, _> = entries(0..99).collect();
    assert_ne!(of(&one), of(&less));
}

#[test]
fn a_dynamic_filter_is_its_columns() {
    let filter = |children: &str, moved: &str| {
        let text = format!(
            "AExec {{ f: {DYNAMIC_FILTER} {{ children: {children}, remapped_children: {moved}, \
             inner: RwLock {{ data: Inner {{ id: 7 }} }} }} }}"
        );
        read(&text).fields[0].value
    };
    assert_eq!(filter("[Column { a }]", "None"), filter("[]", "Some([Column { a }])"));
    assert_ne!(filter("[Column { a }]", "None"), filter("[Column { b }]", "None"));
}

#[test]
fn text_of_another_form_is_hashed_as_it_stands() {
    for text in [
        "AExec { a: \"b\\",
        "{",
        "}}",
        "AExec { a: ",
        "\"",
        "AExec { ( }",
        "[AExec {}, (}",
        "é{ü: 1}",
    ] {
        assert_eq!(fields(text), fields(text), "{text}");
    }
}

#[test]
fn gaps_are_what_is_left_out() {
    let text = "AExec { one: 1, cache: PlanProperties { a: {1}, b: Inner { expression_id: 3 } }, \
                filter: Inner { expression_id: 7, generation: (1, 2), expr: x }, two: 2 }";
    let gaps = read(text).gaps.into_iter().map(|gap| &text[gap]);
    let expected = [" a: {1}, b: Inner { expression_id: 3 } ", "7", "(1, 2)"];
    assert_eq!(gaps.collect::<Vec<_>>(), expected);
}

#[test]
fn the_text_of_a_field_is_found_by_its_name() {
    let text = "A { name: \"two: Some([9]), \", two: Some([0, 2]), three: {} }";
    assert_eq!(field_text(text, "two"), Some("Some([0, 2])"));
    assert_eq!(field_text(text, "four"), None);
}
