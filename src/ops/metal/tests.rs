//! The kernels against those of the processor and against the compositions, emulated; and the text of the kernels.

use super::SOURCES;
use crate::ops::check::random;
use candle_core::{DType, Device, Result, Tensor};

/// The tokens of the kernels, without comments and directives.
fn tokens() -> Vec<String> {
    let text = SOURCES.join("\n");
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let code: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
    let mut tokens = vec![String::new()];
    for c in code.join("\n").chars() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        let last = tokens.last_mut().unwrap();
        let goes_on = word
            && last
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        match (c.is_whitespace(), goes_on) {
            (true, _) => tokens.push(String::new()),
            (_, true) => last.push(c),
            (_, false) => tokens.push(c.to_string()),
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// What Metal's compiler refuses and a compiler of C++ does not see.
#[test]
fn pointers_say_where_they_point() {
    let tokens = tokens();
    let types = ["float", "uint", "ulong", "ushort", "Softmax", "Factors"];
    let spaces = ["device", "constant", "threadgroup", "thread"];
    let mut pointers = 0;
    for (i, token) in tokens.iter().enumerate() {
        if (token == "*" || token == "&") && types.contains(&tokens[i - 1].as_str()) {
            let begin = tokens[..i]
                .iter()
                .rposition(|t| "(,;{}".contains(t.as_str()))
                .unwrap();
            let said = &tokens[begin..i];
            assert!(
                said.iter().any(|t| spaces.contains(&t.as_str())),
                "{said:?}"
            );
            pointers += 1;
        }
        // No f64, nothing that outlives a call, no closures.
        for word in ["double", "auto", "long", "new"] {
            assert_ne!(token, word);
        }
        assert!(token != "static" || tokens[i + 1] == "inline");
    }
    assert!(pointers > 40, "{pointers}");
}

/// Arguments are bound by their numbers.
#[test]
fn parameters_are_numbered_in_their_order() {
    let tokens = tokens();
    for kernel in tokens.split(|t| t == "KERNEL").skip(1) {
        let end = kernel.iter().position(|t| t == "{").unwrap();
        let parameters = kernel[..end].join(" ");
        let mut parts: Vec<&str> = parameters.split(" , ").collect();
        assert_eq!(parts.pop(), Some("PLACE )"), "{parameters}");
        for (i, part) in parts.iter().enumerate() {
            assert!(part.ends_with(&format!("[ [ buffer ( {i} ) ] ]")), "{part}");
        }
    }
}

#[cfg(target_os = "linux")]
mod emulated {
    use super::super::emulated::{names, on};
    use super::super::{adamw, loss::in_chunks};
    use super::*;
    use crate::kernels::emulated::there_is_a_compiler;
    use crate::kernels::update::{self, Factors};
    use crate::kernels::{self, norm::Norm};
    use crate::ops::check::check;
    use crate::ops::{self, RopeTable};

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Differences of at most `tolerance` of the largest number.
    #[track_caller]
    fn close(what: &str, got: &Tensor, expected: &[f32], tolerance: f32) {
        let got = numbers(got);
        assert_eq!(got.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        for (i, (a, b)) in got.iter().zip(expected).enumerate() {
            let off = (a - b).abs();
            assert!(off <= tolerance * largest, "{what}: {a} at {i}, not {b}");
        }
    }

    #[test]
    fn norms_agree_with_the_compositions() {
        if !there_is_a_compiler() {
            return;
        }
        for shape in [[1, 1, 3], [1, 1, 40], [2, 67, 192], [3, 11, 333]] {
            let inputs = [
                random(shape.as_slice(), 1),
                random(shape[2], 2),
                random(shape[2], 3),
            ];
            check(
                &inputs[..2],
                |t| on(|| ops::rms_norm(&t[0], &t[1], 1e-5)),
                |t| ops::rms_norm::composition::rms_norm(&t[0], &t[1], 1e-5),
            );
            check(
                &inputs,
                |t| on(|| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5)),
                |t| ops::layer_norm::composition::layer_norm(&t[0], &t[1], &t[2], 1e-5),
            );
        }
    }

    #[test]
    fn rotations_agree_with_the_composition() {
        if !there_is_a_compiler() {
            return;
        }
        for shape in [[1, 1, 1, 2], [2, 35, 3, 40], [1, 64, 2, 6]] {
            let table = RopeTable::new(64, shape[3], 10_000.0, &Device::Cpu).unwrap();
            check(
                &[random(shape.as_slice(), 1)],
                |t| on(|| ops::rope(&t[0], &table)),
                |t| ops::rope::composition::rope(&t[0], &table),
            );
        }
    }

    #[test]
    fn swiglu_agrees_with_the_composition() {
        if !there_is_a_compiler() {
            return;
        }
        for (shape, size) in [([1, 1], 1.0), ([3, 40], 4.0), ([29, 130], 30.0)] {
            let gate = (random(shape.as_slice(), 1) * size).unwrap();
            check(
                &[gate, random(shape.as_slice(), 2)],
                |t| on(|| ops::swiglu(&t[0], &t[1])),
                |t| ops::swiglu::composition::swiglu(&t[0], &t[1]),
            );
        }
    }

    fn targets(rows: usize, vocab: usize) -> Tensor {
        let ids = (0..rows).map(|i| ((i * i * 5 + 1) % vocab) as u32);
        Tensor::from_vec(ids.collect::<Vec<_>>(), rows, &Device::Cpu).unwrap()
    }

    #[test]
    fn losses_agree_with_the_composition() {
        if !there_is_a_compiler() {
            return;
        }
        for (rows, width, vocab) in [(1, 3, 2), (67, 40, 65), (9, 4, 3_001)] {
            let targets = targets(rows, vocab);
            let h = (random((rows, width), 1) * 4.0).unwrap();
            let inputs = [h, random((vocab, width), 2)];
            let composed = |t: &[Tensor]| composed_loss(&t[0], &t[1], &targets);
            let whole = |t: &[Tensor]| on(|| ops::linear_cross_entropy(&t[0], &t[1], &targets));
            check(&inputs, whole, composed);
            // Chunks of 1 and 7 rows, the last of them shorter.
            for chunk in [1, 7] {
                let f32_only = |t: &[Tensor]| match t[0].dtype() {
                    DType::F32 => in_chunks(chunk, &t[0], &t[1], &targets),
                    _ => composed(t),
                };
                check(&inputs, f32_only, composed);
            }
        }
    }

    fn composed_loss(h: &Tensor, weight: &Tensor, targets: &Tensor) -> Result<Tensor> {
        ops::linear_cross_entropy::composition::linear_cross_entropy(h, weight, targets)
    }

    /// In place, row by row as the processor's kernel has it.
    #[test]
    fn gradients_of_logits_are_the_processors() {
        use super::super::launch::{Argument::*, Launch, launch};
        if !there_is_a_compiler() {
            return;
        }
        let (rows, vocab) = (5, 1_234);
        let logits = (random((rows, vocab), 1) * 20.0).unwrap();
        let targets = targets(rows, vocab);
        let ids: Vec<u32> = targets.to_vec1().unwrap();
        for train in [true, false] {
            let given = (&logits + 0.0).unwrap();
            let losses = Tensor::full(f32::NAN, rows, &Device::Cpu).unwrap();
            let run = Launch {
                kernel: "cross_entropy",
                groups: rows,
                arguments: vec![
                    Writes(&given),
                    Reads(&targets),
                    0.2f32.into(),
                    train.into(),
                    Writes(&losses),
                    (vocab as u32).into(),
                ],
            };
            launch(&Device::Cpu, &run).unwrap();
            let (mut gradient, mut expected) = (numbers(&logits), vec![0.0; rows]);
            kernels::loss::cross_entropy(&mut gradient, &ids, vocab, Some(0.2), &mut expected);
            close("losses", &losses, &expected, 1e-6);
            match train {
                true => close("gradient", &given, &gradient, 1e-6),
                false => assert_eq!(numbers(&given), numbers(&logits)),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_not_a_number() {
        if !there_is_a_compiler() {
            return;
        }
        let loss = |h: &Tensor, targets: &[u32]| {
            let targets = Tensor::new(targets, &Device::Cpu).unwrap();
            let weight = random((300, 4), 2);
            let loss = on(|| ops::linear_cross_entropy(h, &weight, &targets)).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        let h = random((2, 4), 1);
        assert!(loss(&h, &[299, 0]).is_finite());
        for beyond in [[299, 300], [300, 299]] {
            assert!(loss(&h, &beyond).is_nan(), "{beyond:?}");
        }
        for diverged in [f64::NAN, f64::INFINITY] {
            assert!(loss(&(&h * diverged).unwrap(), &[299, 0]).is_nan());
        }
        // One logit of many, which one thread alone has seen.
        let mut weight = random((200, 4), 2)
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        weight[4 * 5] = f32::NAN;
        let weight = Tensor::from_vec(weight, (200, 4), &Device::Cpu).unwrap();
        let targets = Tensor::new(&[7u32, 0], &Device::Cpu).unwrap();
        let loss = on(|| ops::linear_cross_entropy(&h, &weight, &targets)).unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_nan());
    }

    /// Outputs, what is kept for the way back, and gradients.
    #[test]
    fn norms_are_the_processors() {
        use super::super::norm::Norm as Fused;
        if !there_is_a_compiler() {
            return;
        }
        let (rows, width) = (71, 77);
        let x = random((rows, width), 1);
        let (gain, bias) = (random(width, 2), random(width, 3));
        let dy = random((rows, width), 4);
        let [x_of, gain_of, bias_of, dy_of] = [&x, &gain, &bias, &dy].map(numbers);
        for biased in [true, false] {
            let fused = Fused {
                x: x.clone(),
                gain: gain.clone(),
                bias: biased.then(|| bias.clone()),
                eps: 1e-3,
            };
            let (y, stats) = fused.forward().unwrap();
            let (dx, dgain, dbias) = fused.backward(&stats, &dy).unwrap();
            let norm = Norm {
                gain: &gain_of,
                bias: biased.then_some(&bias_of),
                eps: 1e-3,
            };
            let (mut out, mut kept) = (vec![0.0; rows * width], vec![0.0; 2 * rows]);
            kernels::norm::forward(norm, &x_of, &mut out, &mut kept);
            close("y", &y, &out, 1e-6);
            close("stats", &stats, &kept, 1e-6);
            let blocks = kernels::reduce::blocks(rows);
            let mut partials = vec![0.0; blocks * 2 * width];
            let mut sums = vec![0.0; 2 * width];
            kernels::norm::backward(norm, &x_of, &kept, &dy_of, &mut out, false, &mut partials);
            kernels::reduce::sum_partials(&partials, 2 * width, &mut sums, false);
            close("dx", &dx, &out, 1e-6);
            close("dgain", &dgain, &sums[..width], 1e-6);
            match dbias {
                Some(dbias) => close("dbias", &dbias, &sums[width..], 1e-6),
                None => assert!(!biased),
            }
        }
    }

    #[test]
    fn updates_are_the_processors() {
        if !there_is_a_compiler() {
            return;
        }
        let f = Factors {
            beta1: 0.9,
            rest1: 0.1,
            beta2: 0.95,
            rest2: 0.05,
            clip: 0.7,
            decay: 0.99,
            step_size: 0.01,
            inverse_root_correction: 3.0,
            eps: 1e-4,
        };
        for shape in [(1, 1), (17, 61), (1, 512)] {
            let [p, m, g] = [1, 2, 3].map(|seed| random(shape, seed));
            let v = random(shape, 4).sqr().unwrap();
            let [mut p_of, mut m_of, mut v_of, g_of] = [&p, &m, &v, &g].map(numbers);
            // A gradient as a transposed product leaves it.
            let g = g.t().unwrap().contiguous().unwrap().t().unwrap();
            for _ in 0..3 {
                adamw(f, &p, &m, &v, &g).unwrap();
                update::adamw(f, &mut p_of, &mut m_of, &mut v_of, &g_of);
            }
            close("p", &p, &p_of, 1e-6);
            close("m", &m, &m_of, 1e-6);
            close("v", &v, &v_of, 1e-6);
        }
    }

    #[test]
    fn every_kernel_is_launched_by_some_operation() {
        let text = SOURCES.join("\n");
        let found: Vec<&str> = names(&text).collect();
        let rust = [
            include_str!("norm.rs"),
            include_str!("rope.rs"),
            include_str!("swiglu.rs"),
            include_str!("loss.rs"),
            include_str!("update.rs"),
        ]
        .concat();
        assert_eq!(found.len(), 8);
        for name in found {
            assert!(rust.contains(&format!("kernel: \"{name}\"")), "{name}");
        }
    }
}
