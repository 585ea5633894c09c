use super::*;
use crate::scaling::parametric::tests::TRUTH;
use proptest::prelude::*;

#[test]
fn a_laptops_budget() {
    let request = Request {
        vocab_size: 4096,
        sequence_length: 256,
        ..Request::new(1e16)
    };
    let got = allocate(&TRUTH, None, &request).unwrap();
    let built = &got.architecture;
    built.model.validate().unwrap();
    assert!(
        (built.params / got.params.value).ln().abs() < 0.1,
        "{got:?}"
    );
    assert!(built.penalty.abs() < 1e-3);
    assert!(built.batch.is_power_of_two());
    assert!(got.params.low.is_none() && built.rules_extrapolated);
}

#[test]
fn intervals_come_from_the_draws() {
    let other = ScalingLaw { e: 2.0, ..TRUTH };
    let draws = Bootstrap {
        draws: vec![TRUTH, other],
        resamples: 2,
    };
    let got = allocate(&TRUTH, Some(&draws), &Request::new(1e20)).unwrap();
    let (low, high) = (got.loss.low.unwrap(), got.loss.high.unwrap());
    assert!((high - low - 0.095).abs() < 1e-9, "{low} {high}");
    // E does not move the optimum.
    let (low, high) = (got.params.low.unwrap(), got.params.high.unwrap());
    assert!((high / low - 1.0).abs() < 1e-12, "{low} {high}");
}

#[test]
fn the_recipe_holds_the_run() {
    let got = allocate(&TRUTH, None, &Request::new(1e19)).unwrap();
    let built = got.architecture;
    let recipe: toml::Table = built.to_recipe().parse().unwrap();
    let train = |key: &str| recipe["train"][key].as_integer().unwrap() as u64;
    assert_eq!(train("iterations"), built.steps);
    let tokens = train("iterations")
        * train("batch_size")
        * train("grad_accumulation")
        * train("sequence_length");
    assert_eq!(tokens as f64, built.tokens);
    assert_eq!(
        recipe["model"]["n_embd"].as_integer().unwrap() as usize,
        built.model.n_embd
    );
    assert_eq!(
        recipe["schedule"]["peak_lr"].as_float().unwrap(),
        built.peak_lr
    );
}

#[test]
fn an_optimum_far_from_every_model_is_refused() {
    let points = crate::scaling::parametric::tests::grid(0.0);
    let got = allocate(&TRUTH, None, &Request::new(1e20)).unwrap();
    within(&points, &got).unwrap();
    let far: Vec<Point> = points
        .into_iter()
        .map(|p| Point {
            tokens: p.params * 1e-4,
            ..p
        })
        .collect();
    let error = within(&far, &got).unwrap_err().to_string();
    assert!(error.contains("tokens a parameter"), "{error}");
}

#[test]
fn faults_are_sentences() {
    let error =
        |law: &ScalingLaw, request: Request| allocate(law, None, &request).unwrap_err().to_string();
    for flops in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(error(&TRUTH, Request::new(flops)).contains("the budget is"));
    }
    // A vocabulary that alone is larger than the optimum.
    assert!(error(&TRUTH, Request::new(1e14)).contains("smaller vocabulary"));
    assert!(error(&TRUTH, Request::new(1e60)).contains("smaller budget"));
    assert!(error(&TRUTH, Request::new(1.0)).contains("nobody can train"));
    let flat = ScalingLaw {
        beta: -0.1,
        ..TRUTH
    };
    assert!(error(&flat, Request::new(1e19)).contains("no optimum"));
    let request = Request {
        vocab_size: 0,
        ..Request::new(1e19)
    };
    assert!(error(&TRUTH, request).contains("vocabulary is 0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_answer_can_be_built(exponent in 15.0..23.0f64, vocab in 64usize..20_000, sequence in 7u32..12, tied: bool) {
        let request = Request {
            vocab_size: vocab,
            sequence_length: 1 << sequence,
            tied,
            ..Request::new(10f64.powf(exponent))
        };
        if let Ok(got) = allocate(&TRUTH, None, &request) {
            for built in std::iter::once(&got.architecture).chain(&got.alternatives) {
                built.model.validate().unwrap();
                prop_assert!(built.model.n_embd.is_multiple_of(32) && built.model.head_dim >= 32);
                prop_assert!(built.batch.is_power_of_two() && built.steps >= 1);
                prop_assert_eq!(built.tokens, built.steps as f64 * built.tokens_per_step);
                prop_assert!(built.warmup_steps >= 1 && built.warmup_steps <= built.steps);
                prop_assert!((built.flops / request.flops).ln().abs() < 0.7);
            }
        }
    }
}
