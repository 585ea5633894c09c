use super::*;
use crate::report::run::{Run, tell_apart};
use proptest::prelude::*;
use std::path::Path;

const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=\"x\">'&\u{202e}";

fn write_run(dir: &Path, steps: u64, text: &str) {
    std::fs::create_dir_all(dir).unwrap();
    let quoted = serde_json::to_string(text).unwrap();
    let config = format!(
        "[run]\nparameters = 1000\ntokens = 6400\ntrain_flops = 6.4e6\ndata_fingerprint = \"d\"\ndevice = {quoted}\n\
         [data]\npath = {quoted}\n[model]\nfamily = {quoted}\n[schedule]\nscheduler = \"cosine:final=0.1\"\n\
         peak_lr = 0.01\nwarmup = \"4\"\ncompat = false\n[train]\niterations = 100\nsequence_length = 8\nbatch_size = 8\n\
         grad_accumulation = 1\nseed = 7\n"
    );
    std::fs::write(dir.join("run.toml"), config).unwrap();
    let mut log = String::new();
    for s in 1..=steps {
        let loss = 2.0 + 3.0 / (s as f64).sqrt();
        log += &format!(
            "{{\"step\":{s},\"lr\":0.01,\"loss\":{loss},\"grad_norm\":1,\"tokens\":{},\"tokens_per_second\":64}}\n",
            64 * s
        );
        if s % 20 == 0 {
            log += &format!("{{\"step\":{s},\"val_loss\":{}}}\n", loss + 0.1);
            log += &format!("{{\"step\":{s},\"average\":\"window\",\"val_loss_wa\":{loss}}}\n");
            log += &format!(
                "{{\"step\":{s},\"law\":{{\"name\":{quoted},\"forecast\":2.3,\"low\":2.2,\"high\":2.4,\
                 \"cooldown_now\":[{{\"fraction\":0.2,\"steps\":5,\"loss\":2.5}}]}}}}\n"
            );
            log += &format!(
                "{{\"step\":{s},\"alarm\":{{\"kind\":{quoted},\"nats\":0.5,\"sigmas\":9}}}}\n"
            );
            log += &format!(
                "{{\"step\":{s},\"decision\":{{\"kept\":false,\"schedule\":{quoted},\"why\":{quoted}}}}}\n"
            );
            log += &format!("{{\"step\":{s},\"prompt\":{quoted},\"sample\":{quoted}}}\n");
        }
    }
    std::fs::write(dir.join("metrics.jsonl"), log).unwrap();
}

fn page(runs: Vec<Run>) -> String {
    let g = Gathered::new(runs, Vec::new(), Vec::new());
    draw(&g, &pictures::all(&g))
}

/// Every tag that is opened is closed, in order; attributes are quoted. Panics otherwise.
fn balanced(html: &str) {
    const VOID: [&str; 2] = ["meta", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name = tag.split([' ', '\n', '/']).find(|n| !n.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closes {name}");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// No element or attribute but those that a page is made of: nothing is fetched, and nothing runs.
fn harmless(html: &str) {
    const TAGS: &str = "!doctype html head meta title style body main header footer section aside div p h1 h2 h3 dl dt dd small ul li \
        figure figcaption svg g line polyline polygon circle text table thead tbody tr th td span details summary pre b";
    const ATTRIBUTES: &str = "lang charset http-equiv content name class id role aria-label aria-labelledby aria-describedby \
        aria-hidden tabindex scope colspan title open viewBox width height font-family font-size text-anchor stroke-width \
        stroke-dasharray points x y x1 y1 x2 y2 cx cy r html";
    let known = |list: &str, word: &str| list.split_whitespace().any(|w| w == word);
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        // What stands outside quotes.
        let bare: String = tag.split('"').step_by(2).collect();
        let bare = bare.replace(['/', '='], " ");
        let mut words = bare.split_whitespace();
        let name = words.next().unwrap();
        assert!(known(TAGS, name), "<{tag}>");
        for word in words {
            assert!(known(ATTRIBUTES, word), "{word} of <{tag}>");
        }
    }
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn what_files_say_cannot_become_markup() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = dir.path().join("<img src=x onerror='a'>\"&");
    write_run(&hostile, 100, HOSTILE);
    let html = page(vec![Run::open(&hostile).unwrap()]);
    balanced(&html);
    harmless(&html);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("&lt;img src=x onerror=&#39;a&#39;&gt;&quot;&amp;"));
}

#[test]
fn a_page_has_its_numbers_and_its_pictures() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 100, "text");
    let run = Run::open(dir.path()).unwrap();
    let html = page(vec![run]);
    balanced(&html);
    for part in [
        "2.4000",
        "id=\"loss\"",
        "id=\"schedule\"",
        "id=\"forecasts\"",
        "id=\"averages\"",
        "id=\"gradient\"",
        "id=\"speed\"",
        "Samples",
        "run.toml",
        "aria-label=\"Loss. ",
        "6.40 k",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn ids_are_told_apart_and_pictures_have_no_style_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 100, "text");
    let html = page(vec![Run::open(dir.path()).unwrap()]);
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .map(|t| t.split('"').next().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert_eq!(html.matches("<style>").count(), 1);
}

#[test]
fn several_runs_lie_over_one_another_and_a_run_that_has_not_begun_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let places = ["a/run", "b/run", "c"].map(|p| dir.path().join(p));
    for (place, steps) in places.iter().zip([100, 100, 0]) {
        write_run(place, steps, "text");
    }
    let mut runs: Vec<Run> = places.iter().map(|p| Run::open(p).unwrap()).collect();
    tell_apart(&mut runs);
    let html = page(runs);
    balanced(&html);
    harmless(&html);
    for part in [
        "<h1>2 runs</h1>",
        "a/run",
        "b/run",
        "c has no step yet",
        "How they ended",
        "+0.0000 ± 0.0000",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_run_whose_losses_are_all_lost_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 3, "text");
    let log = "{\"step\":0,\"law\":{\"forecast\":2.5}}\n\
               {\"step\":1,\"lr\":0.01,\"loss\":null,\"grad_norm\":null,\"tokens\":64,\"skipped\":true}\n\
               {\"step\":1,\"val_loss\":null,\"val_bits_per_byte\":null}\n";
    std::fs::write(dir.path().join("metrics.jsonl"), log).unwrap();
    let open = || Run::open(dir.path()).unwrap();
    let html = page(vec![open()]);
    balanced(&html);
    assert!(html.contains("1 of 1 updates were left out"), "{html}");
    assert!(html.contains("<dt>Held-out loss</dt><dd>–"), "{html}");
    assert!(!html.contains("NaN"));
    // Nor where it ended there.
    std::fs::create_dir(dir.path().join("final")).unwrap();
    let mut finished = open();
    finished.facts.steps = Some(1);
    let html = page(vec![finished]);
    assert!(
        html.contains("foresaw an end at 2.5000; the loss there was not finite."),
        "{html}"
    );
    assert!(!html.contains("NaN"));
    let html = page(vec![open(), open()]);
    assert!(!html.contains("NaN"));
}

#[test]
fn a_law_that_does_not_describe_the_run_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 100, "text");
    let path = dir.path().join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        log.replace("\"forecast\":", "\"describes\":false,\"forecast\":"),
    )
    .unwrap();
    let going = page(vec![Run::open(dir.path()).unwrap()]);
    assert!(
        going.contains("2.3000 (2.2000 to 2.4000), but does not describe the run so far."),
        "{going}"
    );
    assert!(!going.contains("id=\"forecasts\"") && !going.contains("Cooling down"));
    std::fs::create_dir(dir.path().join("final")).unwrap();
    let ended = page(vec![Run::open(dir.path()).unwrap()]);
    balanced(&ended);
    assert!(
        ended.contains("50 %: it did not describe the run"),
        "{ended}"
    );
    assert!(!ended.contains("foresaw an end") && !ended.contains("2.2000 to 2.4000"));
}

#[test]
fn cooldowns_start_at_the_newest_loss_that_the_law_knew() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 80, "text");
    let path = dir.path().join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let told = "{\"step\":80,\"law\":{\"fitted_to\":60,\"forecast\":2.3,\
                \"cooldown_now\":[{\"fraction\":0.25,\"steps\":20,\"loss\":2.5}]}}\n";
    std::fs::write(&path, log + told).unwrap();
    let html = page(vec![Run::open(dir.path()).unwrap()]);
    for part in [
        "cooling down from step 60 over 25 % (20 steps) ends at 2.5000",
        "went to 0 from step 60 over",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    // Without run.toml nobody knows whether it is at its end.
    std::fs::remove_file(dir.path().join("run.toml")).unwrap();
    let html = page(vec![Run::open(dir.path()).unwrap()]);
    assert!(
        html.contains("Not finished, at step 80; how long it was to be is not known."),
        "{html}"
    );
}

#[test]
fn losses_that_nobody_measured_have_no_compute() {
    let dir = tempfile::tempdir().unwrap();
    let runs = |evaluated: bool| {
        let places = ["a", "b"].map(|name| dir.path().join(name));
        for place in &places {
            write_run(place, 40, "text");
            let path = place.join("metrics.jsonl");
            let log = std::fs::read_to_string(&path).unwrap();
            let lines = log.lines();
            let kept = lines.filter(|l| evaluated || !l.contains("val_loss"));
            let kept: String = kept.map(|l| format!("{l}\n")).collect();
            std::fs::write(&path, kept).unwrap();
        }
        let mut runs = places.map(|place| Run::open(&place).unwrap());
        runs[1].facts.flops_per_token = runs[0].facts.flops_per_token.map(|f| 2.0 * f);
        page(Vec::from(runs))
    };
    assert!(runs(true).contains("id=\"compute\""));
    assert!(!runs(false).contains("id=\"compute\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_text_leaves_the_page_whole(text in "\\PC{0,40}|[<>&\"'/ a\\x00-\\x1f]{0,40}") {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path(), 20, "text");
        let line = serde_json::json!({"step": 20, "prompt": text, "sample": text}).to_string();
        let path = dir.path().join("metrics.jsonl");
        let log = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, log + &line + "\n").unwrap();
        let mut run = Run::open(dir.path()).unwrap();
        run.name = text;
        let html = page(vec![run]);
        balanced(&html);
        harmless(&html);
    }
}
