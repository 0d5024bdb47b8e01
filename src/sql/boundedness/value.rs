//! Constants, and what Postgres's operators make of them. Whatever is not certain is [`Constant::Unknown`].

use std::cmp::Ordering;

use sqlparser::ast::{BinaryOperator, DataType, ExactNumberInfo, Value};

/// A constant, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(Number),
    /// A string of type text, or a literal that has no type yet.
    Text(String),
    Unknown,
}

/// An exact number: `mantissa` / 10^`scale`. The derived order is one of forms, not of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    mantissa: i128,
    scale: u32,
}

/// Most places behind the point.
const MOST_PLACES: u32 = 30;

impl From<i64> for Number {
    fn from(number: i64) -> Number {
        Number { mantissa: number.into(), scale: 0 }
    }
}

impl Number {
    pub(super) const ZERO: Number = Number { mantissa: 0, scale: 0 };
    pub(super) const ONE: Number = Number { mantissa: 1, scale: 0 };

    pub(super) fn parse(text: &str) -> Option<Number> {
        let text = text.trim();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
        Some(Number { mantissa: sign * mantissa, scale: u32::try_from(fraction.len()).ok()? })
    }

    pub(super) fn compare(self, other: Number) -> Option<Ordering> {
        let (left, right, _) = self.align(other)?;
        Some(left.cmp(&right))
    }

    pub(super) fn plus(self, other: Number) -> Option<Number> {
        let (left, right, scale) = self.align(other)?;
        Number { mantissa: left.checked_add(right)?, scale }.shortest()
    }

    pub(super) fn times(self, other: Number) -> Option<Number> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Number { mantissa, scale: self.scale.checked_add(other.scale)? }.shortest()
    }

    /// The quotient, where it can be written down.
    pub(super) fn divided_by(self, other: Number) -> Option<Number> {
        const PLACES: u32 = 12;
        let (left, right, _) = self.align(other)?;
        let left = left.checked_mul(10i128.checked_pow(PLACES)?)?;
        let exact = right != 0 && left.checked_rem(right)? == 0;
        exact.then(|| Number { mantissa: left / right, scale: PLACES }.shortest())?
    }

    pub(super) fn negated(self) -> Number {
        Number { mantissa: -self.mantissa, scale: self.scale }
    }

    pub(super) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Without zeros behind the point: one form for each value. `None` where so many places cannot be kept apart.
    fn shortest(mut self) -> Option<Number> {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self = Number { mantissa: self.mantissa / 10, scale: self.scale - 1 };
        }
        (self.scale <= MOST_PLACES && self.mantissa != i128::MIN).then_some(self)
    }

    fn align(self, other: Number) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let widen = |n: Number| n.mantissa.checked_mul(10i128.checked_pow(scale - n.scale)?);
        Some((widen(self)?, widen(other)?, scale))
    }

    /// A whole number that is not negative.
    pub(super) fn as_usize(self) -> Option<usize> {
        if self.is_integer() { usize::try_from(self.mantissa).ok() } else { None }
    }

    pub(super) fn is_integer(self) -> bool {
        self.scale == 0
    }
}

impl Constant {
    pub(super) fn of(value: &Value) -> Constant {
        match value {
            Value::Null => Constant::Null,
            Value::Boolean(value) => Constant::Bool(*value),
            Value::Number(text, _) => Number::parse(text).map_or(Constant::Unknown, Constant::Number),
            Value::SingleQuotedString(text) => Constant::Text(text.clone()),
            // Bits, bytes, and what Postgres has not; a parameter is no constant.
            _ => Constant::Unknown,
        }
    }

    /// The constant where a boolean is wanted: a literal without a type is read as one.
    pub(super) fn as_bool(&self) -> Constant {
        match self {
            Constant::Text(text) => parse_bool(text).map_or(Constant::Unknown, Constant::Bool),
            Constant::Null | Constant::Bool(_) => self.clone(),
            Constant::Number(_) | Constant::Unknown => Constant::Unknown,
        }
    }

    pub(super) fn cast(self, to: &DataType) -> Constant {
        if self == Constant::Null {
            return Constant::Null;
        }
        match Type::of(to) {
            Type::Bool => match self {
                Constant::Number(number) if number.is_integer() => Constant::Bool(number != Number::ZERO),
                other => other.as_bool(),
            },
            Type::Text => match self {
                Constant::Text(text) => Constant::Text(text),
                Constant::Bool(value) => Constant::Text(value.to_string()),
                Constant::Number(number) if number.is_integer() => Constant::Text(number.mantissa.to_string()),
                Constant::Number(_) | Constant::Null | Constant::Unknown => Constant::Unknown,
            },
            Type::Integer => match self {
                Constant::Bool(value) => Constant::Number(if value { Number::ONE } else { Number::ZERO }),
                Constant::Number(number) if number.is_integer() => Constant::Number(number),
                Constant::Text(text) => match Number::parse(&text) {
                    Some(number) if number.is_integer() && !text.contains('.') => Constant::Number(number),
                    Some(_) | None => Constant::Unknown,
                },
                // Rounding.
                Constant::Number(_) | Constant::Null | Constant::Unknown => Constant::Unknown,
            },
            Type::Numeric => match self {
                Constant::Number(number) => Constant::Number(number),
                Constant::Text(text) => Number::parse(&text).map_or(Constant::Unknown, Constant::Number),
                Constant::Bool(_) | Constant::Null | Constant::Unknown => Constant::Unknown,
            },
            Type::Other => Constant::Unknown,
        }
    }

    /// `self op other`, a comparison; `None` where the result is not certain.
    pub(super) fn compare(&self, op: &BinaryOperator, other: &Constant) -> Option<Constant> {
        let ordering = match (self, other) {
            (Constant::Null, _) | (_, Constant::Null) => return Some(Constant::Null),
            (Constant::Number(left), Constant::Number(right)) => left.compare(*right)?,
            (Constant::Bool(left), Constant::Bool(right)) => left.cmp(right),
            // A literal without a type takes the other side's.
            (Constant::Number(left), Constant::Text(right)) => left.compare(Number::parse(right)?)?,
            (Constant::Text(left), Constant::Number(right)) => Number::parse(left)?.compare(*right)?,
            (Constant::Bool(left), Constant::Text(right)) => left.cmp(&parse_bool(right)?),
            (Constant::Text(left), Constant::Bool(right)) => parse_bool(left)?.cmp(right),
            (Constant::Text(left), Constant::Text(right)) => {
                if left == right {
                    Ordering::Equal
                } else {
                    // Which is the greater depends on the collation.
                    return match op {
                        BinaryOperator::Eq => Some(Constant::Bool(false)),
                        BinaryOperator::NotEq => Some(Constant::Bool(true)),
                        _ => None,
                    };
                }
            }
            (Constant::Number(_), Constant::Bool(_))
            | (Constant::Bool(_), Constant::Number(_))
            | (Constant::Unknown, _)
            | (_, Constant::Unknown) => return None,
        };
        Some(Constant::Bool(match op {
            BinaryOperator::Eq => ordering.is_eq(),
            BinaryOperator::NotEq => ordering.is_ne(),
            BinaryOperator::Lt => ordering.is_lt(),
            BinaryOperator::LtEq => ordering.is_le(),
            BinaryOperator::Gt => ordering.is_gt(),
            BinaryOperator::GtEq => ordering.is_ge(),
            _ => return None,
        }))
    }

    /// `self op other`, arithmetic and concatenation.
    pub(super) fn compute(&self, op: &BinaryOperator, other: &Constant) -> Constant {
        match (self, other) {
            (Constant::Null, _) | (_, Constant::Null) => Constant::Null,
            (Constant::Number(left), Constant::Number(right)) => {
                left.compute(op, *right).map_or(Constant::Unknown, Constant::Number)
            }
            (Constant::Text(left), Constant::Text(right)) if *op == BinaryOperator::StringConcat => {
                Constant::Text(format!("{left}{right}"))
            }
            _ => Constant::Unknown,
        }
    }

    pub(super) fn negate(self) -> Constant {
        match self {
            Constant::Number(n) => Constant::Number(n.negated()),
            Constant::Null => Constant::Null,
            Constant::Bool(_) | Constant::Text(_) | Constant::Unknown => Constant::Unknown,
        }
    }
}

impl Number {
    fn compute(self, op: &BinaryOperator, other: Number) -> Option<Number> {
        let (left, right, scale) = self.align(other)?;
        match op {
            BinaryOperator::Plus => self.plus(other),
            BinaryOperator::Minus => self.plus(other.negated()),
            BinaryOperator::Multiply => self.times(other),
            // Of integers: cut off towards zero. 1.5 / 2 is left alone.
            BinaryOperator::Divide if scale == 0 => Some(Number { mantissa: left.checked_div(right)?, scale: 0 }),
            BinaryOperator::Modulo if scale == 0 => Some(Number { mantissa: left.checked_rem(right)?, scale: 0 }),
            _ => None,
        }
    }
}

/// The types that constants are folded for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    Bool,
    Text,
    Integer,
    Numeric,
    Other,
}

impl Type {
    pub(super) fn of(data_type: &DataType) -> Type {
        match data_type {
            DataType::Bool | DataType::Boolean => Type::Bool,
            DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => Type::Text,
            DataType::SmallInt(_)
            | DataType::Int2(_)
            | DataType::Int(_)
            | DataType::Integer(_)
            | DataType::Int4(_)
            | DataType::BigInt(_)
            | DataType::Int8(_) => Type::Integer,
            DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => Type::Numeric,
            // With pg_catalog before it, or by its internal name.
            DataType::Custom(name, modifiers) if modifiers.is_empty() => {
                match super::super::walk::name(name).name.as_str() {
                    "bool" => Type::Bool,
                    "text" => Type::Text,
                    "int2" | "int4" | "int8" => Type::Integer,
                    _ => Type::Other,
                }
            }
            _ => Type::Other,
        }
    }
}

/// A boolean as Postgres reads it (boolin): any unique prefix, in any case, white space around it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']).to_ascii_lowercase();
    match text.as_str() {
        "" => None,
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        other if "true".starts_with(other) || "yes".starts_with(other) => Some(true),
        other if "false".starts_with(other) || "no".starts_with(other) => Some(false),
        _ => None,
    }
}
