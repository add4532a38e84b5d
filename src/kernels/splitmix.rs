//! SplitMix64's mixer: pseudo-random numbers as a function of where they are used.

/// The output function of SplitMix64 (Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom
/// Number Generators"): a bijection in which every bit of the result depends on every bit of `x`.
#[inline(always)]
pub fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        // The first outputs of `java.util.SplittableRandom` with seed 0: the mixer of 0, γ, 2γ.
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let first = [0, 1, 2].map(|n: u64| super::splitmix64(n.wrapping_mul(GAMMA)));
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }
}
