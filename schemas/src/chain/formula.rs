//! Formulas of math nodes: numbers, one-letter and longer names, operators and functions, as exp4j reads them. Never knows where
//! values come from.

use std::fmt;

/// Longest formula, in bytes.
const FORMULA_BYTES_MAX: usize = 1_024;
/// Brackets, signs and powers within each other.
const DEPTH_MAX: u32 = 64;

/// A formula that parses, in the order in which it is worked out.
#[derive(Clone, PartialEq)]
pub struct Formula(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Number(f64),
    /// The argument at this place.
    Argument(usize),
    Negate,
    Operator(u8),
    /// The function at this place.
    Function(usize),
    Function2(usize),
}

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

const FUNCTIONS: [(&str, OfOne); 23] = [
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("asin", f64::asin),
    ("atan", f64::atan),
    ("cbrt", f64::cbrt),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("exp", f64::exp),
    ("expm1", f64::exp_m1),
    ("floor", f64::floor),
    ("get_exp", exponent),
    ("log", f64::ln),
    ("log10", f64::log10),
    ("log1p", f64::ln_1p),
    ("log2", f64::log2),
    ("signum", signum),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("round", f64::round),
];

const FUNCTIONS2: [(&str, OfTwo); 7] = [
    ("pow", f64::powf),
    ("min", f64::min),
    ("max", f64::max),
    ("atan2", f64::atan2),
    ("hypot", f64::hypot),
    ("floor_div", floor_div),
    ("floor_mod", floor_mod),
];

/// Java's `Math.getExponent`: of the binary number; 1024 of what is no finite number, -1023 of 0 and what is next to it.
fn exponent(x: f64) -> f64 {
    let bits = u32::try_from((x.to_bits() >> 52) & 0x7FF).unwrap_or_default();
    f64::from(bits) - 1_023.0
}

/// Java's `Math.floorDiv` of what is whole in both; no number for a divisor of 0.
fn floor_div(x: f64, y: f64) -> f64 {
    whole(x, y, |x, y| {
        let down = i64::from(x.wrapping_rem(y) != 0 && (x < 0) != (y < 0));
        x.wrapping_div(y) - down
    })
}

/// Java's `Math.floorMod`: what [`floor_div`] leaves.
fn floor_mod(x: f64, y: f64) -> f64 {
    whole(x, y, |x, y| {
        let left = x.wrapping_rem(y);
        if left != 0 && (left < 0) != (y < 0) { left + y } else { left }
    })
}

fn whole(x: f64, y: f64, of: fn(i64, i64) -> i64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "Java's longValue truncates and ends at the greatest, as this does")]
    let (x, y) = (x as i64, y as i64);
    if y == 0 { f64::NAN } else { of(x, y) as f64 }
}

/// Java's: 0 of 0.
fn signum(x: f64) -> f64 {
    if x == 0.0 { x } else { x.signum() }
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Formula({} steps)", self.0.len())
    }
}

impl Formula {
    /// Reads a formula over arguments with these names.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn parse(text: &str, arguments: &[String]) -> Result<Self, String> {
        if text.len() > FORMULA_BYTES_MAX {
            return Err(format!("{} bytes, at most {FORMULA_BYTES_MAX}", text.len()));
        }
        let mut parser = Parser { text, at: 0, arguments, steps: Vec::new(), depth: 0 };
        parser.sum()?;
        match parser.peek() {
            None => Ok(Self(parser.steps)),
            Some(other) => Err(parser.wrong(&format!("unexpected {other}"))),
        }
    }

    /// The value; `None` if it is no finite number.
    #[must_use]
    pub fn value(&self, arguments: &[f64]) -> Option<f64> {
        let mut stack: Vec<f64> = Vec::new();
        for step in &self.0 {
            let value = match step {
                Step::Number(number) => *number,
                Step::Argument(place) => *arguments.get(*place)?,
                Step::Negate => -stack.pop()?,
                Step::Function(place) => FUNCTIONS.get(*place)?.1(stack.pop()?),
                Step::Function2(place) => {
                    let (second, first) = (stack.pop()?, stack.pop()?);
                    FUNCTIONS2.get(*place)?.1(first, second)
                }
                Step::Operator(operator) => {
                    let (second, first) = (stack.pop()?, stack.pop()?);
                    match operator {
                        b'+' => first + second,
                        b'-' => first - second,
                        b'*' => first * second,
                        b'/' => first / second,
                        b'%' => first % second,
                        _ => first.powf(second),
                    }
                }
            };
            stack.push(value);
        }
        stack.pop().filter(|value| value.is_finite() && stack.is_empty())
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    arguments: &'t [String],
    steps: Vec<Step>,
    depth: u32,
}

impl Parser<'_> {
    fn wrong(&self, rule: &str) -> String {
        format!("character {}: {rule}", self.at + 1)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start().len();
        self.at += blanks;
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.at += wanted.len_utf8();
                Ok(())
            }
            _ => Err(self.wrong(&format!("expected {wanted}"))),
        }
    }

    fn sum(&mut self) -> Result<(), String> {
        self.product()?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.at += 1;
            self.product()?;
            self.steps.push(Step::Operator(if operator == '+' { b'+' } else { b'-' }));
        }
        Ok(())
    }

    fn product(&mut self) -> Result<(), String> {
        self.sign()?;
        while let Some(operator @ ('*' | '/' | '%')) = self.peek() {
            self.at += 1;
            self.sign()?;
            self.steps.push(Step::Operator(match operator {
                '*' => b'*',
                '/' => b'/',
                _ => b'%',
            }));
        }
        Ok(())
    }

    /// A power binds tighter than the sign before it.
    fn sign(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        match self.peek() {
            Some('-') => {
                self.at += 1;
                self.sign()?;
                self.steps.push(Step::Negate);
            }
            Some('+') => {
                self.at += 1;
                self.sign()?;
            }
            _ => {
                self.value()?;
                if self.peek() == Some('^') {
                    self.at += 1;
                    self.sign()?;
                    self.steps.push(Step::Operator(b'^'));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn value(&mut self) -> Result<(), String> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                self.sum()?;
                self.take(')')
            }
            Some(first) if first.is_ascii_digit() || first == '.' => self.number(),
            Some(first) if first.is_alphabetic() || first == '_' => self.name(),
            Some(other) => Err(self.wrong(&format!("unexpected {other}"))),
            None => Err(self.wrong("expected a value")),
        }
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let behind = rest.get(digits..).unwrap_or_default();
        let exponent = behind.strip_prefix(['e', 'E']).map_or(0, |power| {
            let signed = power.strip_prefix(['+', '-']).unwrap_or(power);
            let count = signed.find(|c: char| !c.is_ascii_digit()).unwrap_or(signed.len());
            if count == 0 { 0 } else { 1 + power.len() - signed.len() + count }
        });
        let text = rest.get(..digits + exponent).unwrap_or_default();
        let number = text.parse().map_err(|_| self.wrong(&format!("{text} is no number")))?;
        self.at += text.len();
        self.steps.push(Step::Number(number));
        Ok(())
    }

    fn name(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest.get(..length).unwrap_or_default().to_owned();
        let begin = self.at;
        self.at += length;
        if let Some(place) = self.arguments.iter().position(|argument| *argument == name) {
            self.steps.push(Step::Argument(place));
            return Ok(());
        }
        if let Some(place) = FUNCTIONS.iter().position(|(known, _)| *known == name) {
            self.take('(')?;
            self.sum()?;
            self.take(')')?;
            self.steps.push(Step::Function(place));
            return Ok(());
        }
        if let Some(place) = FUNCTIONS2.iter().position(|(known, _)| *known == name) {
            self.take('(')?;
            self.sum()?;
            self.take(',')?;
            self.sum()?;
            self.take(')')?;
            self.steps.push(Step::Function2(place));
            return Ok(());
        }
        let constant = match name.as_str() {
            "pi" | "π" => std::f64::consts::PI,
            "e" => std::f64::consts::E,
            _ => {
                self.at = begin;
                return Err(self.wrong(&format!("{name} is neither an argument nor a function")));
            }
        };
        self.steps.push(Step::Number(constant));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: f64) {
        let arguments = ["x", "y", "temp"].map(str::to_owned);
        let formula = Formula::parse(text, &arguments).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = formula.value(&[3.0, 4.0, 20.0]).unwrap_or_else(|| panic!("{text}: no number"));
        assert!((found - expected).abs() < 1e-12, "{text} = {found}, not {expected}");
    }

    #[test]
    fn formulas_have_values() {
        check("1 + 2 * 3 - 4 / 2", 5.0);
        check("(x + y) * 2", 14.0);
        check("-x ^ 2", -9.0);
        check("2 ^ 3 ^ 2", 512.0);
        check("2 ^ -1", 0.5);
        check("sqrt(x^2 + y^2) % 3", 2.0);
        check("temp * 9 / 5 + 32", 68.0);
        check("max(x, min(y, 1e1)) + pow(2, 3) + signum(0) + abs(-1.5e0)", 13.5);
        check("cos(pi) + log(e)", 0.0);
        check("get_exp(9) + get_exp(0)", 3.0 - 1_023.0);
        check("floor_div(-7.9, 2) * 10 + floor_mod(-7.9, 2)", -39.0);
        check("floor_div(7, -2) * 10 + floor_mod(7, -2)", -41.0);
        check("floor_div(8, 4) * 10 + floor_mod(8, 4)", 20.0);
        check("floor_div(-9.3e18, -1)", i64::MIN as f64);
    }

    #[test]
    fn what_is_no_formula_is_refused() {
        for text in [
            "",
            "1 +",
            "(1",
            "1)",
            "z",
            "sin 1",
            "sin(1, 2)",
            "pow(1)",
            "1..2",
            "1 $ 2",
            "x y",
            &"(".repeat(100),
            &"-".repeat(100),
        ] {
            assert!(Formula::parse(text, &["x".to_owned()]).is_err(), "{text}");
        }
        let by_zero = Formula::parse("1 / x", &["x".to_owned()]).expect("valid");
        assert_eq!(by_zero.value(&[0.0]), None, "no finite number");
    }
}
