//! Exact values of numbers: decimal numbers of any length, and fractions.

/// A number. Equal values are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quantity {
    /// `digits` without zeros at either end, times ten to the power of `exponent`. Zero has no digits and
    /// no sign.
    Decimal { negative: bool, digits: String, exponent: i64 },
    /// A fraction in lowest terms that is not a decimal number.
    Ratio { negative: bool, over: u128, under: u128 },
}

impl Quantity {
    /// The number `whole.fraction × 10^exponent`.
    pub fn decimal(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Quantity {
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let exponent = exponent - fraction.len() as i64 + (all.len() - digits.len()) as i64;
        match digits.trim_start_matches('0') {
            "" => Quantity::Decimal { negative: false, digits: String::new(), exponent: 0 },
            digits => Quantity::Decimal { negative, digits: digits.into(), exponent },
        }
    }

    /// `over / under`; `None` if `under` is zero or a number is too long.
    pub fn ratio(negative: bool, over: u128, under: u128) -> Option<Quantity> {
        let divisor = gcd(over, under);
        let (over, under) = (over.checked_div(divisor)?, under.checked_div(divisor)?);
        if under == 0 {
            return None;
        }
        let (mut rest, mut twos, mut fives) = (under, 0u32, 0u32);
        while rest.is_multiple_of(2) {
            (rest, twos) = (rest / 2, twos + 1);
        }
        while rest.is_multiple_of(5) {
            (rest, fives) = (rest / 5, fives + 1);
        }
        if rest > 1 {
            return Some(Quantity::Ratio { negative, over, under });
        }
        let places = twos.max(fives);
        let scale = 2u128.checked_pow(places - twos)?.checked_mul(5u128.checked_pow(places - fives)?)?;
        Some(Quantity::decimal(negative, &over.checked_mul(scale)?.to_string(), "", -i64::from(places)))
    }

    pub fn negated(self) -> Quantity {
        match self {
            Quantity::Decimal { digits, exponent, negative } => {
                Quantity::Decimal { negative: !negative && !digits.is_empty(), digits, exponent }
            }
            Quantity::Ratio { negative, over, under } => Quantity::Ratio { negative: !negative, over, under },
        }
    }

    /// Times ten to the power of `power`; `None` for a fraction.
    pub fn scaled(self, power: i64) -> Option<Quantity> {
        match self {
            Quantity::Decimal { negative, digits, exponent } if !digits.is_empty() => {
                Some(Quantity::Decimal { negative, digits, exponent: exponent + power })
            }
            zero @ Quantity::Decimal { .. } => Some(zero),
            Quantity::Ratio { .. } => None,
        }
    }

    /// Plain digits: `-1234.5`, or `-8/3`.
    pub fn key(&self) -> String {
        match self {
            Quantity::Decimal { digits, .. } if digits.is_empty() => "0".into(),
            Quantity::Decimal { negative, digits, exponent } => {
                let sign = if *negative { "-" } else { "" };
                let point = digits.len() as i64 + exponent;
                if *exponent >= 0 {
                    format!("{sign}{digits}{}", "0".repeat(*exponent as usize))
                } else if point > 0 {
                    let (whole, fraction) = digits.split_at(point as usize);
                    format!("{sign}{whole}.{fraction}")
                } else {
                    format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
                }
            }
            Quantity::Ratio { negative, over, under } => {
                format!("{}{over}/{under}", if *negative { "-" } else { "" })
            }
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_plain_digits_without_zeros_that_say_nothing() {
        for ((negative, whole, fraction, exponent), key) in [
            ((false, "007", "50", 0), "7.5"),
            ((true, "0", "0", 5), "0"),
            ((true, "", "5", 0), "-0.5"),
            ((false, "1", "5", 3), "1500"),
            ((false, "1", "5", -3), "0.0015"),
            ((false, "120", "", -1), "12"),
            ((false, "100", "", 0), "100"),
        ] {
            assert_eq!(Quantity::decimal(negative, whole, fraction, exponent).key(), key);
        }
        assert_eq!(Quantity::decimal(false, "2", "50", 0).scaled(6).unwrap().key(), "2500000");
        assert_eq!(Quantity::decimal(false, "0", "", 0).negated().key(), "0");
    }

    #[test]
    fn a_fraction_is_a_decimal_number_if_that_ends() {
        for ((over, under), key) in [
            ((1, 2), Some("0.5")),
            ((3, 6), Some("0.5")),
            ((4, 2), Some("2")),
            ((8, 3), Some("8/3")),
            ((16, 6), Some("8/3")),
            ((7, 80), Some("0.0875")),
            ((0, 7), Some("0")),
            ((1, 0), None),
            ((0, 0), None),
        ] {
            assert_eq!(Quantity::ratio(false, over, under).map(|value| value.key()).as_deref(), key);
        }
        assert_eq!(Quantity::ratio(false, 4, 2), Some(Quantity::decimal(false, "2", "0", 0)));
    }
}
