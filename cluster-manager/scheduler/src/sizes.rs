//! A list of small numbers in few bytes: the sizes of a task's output, one per output partition.
//!
//! A stage of 10,000 tasks and 200 output partitions has two million sizes and as many row
//! counts, which are mostly small. LEB128 (seven bits a byte) keeps them in about two bytes each.

/// Numbers in order, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes(Box<[u8]>);

impl Sizes {
    /// Encodes `count` numbers; missing ones are 0, further ones are left out.
    pub(crate) fn encode(numbers: &[u64], count: usize) -> Self {
        let mut bytes = Vec::with_capacity(count * 2);
        for index in 0..count {
            push(&mut bytes, numbers.get(index).copied().unwrap_or(0));
        }
        Self(bytes.into_boxed_slice())
    }

    /// The numbers in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let mut bytes = self.0.iter();
        std::iter::from_fn(move || {
            let mut byte = *bytes.next()?;
            let mut number = u64::from(byte & 0x7f);
            let mut shift = 7;
            while byte & 0x80 != 0 {
                byte = *bytes.next().expect("a number ends with a byte below 0x80");
                number |= u64::from(byte & 0x7f) << shift;
                shift += 7;
            }
            Some(number)
        })
    }

    /// Returns the sum of the numbers.
    pub(crate) fn sum(&self) -> u64 {
        self.iter().sum()
    }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sizes_round_trip(numbers in proptest::collection::vec(any::<u64>(), 0..40)) {
            let sizes = Sizes::encode(&numbers, numbers.len());
            prop_assert_eq!(sizes.iter().collect::<Vec<_>>(), numbers);
        }
    }

    #[test]
    fn a_list_of_the_wrong_length_is_cut_or_filled() {
        assert_eq!(Sizes::encode(&[300, 2], 3).iter().collect::<Vec<_>>(), [300, 2, 0]);
        assert_eq!(Sizes::encode(&[300, 2], 1).iter().collect::<Vec<_>>(), [300]);
        assert_eq!(Sizes::encode(&[300, 2], 2).sum(), 302);
    }
}
