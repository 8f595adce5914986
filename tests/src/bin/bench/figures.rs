//! One measured number, and what it is held against.

use serde::Serialize;

/// A figure of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// `intake`, `broker`, `worker`, `commands`, `bookings`, `whole` or `growth`.
    pub(crate) section: &'static str,
    /// What was measured.
    pub(crate) name: String,
    /// What we reach.
    pub(crate) ours: f64,
    /// The unit of `ours` and of `limit`.
    pub(crate) unit: Unit,
    /// What this machine reached in the same run with the least that does the
    /// same work.
    pub(crate) limit: Option<f64>,
    /// `ours` by `limit`.
    pub(crate) ratio: Option<f64>,
    /// What is hoped for.
    pub(crate) goal: Option<Goal>,
    /// Whether it is reached.
    pub(crate) is_reached: Option<bool>,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "MB")]
    Megabytes,
}

impl Unit {
    fn text(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Microseconds => " us",
            Self::Milliseconds => " ms",
            Self::Megabytes => " MB",
        }
    }

    /// A number with its unit, with as many digits as mean something.
    pub(crate) fn show(self, value: f64) -> String {
        let digits = if value.abs() < 10.0 {
            2
        } else {
            usize::from(value.abs() < 100.0)
        };
        format!("{}{}", grouped(&format!("{value:.digits$}")), self.text())
    }
}

/// What is hoped for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(crate) fn new(section: &'static str, name: &str, ours: f64, unit: Unit) -> Self {
        Self {
            section,
            name: name.to_owned(),
            ours,
            unit,
            limit: None,
            ratio: None,
            goal: None,
            is_reached: None,
        }
    }

    /// Held against what the machine can do.
    pub(crate) fn against(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self.ratio = Some(self.ours / limit);
        self
    }

    /// Held against what is hoped for.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.is_reached = match goal {
            Goal::RatioAtLeast(goal) => self.ratio.map(|ratio| ratio >= goal),
            Goal::RatioAtMost(goal) => self.ratio.map(|ratio| ratio <= goal),
            Goal::AtLeast(goal) => Some(self.ours >= goal),
            Goal::AtMost(goal) => Some(self.ours <= goal),
        };
        self
    }

    /// The cells of its row.
    pub(crate) fn cells(&self) -> [String; 6] {
        let or_blank = |text: Option<String>| text.unwrap_or_default();
        [
            self.name.clone(),
            self.unit.show(self.ours),
            or_blank(self.limit.map(|limit| self.unit.show(limit))),
            or_blank(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            or_blank(self.goal.map(|goal| match goal {
                Goal::RatioAtLeast(goal) => format!("ratio >= {goal:.2}"),
                Goal::RatioAtMost(goal) => format!("ratio <= {goal:.2}"),
                Goal::AtLeast(goal) => format!(">= {}", self.unit.show(goal)),
                Goal::AtMost(goal) => format!("<= {}", self.unit.show(goal)),
            })),
            or_blank(
                self.is_reached
                    .map(|is_reached| if is_reached { "yes" } else { "no" }.to_owned()),
            ),
        ]
    }
}

/// The middle one of some measurements of the same.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Puts a comma between thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}
