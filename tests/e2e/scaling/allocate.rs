//! `lehr scaling allocate`.

use super::*;

#[test]
fn a_budget_becomes_a_recipe() {
    let dir = TempDir::new().unwrap();
    let table = isoflop_table(&dir);
    let recipe = dir.path().join("next.toml");
    let arguments = [
        "allocate",
        text(&table),
        "--flops",
        "1e18",
        "--bootstrap",
        "50",
        "--vocab-size",
        "4096",
        "--recipe",
        text(&recipe),
    ];
    let out = said(&arguments);
    assert!(
        out.lines()
            .all(|l| l.chars().count() <= 80 || l.starts_with("wrote")),
        "{out}"
    );
    let out = json(&arguments);
    near(&out["law"]["e"], 1.7, 1e-3);
    let found = &out["allocation"];
    near(&found["params"]["value"], optimum(1e18), 1e-3);
    assert!(found["loss"]["low"].as_f64() <= found["loss"]["value"].as_f64());
    let model = &found["architecture"]["model"];
    let of = |key: &str| model[key].as_u64().unwrap();
    assert_eq!(of("n_head") * of("head_dim"), of("n_embd"));
    near(&found["architecture"]["params"], optimum(1e18), 0.2);
    // The trainer's own reading of it.
    let mut flops = Command::new(env!("CARGO_BIN_EXE_lehr"));
    let output = flops
        .args(["flops", "--config", text(&recipe), "--json"])
        .assert()
        .success();
    let itemised: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let params = itemised.to_string();
    let total = format!(
        "{:.0}",
        found["architecture"]["total_params"].as_f64().unwrap()
    );
    assert!(params.contains(&total), "{total} is not in {params}");
}

#[test]
fn a_budget_that_makes_no_sense_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let table = isoflop_table(&dir);
    let recipe = dir.path().join("next.toml");
    for (flops, part) in [
        ("0", "--flops"),
        ("-1", "--flops"),
        ("inf", "--flops"),
        ("1e3", "1.000e3"),
    ] {
        let error = refused(&[
            "allocate",
            text(&table),
            "--flops",
            flops,
            "--bootstrap",
            "0",
            "--recipe",
            text(&recipe),
        ]);
        assert!(error.contains(part), "{error}");
    }
    assert!(!recipe.exists());
}

/// What the models were made like is read from the suite's runs, and the FLOPs are theirs.
#[test]
fn a_suites_models_say_what_the_next_is_made_like() {
    let dir = TempDir::new().unwrap();
    let suite = dir.path().join("suite");
    let run = suite.join("runs/a");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(
        run.join("run.toml"),
        "[run]\nvocab_size = 2048\n[model]\ntied = false\n[train]\nsequence_length = 256\n",
    )
    .unwrap();
    // Executed FLOPs, a quarter above 6·N·D.
    let mut rows = String::from("params,tokens,flops,loss\n");
    for c in [1e17, 1e18, 1e19, 1e20] {
        for i in 0..9 {
            let n = optimum(c) * 1.6f64.powf(f64::from(i) - 3.7);
            let d = c / (6.0 * n);
            writeln!(rows, "{n:e},{d:e},{:e},{:.12}", 1.25 * c, loss(n, d)).unwrap();
        }
    }
    std::fs::write(suite.join("results.csv"), rows).unwrap();
    let arguments = [
        "allocate",
        text(&suite),
        "--flops",
        "1.25e18",
        "--bootstrap",
        "0",
    ];
    let out = json(&arguments);
    let found = &out["allocation"];
    near(&found["params"]["value"], optimum(1e18), 1e-3);
    assert_eq!(found["request"]["vocab_size"], 2048);
    assert_eq!(found["request"]["sequence_length"], 256);
    assert_eq!(found["request"]["tied"], false);
    assert_eq!(found["request"]["counted"], "with_head");
    assert_eq!(found["request"]["flops_ratio"], 1.25);
    let spent = found["architecture"]["flops"].as_f64().unwrap();
    assert!((spent / 1.25e18).ln().abs() < 0.1, "{spent}");
    let out = said(&arguments);
    assert!(out.contains("1.25 times 6·N·D"), "{out}");
    // The parametric row answers in the same FLOPs as the isoFLOP rows.
    let out = json(&[text(&suite), "--at", "1.25e18", "--bootstrap", "0"]);
    near(&out["parametric"]["n"][0], optimum(1e18), 1e-3);
    near(&out["isoflop"]["parabola"]["n"][0], optimum(1e18), 0.1);
}
