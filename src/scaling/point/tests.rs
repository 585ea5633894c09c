use super::*;
use proptest::prelude::*;

fn points(text: &str) -> Points {
    parse(text, "t", &Columns::default()).unwrap()
}

fn error(text: &str) -> String {
    parse(text, "t.csv", &Columns::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_missing_one_of_three_is_computed_and_said() {
    let read = points("Params_N;FLOPs;Loss\n1e8;1.2e18;3.5\n");
    assert_eq!(read.points[0].tokens, 1.2e18 / 6e8);
    assert_eq!(read.notes, ["D computed from C = 6·N·D"]);
    let read = points("N,D,L\n1e8,2e9,3.5\n2e8,2e9,3.3");
    assert_eq!(read.points[1].flops, 6.0 * 2e8 * 2e9);
    let read = points("[{\"tokens\":2e9,\"compute_budget\":1.2e18,\"final_loss\":3.5}]");
    assert_eq!(read.points[0].params, 1e8);
    // An empty cell counts as missing, too.
    let read = points("N,D,C,L\n1e8,2e9,,3.5\n2e8,,2.4e18,3.3");
    assert_eq!(read.points[0].flops, 1.2e18);
    assert_eq!(read.points[1].tokens, 2e9);
    assert_eq!(read.notes.len(), 2, "{:?}", read.notes);
}

#[test]
fn flagged_rows_are_left_out_and_counted() {
    let read =
        points("N,D,loss,outlier_excluded\n1e8,2e9,3.5,0\n1e8,3e9,9,1\n1e8,4e9,3.3,\n1,1,1,yes\n");
    assert_eq!(read.points.len(), 2);
    assert!(
        read.notes[0].starts_with("2 rows flagged in column outlier_excluded"),
        "{:?}",
        read.notes
    );
    assert!(error("N,D,L,exclude\n1,1,1,1").contains("no points"));
}

#[test]
fn sizes_with_suffixes() {
    let read = points("N,D,L\n3.00M,1.2B,3.5\n70B,2 T,1.9\n");
    assert_eq!((read.points[0].params, read.points[0].tokens), (3e6, 1.2e9));
    assert_eq!((read.points[1].params, read.points[1].tokens), (7e10, 2e12));
    assert!(error("N,D,L\nM,2e9,3\n").contains("not a positive number"));
}

#[test]
fn json_of_three_shapes() {
    let list = r#"[{"N":1e8,"D":2e9,"loss":3.5,"model":"a"},{"N":2e8,"D":2e9,"loss":3.25}]"#;
    let want = points(list).points;
    assert_eq!(want[0].size.as_deref(), Some("a"));
    let wrapped = format!(r#"{{"made":"today","runs":{list}}}"#);
    assert_eq!(points(&wrapped).points, want);
    let columns = r#"{"N":[1e8,2e8],"D":[2e9,2e9],"loss":[3.5,3.25],"model":["a",null]}"#;
    assert_eq!(points(columns).points, want);
}

#[test]
fn faults_are_named_by_file_line_and_column() {
    for (text, words) in [
        ("N,D,L\n1e8,2e9,nan\n", "t.csv, line 2, column L"),
        ("N,D,L\n\n1e8,-1,3\n", "t.csv, line 3, column D"),
        ("N,D,L\n1e8,many,3\n", "\"many\" is not a positive number"),
        ("N,D,L\n1e8,2e9\n", "the loss is missing"),
        ("N,D,L\n1e8,,3\n", "more than one are empty"),
        ("N,D,L\n3,2e9,3\n", "line 2: 3 parameters, fewer than any"),
        (
            "[{\"N\":1e8,\"D\":2e9,\"L\":NaN}]",
            "NaN is no number of JSON",
        ),
        ("N,D,L\n1e200,1e200,3\n", "no run that there could be"),
        ("a,b,loss\n1,2,3\n", "the columns a, b, loss; wanted two of"),
        ("N,D,x\n1,2,3\n", "wanted a loss"),
        ("N,D,L\n1,2,3,4\n", "4 fields under a header of 3"),
        ("1,2,3\n1,2,3\n", "there is no header"),
        ("N,D,L\n", "holds no points"),
        ("", "is empty"),
        ("{\"N\":[1],\"D\":[1,2]}", "column N has 1"),
        ("[1,2]", "wanted a list of objects"),
        ("{", "not JSON"),
        ("[{\"N\":1,\"D\":2,\"L\":[3]}]", "entry 1, column L"),
    ] {
        let message = error(text);
        assert!(message.contains(words), "{text:?}: {message}");
    }
}

#[test]
fn named_columns_go_before_known_ones() {
    let columns = Columns {
        loss: Some("Paloma".into()),
        ..Columns::default()
    };
    let text = "N,D,loss,paloma\n1e8,2e9,3.5,4.5\n";
    assert_eq!(parse(text, "t", &columns).unwrap().points[0].loss, 4.5);
    let columns = Columns {
        tokens: Some("words".into()),
        ..Columns::default()
    };
    let message = parse(text, "t", &columns).unwrap_err().to_string();
    assert!(message.contains("no column words"), "{message}");
    let both = points("N,D,loss,val_loss\n1e8,2e9,3.5,4.5\n");
    assert_eq!(both.points[0].loss, 4.5);
    assert_eq!(both.notes[0], "loss read from column val_loss, not loss");
}

#[test]
fn a_suites_directory() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("results.csv")
    );
    let text = "size,seed,kind,params,tokens,flops,loss,steps,peak_lr,run\n\
                1M,7,cooldown,1000000,20000000,1.5e14,4.5,100,1e-3,runs/a\n";
    std::fs::write(dir.path().join("results.csv"), text).unwrap();
    let read = read(dir.path()).unwrap();
    assert_eq!(
        read.points,
        [Point {
            params: 1e6,
            tokens: 2e7,
            flops: 1.5e14,
            loss: 4.5,
            size: Some("1M".into()),
            seed: Some(7),
            kind: Some("cooldown".into()),
        }]
    );
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    let told = counted_otherwise(&read.points).unwrap();
    assert!(told.contains("are 1.25 times 6·N·D"), "{told}");
    assert_eq!(flops_ratio(&read.points), 1.25);
    // Within a tenth it is how figures were read off plots.
    let near = [Point {
        flops: 1.25e14,
        ..read.points[0].clone()
    }];
    assert_eq!(flops_ratio(&near), 1.0);
}

#[test]
fn chinchillas_points() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/curves/chinchilla_epoch.csv");
    if !path.exists() {
        println!("skipped: {} not found", path.display());
        return;
    }
    let read = read(&path).unwrap();
    assert_eq!(read.points.len(), 240);
    assert_eq!(
        read.notes,
        ["5 rows flagged in column outlier_excluded_by_epoch left out"]
    );
}

fn any_point() -> impl Strategy<Value = Point> {
    let size = proptest::option::of("[a-z0-9][a-z0-9\" ,;]{0,6}[a-z]");
    let ranges = (1e3..1e12f64, 1e3..1e13f64, 1e6..1e25f64, 0.01..20.0f64);
    (ranges, size, proptest::option::of(any::<u64>())).prop_map(|((n, d, c, l), size, seed)| {
        Point {
            params: n,
            tokens: d,
            flops: c,
            loss: l,
            size,
            seed,
            kind: None,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(all in proptest::collection::vec(any_point(), 1..20)) {
        let mut csv = "size,seed,kind,params,tokens,flops,loss,steps,peak_lr,run\n".to_string();
        for p in &all {
            let size = p.size.as_ref().map_or(String::new(), |s| format!("\"{}\"", s.replace('"', "\"\"")));
            let seed = p.seed.map_or(String::new(), |s| s.to_string());
            csv += &format!("{size},{seed},,{},{},{},{},1,1,r\n", p.params, p.tokens, p.flops, p.loss);
        }
        prop_assert_eq!(&points(&csv).points, &all);
        let json = serde_json::to_string(&all).unwrap();
        prop_assert_eq!(&points(&json).points, &all);
    }

    #[test]
    fn junk_never_panics(text in "\\PC{0,80}", cells in "[-0-9NDCL,;\t\n\"e.#{}\\[\\]:]{0,120}") {
        let _ = parse(&text, "t", &Columns::default());
        let _ = parse(&cells, "t", &Columns::default());
        let _ = parse(&format!("N,D,L\n{cells}"), "t", &Columns::default());
        let _ = parse(&format!("[{cells}]"), "t", &Columns::default());
    }
}
