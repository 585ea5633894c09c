//! `--law auto`: how the laws did on curves that they had not seen.

use super::table;
use crate::fit::Choice;
use crate::law::Law;
use serde_json::{Value, json};
use std::sync::Arc;

/// Each law's mean absolute error on curves held out from its fit, in nats, best first, or why it has
/// none.
pub struct Contest {
    rows: Vec<Row>,
}

struct Row {
    law: &'static str,
    mae: Result<f64, String>,
}

impl Contest {
    /// `choice` was made among `laws`.
    pub fn new(laws: &[Arc<dyn Law>], choice: &Choice) -> Contest {
        let pairs = laws.iter().zip(&choice.held_out);
        let mut rows: Vec<Row> = pairs
            .map(|(law, held)| Row {
                law: law.name(),
                mae: held.as_ref().map(|h| h.mean.mae).map_err(String::clone),
            })
            .collect();
        let error = |row: &Row| *row.mae.as_ref().unwrap_or(&f64::INFINITY);
        rows.sort_by(|a, b| error(a).total_cmp(&error(b)));
        Contest { rows }
    }

    pub fn json(&self) -> Value {
        let row = |row: &Row| match &row.mae {
            Ok(mae) => json!({ "law": row.law, "held_out_mae": mae }),
            Err(e) => json!({ "law": row.law, "error": e }),
        };
        self.rows.iter().map(row).collect()
    }

    /// One paragraph; laws without a score are only counted.
    pub fn words(&self) -> String {
        let mae = |row: &Row| {
            Some(format!(
                "{} {}",
                row.law,
                table::thousandths(*row.mae.as_ref().ok()?)
            ))
        };
        let scored: Vec<String> = self.rows.iter().filter_map(mae).collect();
        let failed = match self.rows.len() - scored.len() {
            0 => String::new(),
            n => format!("; {} could not be fitted so", table::plural(n, "law")),
        };
        let text = format!(
            "parts of the fitted curves held out, MAE ×10⁻³ nats: {}{failed}; a law further down \
             our list is taken only where it is twice as good",
            scored.join(", ")
        );
        table::item("auto", &text)
    }
}
