//! The device's step against the processor's, on the emulated device.

use super::emulated::Emulated;
use super::*;
use crate::engine::build::{self, Purpose};
use crate::engine::tests::{ids, shaken, tokens};
use crate::engine::{Engine, Precision};
use crate::kernels::emulated::{ORDERS, there_is_a_compiler};
use crate::model::config::tests::tiny;
use crate::model::{Family, LanguageModel, Params};
use crate::optim::AdamWConfig;

/// Heads of 16 shared by two queries each (Llama), a vocabulary that is no multiple of anything.
fn model(family: Family, tied: bool, dropout: f64) -> ModelConfig {
    let mut config = tiny(family, tied);
    config.n_embd = 64;
    config.n_head = 4;
    config.head_dim = 16;
    config.n_kv_head = if family == Family::Llama { 2 } else { 4 };
    config.intermediate_size = 104;
    config.vocab_size = 131;
    config.max_positions = 150;
    config.dropout = dropout;
    config
}

fn cuda(config: &ModelConfig, params: &Params, precision: Precision) -> Cuda {
    let mut device = Box::new(Emulated::new(config, precision));
    // As GPUs from Hopper on do, and as none must.
    device.fuses = precision == Precision::Bf16;
    Cuda::new(device, config, precision, params.values()).unwrap()
}

fn program(
    config: &ModelConfig,
    rows: usize,
    positions: usize,
    precision: Precision,
    purpose: Purpose,
) -> Program {
    let specs = LanguageModel::specs(config);
    build::program(
        config,
        &specs,
        rows,
        positions,
        purpose,
        Cuda::form(precision),
    )
}

/// ‖a − b‖/‖b‖ for every parameter.
fn compare(config: &ModelConfig, a: &[f32], b: &[f32], tolerance: f64) {
    let mut start = 0;
    for spec in LanguageModel::specs(config) {
        let end = start + spec.elements();
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let (a, b) = (&a[start..end], &b[start..end]);
        let off = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
        let of = norm(&mut b.iter().map(|b| f64::from(*b)));
        assert!(off <= tolerance * of, "{}: {off:e} of {of:e}", spec.name);
        start = end;
    }
}

/// Two micro-batches, so that gradients are added up, of a length that fills no tile.
fn gradients_agree(config: &ModelConfig, precision: Precision, recompute: bool, tolerance: f64) {
    const ROWS: usize = 2;
    const POSITIONS: usize = 75;
    let params = shaken(config);
    let batches = [
        ids(config, ROWS, POSITIONS, 1),
        ids(config, ROWS, POSITIONS, 2),
    ];
    let streams = [0, 1].map(|i| DropoutStream::new(config.dropout, 7, 3, i));
    let of = |i: usize| (tokens(&batches[i], ROWS), streams[i].clone());
    let purpose = Purpose::Train { recompute };
    let program = program(config, ROWS, POSITIONS, precision, purpose);
    let mut cuda = cuda(config, &params, precision);
    let loss = cuda.loss_and_gradients(&program, &[of(0), of(1)]).unwrap();
    let mut found = vec![f32::NAN; params.elements()];
    cuda.gradients(&mut found).unwrap();

    let mut cpu = Engine::new(config, params, precision, recompute);
    let expected = cpu.gradients(&[of(0), of(1)]).unwrap();
    assert!(
        (loss - expected).abs() < tolerance * 0.1,
        "{loss} {expected}"
    );
    compare(config, &found, cpu.flat_gradients(), tolerance);
}

#[test]
fn gradients_in_f32_are_the_processors() {
    if !there_is_a_compiler() {
        return;
    }
    gradients_agree(&model(Family::Gpt2, true, 0.1), Precision::F32, false, 2e-4);
    gradients_agree(
        &model(Family::Llama, false, 0.0),
        Precision::F32,
        true,
        2e-4,
    );
}

#[test]
fn gradients_in_bf16_are_the_processors() {
    if !there_is_a_compiler() {
        return;
    }
    gradients_agree(
        &model(Family::Gpt2, false, 0.0),
        Precision::Bf16,
        true,
        3e-2,
    );
    gradients_agree(
        &model(Family::Llama, true, 0.1),
        Precision::Bf16,
        false,
        3e-2,
    );
}

/// GPUs whose blocks have less shared memory work on smaller tiles where heads are large.
#[test]
fn tiles_of_either_size_are_the_processors() {
    if !there_is_a_compiler() {
        return;
    }
    let mut config = model(Family::Llama, true, 0.0);
    (config.n_head, config.n_kv_head, config.head_dim) = (2, 1, 128);
    config.n_embd = 256;
    let program = program(
        &config,
        1,
        140,
        Precision::Bf16,
        Purpose::Train { recompute: false },
    );
    let params = shaken(&config);
    let batch = ids(&config, 1, 140, 1);
    let mut cpu = Engine::new(&config, shaken(&config), Precision::Bf16, false);
    let of = || (tokens(&batch, 1), DropoutStream::off());
    cpu.gradients(&[of()]).unwrap();
    for kib in [227, 99] {
        let device = Emulated::with_shared(&config, Precision::Bf16, kib << 10);
        let device = Box::new(device);
        let mut cuda = Cuda::new(device, &config, Precision::Bf16, params.values()).unwrap();
        cuda.loss_and_gradients(&program, &[of()]).unwrap();
        let mut gradients = vec![0.0; params.elements()];
        cuda.gradients(&mut gradients).unwrap();
        compare(&config, &gradients, cpu.flat_gradients(), 3e-2);
    }
}

/// What a missing barrier would show in.
#[test]
fn bits_do_not_depend_on_which_thread_comes_first() {
    if !there_is_a_compiler() {
        return;
    }
    // A third tile comes to where the first one was.
    for (family, precision, dropout, positions) in [
        (Family::Gpt2, Precision::F32, 0.1, 40),
        (Family::Gpt2, Precision::Bf16, 0.1, 140),
        (Family::Llama, Precision::Bf16, 0.0, 140),
    ] {
        let config = model(family, true, dropout);
        let purpose = Purpose::Train { recompute: false };
        let program = program(&config, 1, positions, precision, purpose);
        let batches = [1, 2].map(|i| ids(&config, 1, positions, i));
        let after = ORDERS.map(|order| {
            let params = shaken(&config);
            let mut device = Box::new(Emulated::new(&config, precision));
            device.fuses = precision == Precision::Bf16;
            device.in_order(order);
            let mut cuda = Cuda::new(device, &config, precision, params.values()).unwrap();
            let mut optimizer = AdamW::new(AdamWConfig::default(), params.specs());
            let of = |i: usize| {
                let stream = DropoutStream::new(dropout, 7, 3, i as u64);
                (tokens(&batches[i], 1), stream)
            };
            let stepped = (cuda.step(&program, &[of(0), of(1)], &mut optimizer, 1e-3)).unwrap();
            let [mut gradients, mut weights] = [(); 2].map(|()| vec![0.0; params.elements()]);
            cuda.gradients(&mut gradients).unwrap();
            cuda.weights(&mut weights).unwrap();
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let scalars = [stepped.loss, stepped.grad_norm].map(f64::to_bits);
            (scalars, bits(gradients), bits(weights))
        });
        for (other, order) in after[1..].iter().zip(&ORDERS[1..]) {
            assert!(
                after[0] == *other,
                "{family:?} {precision:?}, order {order}"
            );
        }
    }
}

/// The first step is launched, the second recorded, and the others are the recording, with other tokens and another rate.
#[test]
fn ten_steps_are_the_processors() {
    if !there_is_a_compiler() {
        return;
    }
    // Of the loss, and of the way that the weights have gone.
    for (family, precision, tolerance, drift) in [
        (Family::Gpt2, Precision::F32, 2e-4, 2e-2),
        (Family::Gpt2, Precision::Bf16, 2e-2, 0.2),
        (Family::Llama, Precision::Bf16, 2e-2, 0.2),
    ] {
        let config = model(family, true, 0.0);
        let [params, start] = [(); 2].map(|()| Params::init(LanguageModel::specs(&config), 5));
        let settings = AdamWConfig::default();
        let [mut here, mut there] = [(); 2].map(|()| AdamW::new(settings.clone(), params.specs()));
        let purpose = Purpose::Train { recompute: false };
        let shape = |rows, purpose| program(&config, rows, 40, precision, purpose);
        let train = shape(2, purpose);
        let mut cuda = cuda(&config, &params, precision);
        let mut cpu = Engine::new(&config, params, precision, false);
        for step in 0..10 {
            let batches = [2 * step, 2 * step + 1].map(|i| ids(&config, 2, 40, i));
            let of = |i: usize| (tokens(&batches[i], 2), DropoutStream::off());
            let micro_batches = [of(0), of(1)];
            let lr = 2e-3 / (1.0 + step as f64);
            let stepped = cuda.step(&train, &micro_batches, &mut there, lr).unwrap();
            let expected = cpu.step(&micro_batches, &mut here, lr).unwrap();
            assert!(stepped.finite);
            assert!(
                (stepped.loss - expected.loss).abs() < tolerance,
                "{step}: {stepped:?} {expected:?}"
            );
            assert!((stepped.grad_norm / expected.grad_norm - 1.0).abs() < 10.0 * tolerance);
            assert_eq!(cuda.replays(), ![0, 5].contains(&step), "{step}");
            if step == 4 {
                // Moves the activations, so that what was recorded must go.
                let batch = ids(&config, 9, 40, 99);
                let evaluate = shape(9, Purpose::Evaluate);
                let loss = cuda.loss(&evaluate, tokens(&batch, 9)).unwrap();
                let expected = cpu.loss(tokens(&batch, 9)).unwrap();
                assert!((loss - expected).abs() < tolerance);
            }
        }
        assert_eq!(there.updates(), 10);
        let mut weights = vec![0.0; cpu.params().elements()];
        cuda.weights(&mut weights).unwrap();
        // Against how far they have come; all in all, since what has no gradient (biases of keys) moves with the rounding.
        let apart = |a: &[f32], b: &[f32]| {
            let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let off = apart(&weights, cpu.params().values());
        let way = apart(start.values(), cpu.params().values());
        assert!(off < drift * way, "{off:e} of {way:e}");
    }
}

#[test]
fn what_is_not_finite_changes_nothing() {
    if !there_is_a_compiler() {
        return;
    }
    let config = model(Family::Gpt2, true, 0.0);
    let mut params = shaken(&config);
    params.values_mut()[0] = f32::NAN;
    let mut optimizer = AdamW::new(AdamWConfig::default(), params.specs());
    let purpose = Purpose::Train { recompute: false };
    let program = program(&config, 1, 20, Precision::F32, purpose);
    let mut cuda = cuda(&config, &params, Precision::F32);
    let batch = [vec![0; 20], vec![1; 20]];
    let of = (tokens(&batch, 1), DropoutStream::off());
    let stepped = cuda.step(&program, &[of], &mut optimizer, 1e-2).unwrap();
    assert!(!stepped.finite && optimizer.updates() == 0);
    let mut weights = vec![0.0; params.elements()];
    cuda.weights(&mut weights).unwrap();
    assert_eq!(weights[1..], params.values()[1..]);
}

#[test]
fn a_micro_batch_without_room_says_how_many_would_fit() {
    if !there_is_a_compiler() {
        return;
    }
    let config = model(Family::Gpt2, true, 0.0);
    let params = shaken(&config);
    let on = |room| {
        let mut device = Emulated::new(&config, Precision::F32);
        device.room = room;
        let params = shaken(&config);
        Engine::on_cuda(Box::new(device), &config, params, Precision::F32, false).unwrap()
    };
    on(None).check_room(1000, 100).unwrap();
    let train = Purpose::Train { recompute: false };
    let arena = |rows| program(&config, rows, 100, Precision::F32, train).bytes;
    // Room for seven, and for the gradients and moments of all parameters.
    let room = arena(7) + (arena(8) - arena(7)) / 2 + 12 * params.elements() + 2 * SPARE;
    let mut engine = on(Some(room - SPARE + (1 << 20)));
    engine.check_room(7, 100).unwrap();
    let e = engine.check_room(64, 100).unwrap_err().to_string();
    assert!(
        e.contains("micro-batches of 64 sequences of 100 tokens"),
        "{e}"
    );
    let e = on(Some(1 << 20))
        .check_room(64, 100)
        .unwrap_err()
        .to_string();
    assert!(e.contains("not even one fits"), "{e}");
}

#[test]
fn memory_is_foretold_and_told() {
    if !there_is_a_compiler() {
        return;
    }
    let config = model(Family::Gpt2, true, 0.0);
    let params = shaken(&config);
    let mut optimizer = AdamW::new(AdamWConfig::default(), params.specs());
    let device = Box::new(Emulated::new(&config, Precision::F32));
    let mut engine = Engine::on_cuda(device, &config, params, Precision::F32, false).unwrap();
    let foretold = engine.will_take(2, 40).unwrap();
    let before = engine.cuda().unwrap().taken();
    let batch = ids(&config, 2, 40, 1);
    let of = (tokens(&batch, 2), DropoutStream::off());
    engine.step(&[of], &mut optimizer, 1e-3).unwrap();
    let device = engine.cuda().unwrap();
    assert_eq!(device.name(), "emulated");
    let taken = device.taken();
    assert!(before.peak < taken.peak && taken.allocated <= taken.peak);
    // Foretold with what libraries and tokens may take.
    assert!(
        taken.peak <= foretold && foretold <= taken.peak + SPARE,
        "{foretold} {taken:?}"
    );
}
