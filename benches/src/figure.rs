//! Figures: what octo did and what its floor did, round by round, and what was promised.

use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// octo / floor.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// octo − floor.
    ExtraAtMost(f64),
    /// octo alone.
    AtMost(f64),
    AtLeast(f64),
    /// No goal of its own: it explains another one.
    Shown,
}

/// One figure with a value of each round.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub bench: &'static str,
    pub name: String,
    pub unit: &'static str,
    pub goal: Goal,
    pub octo: Vec<f64>,
    /// What stands beside it; of the same rounds.
    pub floor: Option<&'static str>,
    pub floors: Vec<f64>,
}

/// Median, least and most of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self { median: *values.get(values.len() / 2)?, min: *values.first()?, max: *values.last()? })
    }
}

impl Figure {
    /// octo / floor, round by round: both ran on the same machine in the same minute.
    pub fn ratio(&self) -> Option<Spread> {
        Spread::of(self.octo.iter().zip(&self.floors).filter(|(_, floor)| **floor > 0.0).map(|(octo, floor)| octo / floor))
    }

    fn extra(&self) -> Option<Spread> {
        Spread::of(self.octo.iter().zip(&self.floors).map(|(octo, floor)| octo - floor))
    }

    /// Whether the median of the rounds keeps the goal; `None` without one.
    pub fn met(&self) -> Option<bool> {
        let own = Spread::of(self.octo.iter().copied())?.median;
        Some(match self.goal {
            Goal::RatioAtMost(goal) => self.ratio()?.median <= goal,
            Goal::RatioAtLeast(goal) => self.ratio()?.median >= goal,
            Goal::ExtraAtMost(goal) => self.extra()?.median <= goal,
            Goal::AtMost(goal) => own <= goal,
            Goal::AtLeast(goal) => own >= goal,
            Goal::Shown => return None,
        })
    }
}

/// All figures of a run, in the order in which they first came.
#[derive(Debug, Default)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Adds the value of one round.
    pub fn add(&mut self, bench: &'static str, name: &str, unit: &'static str, goal: Goal, octo: f64, floor: Option<(&'static str, f64)>) {
        let known = self.0.iter().position(|figure| figure.bench == bench && figure.name == name);
        let at = known.unwrap_or_else(|| {
            let floor = floor.map(|(name, _)| name);
            self.0.push(Figure { bench, name: name.to_owned(), unit, goal, octo: Vec::new(), floor, floors: Vec::new() });
            self.0.len() - 1
        });
        let figure = &mut self.0[at];
        figure.octo.push(octo);
        figure.floors.extend(floor.map(|(_, value)| value));
        let beside = floor.map(|(name, value)| format!("  ({name} {})", number(value))).unwrap_or_default();
        eprintln!("  {bench}: {name}: {} {unit}{beside}", number(octo));
    }

    /// A Markdown table.
    pub fn table(&self) -> String {
        let mut table =
            String::from("| figure | octo | floor in the same run | ratio (min–max of rounds) | goal | met |\n|---|---|---|---|---|---|\n");
        for figure in &self.0 {
            let unit = figure.unit;
            let own = Spread::of(figure.octo.iter().copied()).map(|s| number(s.median)).unwrap_or_default();
            let floor = figure.floor.zip(Spread::of(figure.floors.iter().copied()));
            let floor = floor.map(|(name, s)| format!("{name}: {} {unit}", number(s.median))).unwrap_or_default();
            let ratio = figure.ratio().map(|s| format!("{} ({}–{})", number(s.median), number(s.min), number(s.max))).unwrap_or_default();
            let goal = match figure.goal {
                Goal::RatioAtMost(goal) => format!("≤ {goal} ×"),
                Goal::RatioAtLeast(goal) => format!("≥ {goal} ×"),
                Goal::ExtraAtMost(goal) => format!("≤ +{} {unit}", number(goal)),
                Goal::AtMost(goal) => format!("≤ {} {unit}", number(goal)),
                Goal::AtLeast(goal) => format!("≥ {} {unit}", number(goal)),
                Goal::Shown => String::new(),
            };
            let met = figure.met().map_or("", |met| if met { "yes" } else { "**no**" });
            let _ = writeln!(table, "| `{}` {} | {own} {unit} | {floor} | {ratio} | {goal} | {met} |", figure.bench, figure.name);
        }
        table
    }

    /// Everything, for machines.
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .0
            .iter()
            .map(|figure| {
                let mut value = json!(figure);
                value["ratio"] = json!(figure.ratio());
                value["met"] = json!(figure.met());
                value
            })
            .collect();
        json!({"figures": figures})
    }
}

/// Three significant digits; thousands apart.
pub fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let whole = format!("{:.0}", value.abs());
        let mut text = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                text.push(' ');
            }
            text.push(digit);
        }
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The value below which `share` of the values lie; they are sorted here. 0 of none.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list in memory")]
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_the_median_of_its_rounds_against_the_floor_of_the_same_round() {
        let mut figures = Figures::default();
        // The machine was slow in the second round; the ratio is not.
        for (octo, floor) in [(120.0, 100.0), (300.0, 250.0), (180.0, 100.0)] {
            figures.add("b", "x", "µs", Goal::RatioAtMost(1.5), octo, Some(("raw", floor)));
        }
        assert_eq!(figures.0[0].ratio(), Some(Spread { median: 1.2, min: 1.2, max: 1.8 }));
        assert_eq!(figures.0[0].met(), Some(true));
        figures.0[0].goal = Goal::RatioAtMost(1.1);
        assert_eq!(figures.0[0].met(), Some(false));
        figures.0[0].goal = Goal::ExtraAtMost(49.0);
        assert_eq!(figures.0[0].met(), Some(false), "the extra of the median round is 50");
        assert!(
            figures.table().contains("| `b` x | 180 µs | raw: 100 µs | 1.20 (1.20–1.80) | ≤ +49.0 µs | **no** |"),
            "{}",
            figures.table()
        );
        assert_eq!(figures.json()["figures"][0]["met"], false);
    }

    #[test]
    fn numbers_are_short_and_quantiles_are_of_the_sorted_values() {
        assert_eq!([0.1234, 5.678, 56.78, 567.8, 1_234_567.0].map(number), ["0.123", "5.68", "56.8", "568", "1 234 567"]);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&mut [], 0.99), 0.0);
    }
}
