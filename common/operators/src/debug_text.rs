//! `Debug` texts of a bounded length.
//!
//! DataFusion's `CASE` prints its body twice, so that the text of `n` nested ones is longer than
//! `2^n`: text is cut where it is longer than anything that is planned for good reason.

use std::fmt::{self, Debug, Write};

/// Bytes after which a text is cut.
pub(crate) const TEXT_BYTES_MAX: usize = 16 << 20;

/// The `Debug` text of a value, or its first [`TEXT_BYTES_MAX`]; then true: it is cut.
pub(crate) fn debug_text(value: &(impl Debug + ?Sized)) -> (String, bool) {
    let mut text = Bounded(String::new());
    let is_cut = write!(text, "{value:?}").is_err();
    (text.0, is_cut)
}

/// A text that takes no more than the bound.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX - self.0.len();
        self.0.push_str(&more[..more.floor_char_boundary(room)]);
        if more.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints its body twice, as DataFusion's `CASE` does.
    #[derive(Clone)]
    struct Case(Option<Box<Case>>);

    impl Debug for Case {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Case").field("body", &self.0).field("eval_method", &self.0).finish()
        }
    }

    #[test]
    fn a_text_that_doubles_with_each_level_is_cut() {
        let deep = (0..200).fold(Case(None), |inner, _| Case(Some(Box::new(inner))));
        let (text, is_cut) = debug_text(&deep);
        assert_eq!((text.len(), is_cut), (TEXT_BYTES_MAX, true));
        let whole = "Case { body: None, eval_method: None }".to_owned();
        assert_eq!(debug_text(&Case(None)), (whole, false));
        assert!(debug_text(&"é".repeat(TEXT_BYTES_MAX)).0.len() < TEXT_BYTES_MAX + 1);
    }
}
