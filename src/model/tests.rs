use super::config::tests::tiny;
use super::*;
use candle_core::DType;
use candle_nn::VarBuilder;
use candle_transformers::models::llama as oracle;

fn every_model() -> Vec<ModelConfig> {
    let mut list = Vec::new();
    for family in [Family::Gpt2, Family::Llama] {
        for tied in [true, false] {
            list.push(tiny(family, tied));
        }
    }
    list
}

/// Parameters away from their symmetric starts (gains of 1, biases of 0), so that a gradient that
/// is wrong only there shows.
fn shaken(config: &ModelConfig) -> Params {
    let mut params = Params::init(LanguageModel::specs(config), 3);
    for (i, x) in params.values_mut().iter_mut().enumerate() {
        *x += 0.1 * (i as f32 * 0.7).sin();
    }
    params
}

fn batch(config: &ModelConfig) -> (Vec<u32>, Vec<u32>) {
    let v = config.vocab_size as u32;
    // Every id occurs, so that every row of the tables is used.
    let ids: Vec<u32> = (0..17u32).map(|i| (i * 5 + i * i) % v).collect();
    let mut tokens: Vec<u32> = ids[..16].to_vec();
    tokens[0] = 1;
    (tokens, ids[1..].to_vec())
}

fn loss(model: &LanguageModel, config: &ModelConfig, dropout: &DropoutStream) -> Tensor {
    let (tokens, targets) = batch(config);
    model.loss(&tokens, &targets, 2, dropout.clone()).unwrap()
}

fn gradients(config: &ModelConfig, params: &Params, dropout: &DropoutStream) -> Vec<Vec<f32>> {
    let (model, vars) = LanguageModel::for_training(config, params, &Device::Cpu).unwrap();
    let store = loss(&model, config, dropout).backward().unwrap();
    vars.iter()
        .zip(params.specs())
        .map(|(var, spec)| {
            let grad = store
                .get(var.as_tensor())
                .unwrap_or_else(|| panic!("{:?}: no gradient for {}", config.family, spec.name));
            grad.flatten_all().unwrap().to_vec1().unwrap()
        })
        .collect()
}

#[test]
fn every_parameter_gets_a_gradient_that_finite_differences_confirm() {
    for mut config in every_model() {
        for p in [0.0, 0.2] {
            config.dropout = p;
            let dropout = DropoutStream::new(p, 1, 2, 3);
            let mut params = shaken(&config);
            let grads = gradients(&config, &params, &dropout);
            for (spec, grad) in LanguageModel::specs(&config).iter().zip(&grads) {
                let name = &spec.name;
                let largest = grad.iter().fold(0f32, |m, g| m.max(g.abs()));
                assert!(
                    largest > 1e-6,
                    "{:?}: {name} gets no gradient",
                    config.family
                );
                check_direction(&mut params, &config, &dropout, name, grad);
            }
        }
    }
}

/// Compares the directional derivative along the gradient with a central difference.
fn check_direction(
    params: &mut Params,
    config: &ModelConfig,
    dropout: &DropoutStream,
    name: &str,
    grad: &[f32],
) {
    let norm = grad.iter().map(|g| (*g as f64).powi(2)).sum::<f64>().sqrt();
    let start = params.get(name).unwrap().values.to_vec();
    let mut at = |h: f64| {
        let values = params.get_mut(name).unwrap();
        for ((value, start), g) in values.iter_mut().zip(&start).zip(grad) {
            *value = start + (h * f64::from(*g) / norm) as f32;
        }
        let reader = LanguageModel::for_inference(config, params, &Device::Cpu).unwrap();
        f64::from(loss(&reader, config, dropout).to_scalar::<f32>().unwrap())
    };
    // f32 losses carry about 1e-7 of noise; steps of 1e-2 leave 1e-5 of it in the quotient, and
    // Richardson's combination takes out the h² term.
    let mut quotient = |h: f64| (at(h) - at(-h)) / (2.0 * h);
    let slope = (4.0 * quotient(0.01) - quotient(0.02)) / 3.0;
    params.get_mut(name).unwrap().copy_from_slice(&start);
    assert!(
        (slope - norm).abs() < 2e-4 + 5e-3 * norm,
        "{:?}: {name} has gradient {norm} and slope {slope}",
        config.family
    );
}

#[test]
fn recording_does_not_change_the_loss() {
    for config in every_model() {
        let params = shaken(&config);
        let off = DropoutStream::off();
        let (recorded, _) = LanguageModel::for_training(&config, &params, &Device::Cpu).unwrap();
        let reader = LanguageModel::for_inference(&config, &params, &Device::Cpu).unwrap();
        let of = |model| loss(model, &config, &off).to_scalar::<f32>().unwrap();
        assert!((of(&recorded) - of(&reader)).abs() < 1e-6);
    }
}

#[test]
fn the_future_does_not_reach_the_past() {
    for config in every_model() {
        let params = shaken(&config);
        let model = LanguageModel::for_inference(&config, &params, &Device::Cpu).unwrap();
        let logits = |ids: &[u32]| -> Vec<Vec<f32>> {
            model
                .logits(ids, 1)
                .unwrap()
                .squeeze(0)
                .unwrap()
                .to_vec2()
                .unwrap()
        };
        let (a, b) = (logits(&[1, 2, 3, 4, 5]), logits(&[1, 2, 3, 9, 9]));
        for t in 0..3 {
            for (x, y) in a[t].iter().zip(&b[t]) {
                assert!((x - y).abs() < 1e-6);
            }
        }
        assert_ne!(a[3], b[3]);
        let last: Vec<f32> = model
            .next_logits(&[1, 2, 3, 4, 5])
            .unwrap()
            .to_vec1()
            .unwrap();
        for (x, y) in a[4].iter().zip(&last) {
            assert!((x - y).abs() < 1e-5);
        }
    }
}

/// candle-transformers' Llama reads what we write, and agrees.
#[test]
fn llama_agrees_with_candle_transformers_through_our_files() {
    for tied in [true, false] {
        let mut config = tiny(Family::Llama, tied);
        config.n_head = 4;
        config.n_kv_head = 2;
        config.n_embd = 32;
        config.head_dim = 8;
        let params = shaken(&config);
        let dir = tempfile::tempdir().unwrap();
        hf::write_params(&dir.path().join(hf::WEIGHTS_FILE), &params).unwrap();
        let json = hf::config_json(&config, Some(0));

        let theirs: oracle::LlamaConfig = serde_json::from_value(json).unwrap();
        let theirs = theirs.into_config(false);
        let file = dir.path().join(hf::WEIGHTS_FILE);
        // SAFETY: the file is ours and nobody writes to it while it is mapped.
        let vb = unsafe {
            VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &Device::Cpu).unwrap()
        };
        let llama = oracle::Llama::load(vb, &theirs).unwrap();
        let ours = LanguageModel::for_inference(&config, &params, &Device::Cpu).unwrap();
        let ids = [3u32, 1, 4, 1, 5, 9, 2, 6];
        for n in 1..=ids.len() {
            let mut cache = oracle::Cache::new(false, DType::F32, &theirs, &Device::Cpu).unwrap();
            let x = Tensor::new(&ids[..n], &Device::Cpu)
                .unwrap()
                .unsqueeze(0)
                .unwrap();
            let expected = llama
                .forward(&x, 0, &mut cache)
                .unwrap()
                .squeeze(0)
                .unwrap();
            let expected: Vec<f32> = expected.to_vec1().unwrap();
            let got: Vec<f32> = ours.next_logits(&ids[..n]).unwrap().to_vec1().unwrap();
            for (x, y) in got.iter().zip(&expected) {
                assert!((x - y).abs() < 1e-5, "{x} {y}");
            }
        }
    }
}

#[test]
fn directories_round_trip_and_damage_is_named() {
    for config in every_model() {
        let params = shaken(&config);
        let dir = tempfile::tempdir().unwrap();
        let json = hf::config_json(&config, None).to_string();
        std::fs::write(dir.path().join(hf::CONFIG_FILE), json).unwrap();
        let weights = dir.path().join(hf::WEIGHTS_FILE);
        hf::write_params(&weights, &params).unwrap();
        let read = hf::read_config(dir.path()).unwrap();
        assert_eq!(read, config);
        let again = hf::read_params(dir.path(), &read).unwrap();
        assert_eq!(params.values(), again.values());

        let mut other = read.clone();
        other.n_layer += 1;
        let error = |c: &ModelConfig| hf::read_params(dir.path(), c).err().unwrap().to_string();
        assert!(error(&other).contains("is missing"), "{}", error(&other));
        other.n_layer -= 2;
        assert!(
            error(&other).contains("does not account for"),
            "{}",
            error(&other)
        );
        let whole = std::fs::read(&weights).unwrap();
        std::fs::write(&weights, &whole[..whole.len() - 5]).unwrap();
        assert!(
            error(&read).contains("cannot be read as safetensors"),
            "{}",
            error(&read)
        );
    }
}

#[test]
fn dropout_masks_differ_by_site_step_and_micro_batch_and_repeat() {
    let keys = |seed, step, micro| -> Vec<u64> {
        let mut stream = DropoutStream::new(0.1, seed, step, micro);
        (0..4).map(|_| stream.next().unwrap().key).collect()
    };
    let mut all = [keys(0, 0, 0), keys(1, 0, 0), keys(0, 1, 0), keys(0, 0, 1)].concat();
    assert_eq!(keys(0, 0, 0), keys(0, 0, 0));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 16);
}
