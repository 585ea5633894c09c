//! A simulated service: L(N, D) with a known truth, a price on wrong learning rates, and noise that is the same
//! whenever the same query is asked.

use super::{Answer, Oracle, Query, Reply, Space};
use crate::error::{Error, Result};
use crate::fit::random;
use crate::scaling::law::ScalingLaw;

/// What the streams of random numbers are for; those of `fit` have other numbers.
const NOISE: u64 = 101;

/// loss = E + A/N^α + B/D^β + penalty·(ln lr − ln lr*(N))² + noise·z, lr*(N) = lr·N^(−power).
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    pub law: ScalingLaw,
    /// lr* of a model of one parameter.
    pub lr: f64,
    pub lr_power: f64,
    pub lr_penalty: f64,
    /// Standard deviation of the loss between runs, in nats.
    pub noise: f64,
    pub seed: u64,
    pub space: Space,
    name: String,
}

impl Simulated {
    /// Reads `E=1.8,A=482,…`; what is left out keeps its default, the constants of Besiroglu et al. 2024 (arXiv 2404.10102)
    /// and best learning rates that lie within the assignment's bounds.
    ///
    /// # Errors
    /// An unknown name, something that is no number, a constant out of range.
    pub fn parse(text: &str, space: Space) -> Result<Simulated> {
        let mut it = Simulated {
            law: ScalingLaw {
                e: 1.8169,
                a: 482.01,
                b: 2085.43,
                alpha: 0.3478,
                beta: 0.3658,
            },
            lr: 0.15,
            lr_power: 0.33,
            lr_penalty: 0.03,
            noise: 0.005,
            seed: 0,
            space,
            name: format!("simulate:{text}"),
        };
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let wrong = |what: &str| Error::input(format!("--oracle simulate: {part}: {what}"));
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| wrong("write name=VALUE"))?;
            let x: f64 = value
                .trim()
                .parse()
                .map_err(|_| wrong("the value is no number"))?;
            if !(x.is_finite() && x >= 0.0) {
                return Err(wrong("the value must be 0 or more"));
            }
            let positive = match name.trim() {
                "seed" => {
                    it.seed = x as u64;
                    continue;
                }
                "E" => &mut it.law.e,
                "noise" => &mut it.noise,
                "lr_penalty" => &mut it.lr_penalty,
                "lr_power" => &mut it.lr_power,
                "A" => &mut it.law.a,
                "B" => &mut it.law.b,
                "alpha" => &mut it.law.alpha,
                "beta" => &mut it.law.beta,
                "lr" => &mut it.lr,
                _ => {
                    return Err(wrong(
                        "the names are E, A, B, alpha, beta, lr, lr_power, lr_penalty, noise and seed",
                    ));
                }
            };
            *positive = x;
        }
        let l = &it.law;
        if [l.a, l.b, l.alpha, l.beta, it.lr].contains(&0.0) {
            return Err(Error::input(
                "--oracle simulate: A, B, alpha, beta and lr must be above 0",
            ));
        }
        Ok(it)
    }

    /// The learning rate that this truth likes best.
    pub fn best_lr(&self, n: f64) -> f64 {
        self.lr * n.powf(-self.lr_power)
    }

    /// The loss without noise.
    pub fn expected(&self, query: &Query) -> f64 {
        let (n, d) = (self.params(query), self.tokens(query));
        let off = (query.learning_rate / self.best_lr(n)).ln();
        self.law.loss(n, d) + self.lr_penalty * off * off
    }
}

impl Oracle for Simulated {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn ask(&mut self, query: &Query) -> Result<Reply> {
        let z = random::normal(&mut random::stream(self.seed, NOISE, key(query)));
        Ok(Reply::Answered(Answer {
            loss: self.expected(query) + self.noise * z,
            total_flops_used: None,
        }))
    }
}

/// FNV-1a over the query's text.
fn key(query: &Query) -> u64 {
    let eat = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    query.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, eat)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_same_query_gives_the_same_loss() {
        let mut oracle = Simulated::parse("noise=0.01,seed=3,E=1.7", Space::cs336()).unwrap();
        let size = oracle.space.sizes().unwrap()[0];
        let (a, b) = (size.query(128, 1e-3, 1e13), size.query(128, 1e-3, 3e13));
        let first = oracle.ask(&a).unwrap();
        assert_eq!(first, oracle.ask(&a).unwrap());
        assert_ne!(first, oracle.ask(&b).unwrap());
        assert_eq!(oracle.law.e, 1.7);
        for bad in ["E", "E=x", "F=1", "noise=-1", "alpha=0", "E=NaN"] {
            let said = Simulated::parse(bad, Space::cs336()).unwrap_err();
            assert!(said.to_string().starts_with("--oracle simulate"), "{said}");
        }
    }
}
