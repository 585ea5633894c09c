//! The rest of the room on synthetic curves: binning, choosing, averaging, resampling, files.

use super::*;
use crate::fit::{
    Average, FitData, FitOptions, Weights, bootstrap, choose, file, fit, leave_one_out, profile,
    suggest,
};

const TISSUE: [f64; 5] = [2.5, 0.6, 0.45, 0.3, 400.0];
const NOISE: RunNoise = RunNoise {
    sd: 3e-4,
    slow: 0.5,
    tau: 300.0,
    offset: 1e-4,
};

fn noisy() -> Vec<LossCurve> {
    let law = law("tissue");
    three()
        .iter()
        .enumerate()
        .map(|(i, c)| observed(c, &*law, &TISSUE, NOISE, i as u64))
        .collect()
}

#[test]
fn dense_curves_are_binned_and_sparse_ones_are_not() {
    let law = law("tissue");
    let dense = observed(
        &curve("dense", run(6000, drop), 1),
        &*law,
        &TISSUE,
        NO_NOISE,
        0,
    );
    let sparse = observed(
        &curve("sparse", run(6000, wsd), 50),
        &*law,
        &TISSUE,
        NO_NOISE,
        0,
    );
    let options = FitOptions::default();
    let data = FitData::new(&[&dense, &sparse], &options).unwrap();
    assert_eq!((data.curves[0].bin, data.curves[1].bin), (20, 1));
    assert_eq!(data.curves[1].losses.len(), 112);
    // Steps 401 to 6,000 in bins of 20 counted from 400; the drop cuts one of them in two.
    assert_eq!(data.curves[0].losses.len(), 281 + 1);
    assert_eq!(data.from, WARMUP);
    let equal = FitOptions {
        weights: Weights::Curves,
        ..options.clone()
    };
    let data = FitData::new(&[&dense, &sparse], &equal).unwrap();
    let [a, b] = [0, 1].map(|i| data.curves[i].weight * data.curves[i].losses.len() as f64);
    assert!((a / b - 1.0).abs() < 1e-12);
    // Bins do not move a fit.
    let binned = fit(&law, &[&dense, &sparse], &options).unwrap();
    for (param, truth) in binned.params.iter().zip(TISSUE) {
        assert!((param.value / truth - 1.0).abs() < 0.02, "{binned:?}");
    }
}

#[test]
fn a_law_that_holds_is_chosen_over_laws_that_do_not() {
    let curves = noisy();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let laws = [law("opl"), law("lldl"), law("tissue")];
    let choice = choose(&laws, &curves, &FitOptions::default()).unwrap();
    assert_eq!(choice.chosen, 2, "{choice:?}");
    assert!(choice.errors[0].unwrap() > 5.0 * choice.errors[2].unwrap());
    let held = leave_one_out(&laws[2], &curves, &FitOptions::default()).unwrap();
    assert_eq!(held.folds.len(), 3);
    // The drop run shares its first half with the constant one: that half is not scored.
    let fold = held.folds.iter().find(|f| f.curve == "drop").unwrap();
    assert!(fold.from > 2600, "{fold:?}");
    let alone = leave_one_out(&laws[2], &curves[..1], &FitOptions::default()).unwrap();
    assert_eq!(
        alone.folds.iter().map(|f| f.from).collect::<Vec<_>>(),
        [5383, 4187]
    );
    let none = choose(&[law("tissue")], &curves[1..2], &FitOptions::default()).unwrap_err();
    assert!(none.to_string().contains("never falls"), "{none}");
}

#[test]
fn an_average_lies_between_its_laws_and_its_band_holds_them() {
    let curves = noisy();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let options = FitOptions::default();
    let fits: Vec<_> = ["tissue", "lldl"]
        .map(|name| fit(&law(name), &curves, &options).unwrap())
        .into();
    let path = crate::fit::path(&run(12_000, wsd), WARMUP, &[12_000]);
    let [a, b] = [0, 1].map(|i| fits[i].predict(&path)[0]);
    let average = Average::equal(fits.clone()).unwrap();
    let band = average.band(&path);
    assert!((band.loss[0] - 0.5 * (a + b)).abs() < 1e-12);
    assert!(band.low[0] < a.min(b) && band.high[0] > a.max(b));
    assert!(band.observed_low[0] < band.low[0] && band.observed_high[0] > band.high[0]);
    let held: Vec<_> = fits
        .iter()
        .map(|f| leave_one_out(&f.law, &curves, &options).unwrap())
        .collect();
    let weighted = Average::by_held_out(fits, &held.iter().collect::<Vec<_>>()).unwrap();
    let weights: Vec<f64> = weighted.members.iter().map(|m| m.1).collect();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(
        weights[0] > weights[1] && weights[0] < 10.01 * weights[1],
        "{weights:?}"
    );
}

#[test]
fn three_kinds_of_interval_agree_where_noise_is_white() {
    let law = law("tissue");
    let white = RunNoise {
        sd: 4e-4,
        ..NO_NOISE
    };
    let curves: Vec<LossCurve> = three()
        .iter()
        .enumerate()
        .map(|(i, c)| observed(c, &*law, &TISSUE, white, 7 + i as u64))
        .collect();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let fit = fit(&law, &curves, &FitOptions::default()).unwrap();
    let resampled = bootstrap(&fit, 200, 3).unwrap();
    let intervals = resampled.intervals();
    for (j, parameter) in law.parameters().iter().enumerate() {
        let param = &fit.params[j];
        let profiled = profile(&fit, parameter.name).unwrap();
        assert!(!profiled.low_open && !profiled.high_open);
        let width = param.high - param.low;
        for (what, low, high) in [
            ("bootstrap", intervals[j].0, intervals[j].1),
            ("profile", profiled.low, profiled.high),
        ] {
            let ratio = (high - low) / width;
            assert!(
                (0.6..1.5).contains(&ratio),
                "{what} of {}: {ratio}",
                parameter.name
            );
            assert!(
                low < param.value && param.value < high,
                "{what} of {}",
                parameter.name
            );
        }
    }
    let path = crate::fit::path(&run(12_000, wsd), WARMUP, &[12_000]);
    let (low, high) = resampled.band(&fit, &path)[0];
    let band = fit.band(&path);
    let ratio = (high - low) / (band.high[0] - band.low[0]);
    assert!((0.6..1.5).contains(&ratio), "{ratio}");
    assert!(
        profile(&fit, "B")
            .unwrap_err()
            .to_string()
            .contains("it has L0, A, alpha, C, memory")
    );
}

#[test]
fn what_one_run_does_not_tell_is_said_and_the_run_that_would_is_named() {
    let law = law("mpl");
    let truth = [2.5, 0.6, 0.45, 180.0, 0.5, 0.6, 0.6];
    let cosine = observed(
        &curve("cosine", run(6000, cosine), 60),
        &*law,
        &truth,
        NOISE,
        1,
    );
    let options = FitOptions {
        priors: false,
        ..FitOptions::default()
    };
    let fit = fit(&law, &[&cosine], &options).unwrap();
    assert!(fit.lacking);
    let note = fit.notes.last().unwrap();
    assert!(
        note.contains("the cheapest run that would tell more: "),
        "{note}"
    );
    let run = suggest(&fit).unwrap().unwrap();
    assert!(run.reduction > 0.3 && run.reduction < 1.0, "{run:?}");
    assert!(note.contains(&run.what) && run.new_steps < 6000);
    // And it does: measured, the same law knows more.
    let extra = observed(
        &curve("extra", run.lrs.clone(), 20),
        &*law,
        &truth,
        NOISE,
        2,
    );
    let more = super::super::fit(&law, &[&cosine, &extra], &options).unwrap();
    let path = crate::fit::path(&super::run(18_000, wsd), WARMUP, &[18_000]);
    let width = |fit: &crate::fit::Fit| {
        let band = fit.band(&path);
        band.high[0] - band.low[0]
    };
    assert!(
        width(&more) < 0.8 * width(&fit),
        "{} {}",
        width(&more),
        width(&fit)
    );
}

#[test]
fn a_file_gives_back_the_fit() {
    let curves = noisy();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("law.json");
    for name in ["tissue", "mpl", "convex", "chinchilla"] {
        let setup = LawOptions {
            warmup: law::WarmupRule::Rise,
            fixed: if name == "mpl" {
                vec![("gamma".into(), 0.5)]
            } else {
                Vec::new()
            },
            s1_offset: name == "tissue",
        };
        let law: Arc<dyn Law> = law::by_name(name, &setup).unwrap().into();
        let fit = fit(&law, &curves, &FitOptions::default()).unwrap();
        file::write(&fit, &path).unwrap();
        let back = file::read(&path).unwrap();
        assert_eq!(back.params, fit.params);
        assert_eq!(back.law.options(), setup);
        assert_eq!(
            (back.noise.clone(), back.curves.clone()),
            (fit.noise.clone(), fit.curves.clone())
        );
        let points = crate::fit::path(&run(9000, wsd), WARMUP, &[2000, 9000]);
        assert_eq!(back.band(&points), fit.band(&points));
        assert!(
            bootstrap(&back, 2, 0)
                .unwrap_err()
                .to_string()
                .contains("fit its curves again")
        );
    }
}

#[test]
fn damaged_files_are_refused_in_one_sentence() {
    let curves = noisy();
    let curves: Vec<&LossCurve> = curves.iter().collect();
    let fit = fit(&law("tissue"), &curves, &FitOptions::default()).unwrap();
    let good = serde_json::to_string(&file::to_json(&fit)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("law.json");
    let refused = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        let message = file::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("law.json") && !message.contains('\n'),
            "{message}"
        );
        message
    };
    assert!(
        refused(good.replace("\"lehr_law\":1", "\"lehr_law\":2").as_bytes()).contains("format 2")
    );
    assert!(refused(b"{}").contains("not a fitted law"));
    assert!(refused(&[0xff; 40]).contains("not text"));
    assert!(
        refused(good.replace("\"tissue\"", "\"tisue\"").as_bytes()).contains("did you mean tissue")
    );
    assert!(refused(good.replace("\"alpha\"", "\"alfa\"").as_bytes()).contains("alfa"));
    assert!(
        refused(good.replace("\"delta\":0.001", "\"delta\":-1.0").as_bytes()).contains("delta")
    );
    assert!(refused(good.replace("\"sd\":", "\"sd\":-").as_bytes()).contains("noise.sd"));
    for end in (0..good.len()).step_by(37) {
        refused(&good.as_bytes()[..end]);
    }
}
