//! A design from end to end: searched, held to the trust rule, and judged against what people train with.

use super::trust::{self, Comparison, TrustRule, Verdict};
use super::{Designed, FEW_KNOTS, KNOTS, Problem, baselines, best, check, power, tuned_wsd};
use crate::error::Result;
use crate::fit::Fit;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Which schedules are searched.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// All that never rise, as lines between 300 knots
    Free,
    /// (1 − x)^p over n steps
    Power,
    /// Held, then a cooldown: linear, sqrt, cosine or square
    Wsd,
    /// Lines between 24 knots
    Segments,
}

impl Among {
    fn name(self) -> &'static str {
        match self {
            Among::Free => "free",
            Among::Power => "power",
            Among::Wsd => "wsd",
            Among::Segments => "segments",
        }
    }
}

/// A design with all that is to be said of it.
pub struct Judged {
    pub problem: Problem,
    pub rule: TrustRule,
    pub among: Among,
    pub designed: Designed,
    /// Wall time of the search, without the baselines.
    pub seconds: f64,
    /// 90 % interval of the predicted final loss, nats a token; none without a fit.
    pub interval: Option<(f64, f64)>,
    /// Best first.
    pub compared: Vec<Comparison>,
    pub verdict: Verdict,
    pub warnings: Vec<String>,
}

impl Judged {
    /// Designs under `problem`'s law, whose limits follow `rule`; `seed` is that of the parameter sets drawn from `fit`.
    /// What the fit cannot support is refused, or with `force` a warning.
    ///
    /// # Errors
    /// What [`trust::support`], [`best`] and [`check`] say.
    pub fn new(
        problem: Problem,
        rule: TrustRule,
        fit: Option<&Fit>,
        among: Among,
        force: bool,
        seed: u64,
    ) -> Result<Judged> {
        let mut warnings = match fit {
            Some(fit) => trust::support(fit, &problem, force)?,
            None => Vec::new(),
        };
        let others = baselines(&problem);
        let clock = Instant::now();
        let designed = match among {
            Among::Free => best(&problem, &others, KNOTS)?,
            Among::Segments => best(&problem, &others, FEW_KNOTS)?,
            Among::Power => Designed::of(power(&problem)),
            Among::Wsd => Designed::of(tuned_wsd(&problem)),
        };
        check(&problem, &designed)?;
        let seconds = clock.elapsed().as_secs_f64();
        warnings.extend(trust::held_back(&problem, &designed.lrs));
        let interval = fit.map(|fit| interval(fit, &problem, &designed.lrs));
        if let Some((low, high)) = interval {
            warnings.extend(trust::open(designed.loss, (high - low) / 2.0));
        }
        warnings.extend(fit.and_then(trust::on_a_bound));
        let compared = trust::compare(fit, &problem, (&designed.lrs, designed.loss), others);
        let rival = trust::rival(&compared);
        let verdict = trust::judge(fit, &problem, &designed.lrs, rival, seed);
        Ok(Judged {
            problem,
            rule,
            among,
            designed,
            seconds,
            interval,
            compared,
            verdict,
            warnings,
        })
    }

    /// The best baseline that the law is believed about.
    pub fn rival(&self) -> &Comparison {
        trust::rival(&self.compared)
    }

    /// The first step below the LR that the design starts from.
    pub fn falls_from(&self) -> u64 {
        let below = |lr: &f64| *lr < 0.999 * self.problem.level();
        let prefix = self.problem.prefix().len();
        let after = self.designed.lrs[prefix..].iter().position(below);
        after.map_or(self.problem.limits.steps, |s| (prefix + s) as u64)
    }

    /// Puts another schedule in the design's place.
    pub fn replace(&mut self, designed: Designed, fit: Option<&Fit>) {
        let held_back = trust::held_back(&self.problem, &self.designed.lrs);
        self.warnings
            .retain(|said| Some(said) != held_back.as_ref());
        self.interval = fit.map(|fit| interval(fit, &self.problem, &designed.lrs));
        self.designed = designed;
    }

    /// What `schedule.json` says before its LRs: `law` is the law's file or name, `from` the run that is gone on with.
    pub fn head(&self, law: &str, from: Value) -> Map<String, Value> {
        let (model, limits) = (&self.problem.model, &self.problem.limits);
        let names = model.law.parameters().iter().map(|p| p.name.to_string());
        let values = model.parameters.iter().map(|v| Value::from(*v));
        let params: Map<String, Value> = names.zip(values).collect();
        let v = &self.verdict;
        let head = json!({
            "law": {"name": model.law.name(), "from": law, "params": params},
            "steps": limits.steps,
            "peak_lr": limits.peak_lr,
            "min_lr": limits.min_lr,
            "warmup_steps": limits.warmup,
            "from": from,
            "family": self.among.name(),
            "shape": self.designed.family.map(|f| f.to_string()),
            "predicted_loss": self.designed.loss,
            "interval": self.interval.map(|(low, high)| [low, high]),
            "falls_from": self.falls_from(),
            "largest_drop": self.problem.largest_drop(&self.designed.lrs),
            "largest_drop_allowed": limits.largest_drop,
            "trust_rule": self.rule.why,
            "gain": {
                "over": self.rival().baseline.family.to_string(),
                "nats": v.gain,
                "half_width": v.half_width,
                "pair_noise": v.pair_noise,
                "share_of_draws_won": v.wins,
                "believable": v.believable,
                "sentence": v.sentence,
            },
            "warnings": self.warnings,
        });
        let Value::Object(head) = head else {
            unreachable!("an object was written");
        };
        head
    }
}

/// 90 % interval of the predicted final loss of `lrs`.
fn interval(fit: &Fit, problem: &Problem, lrs: &[f64]) -> (f64, f64) {
    let band = fit.band(&problem.path(lrs, 1));
    (band.low[0], band.high[0])
}
