//! A seeded source of choices: Splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
//! Generators, OOPSLA 2014). A seed gives the same statements on every machine.

/// The state of the generator.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A source with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `count` - 1.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("a usize fits 64 bits");
        usize::try_from(self.bits() % count).expect("below a usize")
    }

    /// A number of either sign, of at most `magnitude`.
    pub fn around_zero(&mut self, magnitude: usize) -> i128 {
        let shifted = self.below(2 * magnitude + 1);
        shifted as i128 - magnitude as i128
    }

    /// True in this many cases of a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the choices.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}
