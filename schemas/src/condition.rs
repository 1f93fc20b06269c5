//! Operations that conditions compare values by, with ThingsBoard's names: of entity queries and of alarm rules. Total on any value.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOperation {
    Equal,
    NotEqual,
    StartsWith,
    EndsWith,
    Contains,
    NotContains,
    In,
    NotIn,
}

impl TextOperation {
    /// ThingsBoard's spelling.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("EQUAL", Self::Equal),
        ("NOT_EQUAL", Self::NotEqual),
        ("STARTS_WITH", Self::StartsWith),
        ("ENDS_WITH", Self::EndsWith),
        ("CONTAINS", Self::Contains),
        ("NOT_CONTAINS", Self::NotContains),
        ("IN", Self::In),
        ("NOT_IN", Self::NotIn),
    ];

    /// Whether it says what a value is not.
    #[must_use]
    pub fn is_denial(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotContains | Self::NotIn)
    }

    /// `operand` of a list has commas between its entries.
    #[must_use]
    pub fn holds(self, value: &str, operand: &str) -> bool {
        let listed = || operand.split(',').any(|one| one.trim() == value);
        match self {
            Self::Equal => value == operand,
            Self::NotEqual => value != operand,
            Self::StartsWith => value.starts_with(operand),
            Self::EndsWith => value.ends_with(operand),
            Self::Contains => value.contains(operand),
            Self::NotContains => !value.contains(operand),
            Self::In => listed(),
            Self::NotIn => !listed(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOperation {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

impl NumberOperation {
    /// ThingsBoard's spelling.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("EQUAL", Self::Equal),
        ("NOT_EQUAL", Self::NotEqual),
        ("GREATER", Self::Greater),
        ("LESS", Self::Less),
        ("GREATER_OR_EQUAL", Self::GreaterOrEqual),
        ("LESS_OR_EQUAL", Self::LessOrEqual),
    ];

    #[must_use]
    #[expect(clippy::float_cmp, reason = "equal is what was asked for")]
    pub fn holds(self, value: f64, operand: f64) -> bool {
        match self {
            Self::Equal => value == operand,
            Self::NotEqual => value != operand,
            Self::Greater => value > operand,
            Self::Less => value < operand,
            Self::GreaterOrEqual => value >= operand,
            Self::LessOrEqual => value <= operand,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoolOperation {
    Equal,
    NotEqual,
}

impl BoolOperation {
    /// ThingsBoard's spelling.
    pub const NAMES: [(&'static str, Self); 2] = [("EQUAL", Self::Equal), ("NOT_EQUAL", Self::NotEqual)];

    #[must_use]
    pub fn holds(self, value: bool, operand: bool) -> bool {
        (value == operand) == (self == Self::Equal)
    }
}
