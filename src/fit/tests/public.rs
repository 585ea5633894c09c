//! The public curves of the multi-power law's authors, where they lie beside the project.

use super::*;
use crate::curve::{self, ReadOptions};
use crate::fit::{FitOptions, Scores, fit, score};
use std::path::PathBuf;

const TRAIN: [&str; 3] = ["cosine_24000", "constant_24000", "wsdcon_9"];
const TEST: [&str; 6] = [
    "constant_72000",
    "cosine_72000",
    "wsd_20000_24000",
    "wsdld_20000_24000",
    "wsdcon_3",
    "wsdcon_18",
];

fn public(size: &str, names: &[&str]) -> Option<Vec<LossCurve>> {
    let place = std::env::var_os("LEHR_CURVES")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/curves"));
    let options = ReadOptions {
        warmup: Some(2160),
        ..ReadOptions::default()
    };
    names
        .iter()
        .map(|name| {
            let file = place.join(size).join(format!("{name}.csv"));
            if !file.exists() {
                println!("skipped: {} not found", file.display());
                return None;
            }
            curve::read(file.to_str().unwrap(), &options).unwrap().pop()
        })
        .collect()
}

fn test_mean(name: &str, size: &str, options: &FitOptions) -> Option<Scores> {
    let (train, test) = (public(size, &TRAIN)?, public(size, &TEST)?);
    let fit = fit(&law(name), &train.iter().collect::<Vec<_>>(), options).unwrap();
    let scores: Vec<Scores> = test
        .iter()
        .map(|c| score(&fit.predict_curve(c), c, 0).unwrap())
        .collect();
    Scores::mean(&scores)
}

#[test]
fn mpl_beats_every_column_of_its_repositorys_row() {
    // R², MAE, RMSE, PredE, WorstE as its logs give them.
    for (size, [r2, mae, rmse, pred_e, worst_e]) in [
        ("mpl_25", [0.9988, 0.00376, 0.00465, 0.00110, 0.00409]),
        ("mpl_100", [0.9983, 0.00435, 0.00592, 0.00142, 0.00583]),
    ] {
        let Some(mean) = test_mean("mpl", size, &FitOptions::default()) else {
            return;
        };
        assert!(
            mean.r2 >= r2 && mean.mae <= mae && mean.rmse <= rmse,
            "{size}: {mean:?}"
        );
        assert!(
            mean.pred_e <= pred_e && mean.worst_e <= worst_e,
            "{size}: {mean:?}"
        );
    }
}

#[test]
fn converged_fits_are_those_of_independent_code() {
    // Test R² of L-BFGS fits in another language, without priors.
    let free = FitOptions {
        priors: false,
        ..FitOptions::default()
    };
    for (name, size, r2) in [
        ("tissue", "mpl_25", 0.9980),
        ("tissue", "mpl_100", 0.9978),
        ("mpl", "mpl_25", 0.9972),
        ("mpl", "mpl_100", 0.9968),
        ("mplx", "mpl_25", 0.9994),
        ("mplx", "mpl_100", 0.9993),
    ] {
        let Some(mean) = test_mean(name, size, &free) else {
            return;
        };
        assert!(
            (mean.r2 - r2).abs() < 4e-4,
            "{name} {size}: {} instead of {r2}",
            mean.r2
        );
    }
}
