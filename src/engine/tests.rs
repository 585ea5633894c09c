use super::*;
use crate::model::config::tests::tiny;
use crate::model::{Family, LanguageModel};
use candle_core::Device;

/// GPT-2 and Llama, tied and not, with dropout and without, with heads of 40.
fn models() -> Vec<ModelConfig> {
    let mut list = Vec::new();
    for family in [Family::Gpt2, Family::Llama] {
        for tied in [true, false] {
            for dropout in [0.0, 0.2] {
                let mut config = tiny(family, tied);
                config.dropout = dropout;
                list.push(config);
            }
        }
        let mut config = tiny(family, true);
        config.n_embd = 120;
        config.n_head = 3;
        config.head_dim = 40;
        config.n_kv_head = if family == Family::Llama { 1 } else { 3 };
        config.intermediate_size = 77;
        config.vocab_size = 131;
        config.max_positions = 70;
        list.push(config);
    }
    list
}

/// Parameters away from their symmetric starts (gains of 1, biases of 0).
pub(super) fn shaken(config: &ModelConfig) -> Params {
    let mut params = Params::init(LanguageModel::specs(config), 3);
    for (i, x) in params.values_mut().iter_mut().enumerate() {
        *x += 0.1 * (i as f32 * 0.7).sin();
    }
    params
}

/// `[rows, T]` ids and the ids behind them.
pub(super) fn ids(config: &ModelConfig, rows: usize, positions: usize, seed: u32) -> [Vec<u32>; 2] {
    let v = config.vocab_size as u32;
    let at = |i: u32| (i * i + 5 * i + seed) % v;
    let n = (rows * positions) as u32;
    [(0..n).map(at).collect(), (1..=n).map(at).collect()]
}

/// The loss and the flat gradients of candle's tape.
fn tape(
    config: &ModelConfig,
    rows: usize,
    ids: &[Vec<u32>; 2],
    d: &DropoutStream,
) -> (f64, Vec<f32>) {
    let params = shaken(config);
    let (model, vars) = LanguageModel::for_training(config, &params, &Device::Cpu).unwrap();
    let loss = model.loss(&ids[0], &ids[1], rows, d.clone()).unwrap();
    let store = loss.backward().unwrap();
    let flat = vars.iter().flat_map(|v| {
        let gradient = store.get(v).expect("a gradient").flatten_all().unwrap();
        gradient.to_vec1::<f32>().unwrap()
    });
    (f64::from(loss.to_scalar::<f32>().unwrap()), flat.collect())
}

fn engine(config: &ModelConfig, precision: Precision, recompute: bool) -> Engine {
    Engine::new(config, shaken(config), precision, recompute)
}

pub(super) fn tokens(ids: &[Vec<u32>; 2], rows: usize) -> Tokens<'_> {
    Tokens {
        tokens: &ids[0],
        targets: &ids[1],
        rows,
    }
}

/// ‖a − b‖/‖b‖ for every parameter.
fn compare(config: &ModelConfig, a: &[f32], b: &[f32], tolerance: f64) {
    let mut start = 0;
    for spec in LanguageModel::specs(config) {
        let range = start..start + spec.elements();
        start = range.end;
        let (a, b) = (&a[range.clone()], &b[range]);
        let square = |x: f64| x * x;
        let off: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
        let of: f64 = b.iter().map(|&b| square(b.into())).sum();
        // Some gradients are rounding alone: of key biases, of queries that see one key.
        let floor = 0.05 * (a.len() as f64).sqrt();
        let ratio = off.sqrt() / (of.sqrt() + floor);
        let (family, name) = (config.family, &spec.name);
        assert!(ratio < tolerance, "{family:?} {name}: off by {ratio:.2e}");
    }
}

#[test]
fn loss_and_gradients_are_the_tapes() {
    for config in models() {
        for (rows, positions) in [(2, config.max_positions), (3, 5), (1, 1)] {
            let ids = ids(&config, rows, positions, 1);
            let dropout = DropoutStream::new(config.dropout, 1, 2, 3);
            let (loss, gradients) = tape(&config, rows, &ids, &dropout);
            for recompute in [false, true] {
                let mut engine = engine(&config, Precision::F32, recompute);
                for _ in 0..2 {
                    let batch = [(tokens(&ids, rows), dropout.clone())];
                    let got = engine.gradients(&batch).unwrap();
                    assert!((got - loss).abs() < 2e-6 * (1.0 + loss), "{got} {loss}");
                    compare(&config, engine.flat_gradients(), &gradients, 2e-5);
                }
            }
        }
    }
}

#[test]
fn micro_batches_add_up() {
    for config in models() {
        let (first, second) = (ids(&config, 2, 8, 1), ids(&config, 2, 8, 7));
        let dropout = [4, 5].map(|i| DropoutStream::new(config.dropout, 1, 2, i));
        let (loss_a, a) = tape(&config, 2, &first, &dropout[0]);
        let (loss_b, b) = tape(&config, 2, &second, &dropout[1]);
        let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| 0.5 * (a + b)).collect();
        let mut engine = engine(&config, Precision::F32, false);
        let batches = [&first, &second]
            .map(|ids| tokens(ids, 2))
            .into_iter()
            .zip(dropout);
        let batches: Vec<_> = batches.collect();
        let loss = engine.gradients(&batches).unwrap();
        assert!((loss - 0.5 * (loss_a + loss_b)).abs() < 1e-5);
        compare(&config, engine.flat_gradients(), &mean, 2e-5);
    }
}

#[test]
fn evaluation_is_the_loss_without_dropout() {
    for config in models() {
        let ids = ids(&config, 3, 6, 1);
        let (loss, _) = tape(&config, 3, &ids, &DropoutStream::off());
        let got = engine(&config, Precision::F32, false)
            .loss(tokens(&ids, 3))
            .unwrap();
        assert!((got - loss).abs() < 2e-6 * (1.0 + loss), "{got} {loss}");
    }
}

#[test]
fn bf16_stays_near_f32() {
    for config in models() {
        let ids = ids(&config, 2, 8, 1);
        let dropout = DropoutStream::new(config.dropout, 1, 2, 3);
        let (loss, gradients) = tape(&config, 2, &ids, &dropout);
        for recompute in [false, true] {
            let mut engine = engine(&config, Precision::Bf16, recompute);
            let got = engine
                .gradients(&[(tokens(&ids, 2), dropout.clone())])
                .unwrap();
            assert!((got - loss).abs() < 0.02 * (1.0 + loss), "{got} {loss}");
            compare(&config, engine.flat_gradients(), &gradients, 0.08);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    // Large enough for several tiles, blocks of rows and blocks of logits.
    let wide = |family| {
        let mut config = tiny(family, true);
        (config.n_embd, config.n_head, config.head_dim) = (192, 3, 64);
        config.n_kv_head = if family == Family::Llama { 1 } else { 3 };
        (config.intermediate_size, config.vocab_size) = (300, 600);
        (config.max_positions, config.dropout) = (100, 0.1);
        config
    };
    for config in [wide(Family::Gpt2), wide(Family::Llama)] {
        let bits = |threads: usize, precision: Precision| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let ids = ids(&config, 3, 100, 1);
                let mut engine = engine(&config, precision, false);
                let dropout = DropoutStream::new(config.dropout, 1, 2, 3);
                let loss = engine.gradients(&[(tokens(&ids, 3), dropout)]).unwrap();
                (loss, engine.flat_gradients().to_vec())
            })
        };
        for precision in [Precision::F32, Precision::Bf16] {
            assert!(bits(1, precision) == bits(3, precision));
        }
    }
}

/// Shapes share an arena and scratch: what one leaves there must not reach another.
#[test]
fn every_shape_is_as_if_it_were_the_first() {
    for config in models() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut used = engine(&config, precision, false);
            let dropout = || DropoutStream::new(config.dropout, 1, 2, 3);
            let shapes = [(2, config.max_positions), (3, 5), (1, 1), (2, 8)];
            for (i, (rows, positions)) in shapes.into_iter().enumerate() {
                let ids = ids(&config, rows, positions, i as u32);
                let mut fresh = engine(&config, precision, false);
                assert_eq!(
                    used.loss(tokens(&ids, rows)).unwrap(),
                    fresh.loss(tokens(&ids, rows)).unwrap()
                );
                let batch = [
                    (tokens(&ids, rows), dropout()),
                    (tokens(&ids, rows), dropout()),
                ];
                let loss = used.gradients(&batch).unwrap();
                assert_eq!(loss, fresh.gradients(&batch).unwrap());
                assert!(used.flat_gradients() == fresh.flat_gradients());
            }
        }
    }
}

#[test]
fn recomputation_keeps_less() {
    let config = &models()[0];
    let bytes = |purpose| {
        let specs = LanguageModel::specs(config);
        build::program(config, &specs, 4, 8, purpose, Cpu::form(Precision::F32)).bytes
    };
    let [keep, again] = [false, true].map(|recompute| bytes(Purpose::Train { recompute }));
    assert!(bytes(Purpose::Evaluate) < again && again < keep);
}

#[test]
fn the_tape_trains_as_the_kernels_do() {
    trains_as_the_kernels_do(&Device::Cpu);
}

/// The compositions that are left and the kernels that are not, together, as they run on Metal.
#[cfg(target_os = "linux")]
#[test]
fn the_tape_trains_on_emulated_metal() {
    use crate::ops::metal::emulated;
    if crate::kernels::emulated::there_is_a_compiler() {
        emulated::on(|| trains_as_the_kernels_do(&Device::Cpu));
    }
}

#[cfg(feature = "metal")]
#[test]
fn the_tape_trains_on_metal() {
    match crate::ops::metal::device() {
        Ok(device) => trains_as_the_kernels_do(&device),
        Err(e) => eprintln!("skipped: {e}"),
    }
}

/// Weights, moments and losses through the tape are the kernels', step after step, and in the middle of a run too.
fn trains_as_the_kernels_do(device: &Device) {
    use crate::optim::AdamWConfig;
    for config in models() {
        let mut kernels = engine(&config, Precision::F32, false);
        let mut tape = Engine::on_tape(device, &config, shaken(&config)).unwrap();
        let [mut of_kernels, mut of_tape] =
            [(); 2].map(|()| AdamW::new(AdamWConfig::default(), kernels.specs()));
        for step in 0..6 {
            let (first, second) = (ids(&config, 2, 8, step), ids(&config, 2, 8, step + 50));
            let dropout = |i| DropoutStream::new(config.dropout, 1, step.into(), i);
            let batch = [
                (tokens(&first, 2), dropout(0)),
                (tokens(&second, 2), dropout(1)),
            ];
            let a = kernels.step(&batch, &mut of_kernels, 1e-3).unwrap();
            let b = tape.step(&batch, &mut of_tape, 1e-3).unwrap();
            assert!((a.loss - b.loss).abs() < 1e-4, "{step}: {a:?} {b:?}");
            assert!(
                (a.grad_norm / b.grad_norm - 1.0).abs() < 1e-3,
                "{step}: {a:?} {b:?}"
            );
            if step == 2 {
                // As a checkpoint: what was fetched goes on in another engine.
                tape.fetch().unwrap();
                tape.fetch_moments(&mut of_tape).unwrap();
                let mut params = shaken(&config);
                params.values_mut().copy_from_slice(tape.params().values());
                tape = Engine::on_tape(device, &config, params).unwrap();
            }
        }
        let held_out = ids(&config, 2, 8, 99);
        let [a, b] = [&mut kernels, &mut tape].map(|e| e.loss(tokens(&held_out, 2)).unwrap());
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}
