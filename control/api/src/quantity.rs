//! Resource quantities: `100m`, `1Gi`, `2e3`.

use std::cmp::Ordering;
use std::fmt;

/// The family of suffixes a quantity is written in; addition keeps the left one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `k M G T P E` and `m u n`.
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An exact amount in nano units: 2^127 nanos are 1.7e29, far above Kubernetes' cap of 2^63-1 units.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Text that is no quantity; worded as Kubernetes does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS: i128 = 1_000_000_000;
/// Kubernetes caps every quantity at this many units.
const UNITS_MAX: i128 = i64::MAX as i128;
/// Decimal digits accepted before and after the point together; more cannot change the capped, rounded value.
const DIGITS_MAX: usize = 60;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads Kubernetes' grammar; fractions below a nano round up (away from zero), amounts are capped.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let number_len = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = rest.split_at(number_len);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let too_long = number.len() > DIGITS_MAX;
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || too_long {
            return Err(QuantityError::Format);
        }
        let (scale, format) = parse_suffix(suffix)?;
        let nanos = scale_up(whole, fraction, scale);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// `units` whole units, written with decimal suffixes.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::DecimalSi }
    }

    /// `milli` thousandths, written with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// `bytes` whole units, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, format: Format::BinarySi }
    }

    /// Whole units, rounded up: bytes of memory, number of pods.
    pub fn units(&self) -> i128 {
        round_up(self.nanos, NANOS)
    }

    /// Thousandths, rounded up: millicores.
    pub fn milli(&self) -> i128 {
        round_up(self.nanos, NANOS / 1000)
    }

    /// The least amount that is whole in thousandths, as Kubernetes keeps container resources.
    pub fn round_up_to_milli(&self) -> Self {
        Self { nanos: self.milli() * (NANOS / 1000), format: self.format }
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is a whole number of units.
    pub fn is_integer(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// The sum, or `None` past the cap; keeps the left format unless it is zero.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let format = if self.nanos == 0 { other.format } else { self.format };
        let nanos = self.nanos.checked_add(other.nanos)?;
        (nanos.abs() <= UNITS_MAX * NANOS).then_some(Self { nanos, format })
    }

    /// The difference, or `None` past the cap.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.checked_add(&Self { nanos: -other.nanos, format: other.format })
    }
}

fn round_up(nanos: i128, divisor: i128) -> i128 {
    let quotient = nanos / divisor;
    let rest = nanos % divisor;
    quotient + rest.signum()
}

/// What one unit of the number before the suffix is worth.
enum Scale {
    Ten(i32),
    Two(u32),
}

fn parse_suffix(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Two(*shift), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((Scale::Ten(exponent), Format::DecimalExponent))
}

/// The magnitude in nanos, capped, a lost fraction rounded up.
fn scale_up(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let cap = UNITS_MAX * NANOS;
    let fraction_len = i64::try_from(fraction.len()).expect("the number is under DIGITS_MAX");
    let (ten, shift) = match scale {
        Scale::Ten(exponent) => (i64::from(exponent), 0),
        Scale::Two(shift) => (0, shift),
    };
    let power = ten - fraction_len + 9;
    let digits_len = i64::try_from(digits.len()).expect("the number is under DIGITS_MAX");
    if digits_len + power > 38 {
        return cap;
    }
    if digits_len + power + i64::from(shift) / 3 < -1 {
        return 1;
    }
    let drop = usize::try_from((digits_len - 36).max(0)).expect("not negative");
    let kept = &digits[..digits.len() - drop];
    let mut inexact = digits[digits.len() - drop..].bytes().any(|byte| byte != b'0');
    let power = power + i64::try_from(drop).expect("under DIGITS_MAX");
    let value: i128 = kept.parse().expect("at most 36 digits");
    let Some(mut value) = value.checked_mul(1i128 << shift) else { return cap_binary(value, power, shift, cap) };
    if power >= 0 {
        let factor = u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power));
        value = factor.and_then(|factor| value.checked_mul(factor)).unwrap_or(cap);
    } else {
        let factor = u32::try_from(-power).ok().and_then(|power| 10i128.checked_pow(power));
        let Some(factor) = factor else { return 1 };
        inexact |= value % factor != 0;
        value /= factor;
    }
    (value + i128::from(inexact)).min(cap)
}

/// A product too wide for the exact path: divide first, which loses less than a nano of a huge number.
fn cap_binary(value: i128, power: i64, shift: u32, cap: i128) -> i128 {
    let factor = u32::try_from(-power).ok().and_then(|power| 10i128.checked_pow(power));
    let reduced = factor.map_or(cap, |factor| value / factor);
    reduced.checked_mul(1i128 << shift).unwrap_or(cap).min(cap)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that keeps it whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos;
        if nanos == 0 {
            return f.write_str("0");
        }
        // Kubernetes writes a binary quantity with a fraction, or below 1024, in decimal.
        let binary = self.format == Format::BinarySi && self.is_integer() && nanos.abs() >= 1024 * NANOS;
        if binary {
            let units = nanos / NANOS;
            let step = BINARY.iter().rev().find(|(_, shift)| units % (1i128 << shift) == 0);
            return match step {
                Some((suffix, shift)) => write!(f, "{}{suffix}", units >> shift),
                None => write!(f, "{units}"),
            };
        }
        let mut value = nanos;
        let mut exponent = -9;
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(f, "{value}") } else { write!(f, "{value}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix);
        write!(f, "{value}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_in_their_canonical_form() {
        let cases = [
            ("0", "0"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1000", "1k"),
            ("1500k", "1500k"),
            ("1000k", "1M"),
            ("2e3", "2e3"),
            ("1E", "1E"),
            ("100Ki", "100Ki"),
            ("-1", "-1"),
            ("+1", "1"),
            (".5", "500m"),
            ("5.", "5"),
            ("1n", "1n"),
            ("0.5n", "1n"),
            ("100E", "9223372036854775807"),
            ("16Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("0.1Mi", "104857600m"),
            ("1000Ki", "1000Ki"),
        ];
        for (text, canonical) in cases {
            assert_eq!(Quantity::parse(text).expect(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "1.2.3", "1x", "1 Gi", "--1", "1KI", "1K", "e3", "1e", "1eq"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_compare_and_add_across_formats() {
        let half = Quantity::parse("500m").expect("parses");
        let one = Quantity::parse("1").expect("parses");
        assert!(half < one);
        assert_eq!(half.checked_add(&half), Some(one));
        assert_eq!(Quantity::parse("1Ki"), Quantity::parse("1024"));
        assert_eq!(Quantity::parse("1500u").expect("parses").milli(), 2);
        assert_eq!(Quantity::parse("1.5Ki").expect("parses").units(), 1536);
        assert_eq!(one.checked_sub(&half).expect("in range").milli(), 500);
    }
}
