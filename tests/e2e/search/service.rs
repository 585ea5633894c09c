//! `lehr search` against the loopback service: nothing is paid twice, whatever happens in between.

use super::server::{Mood, Service};
use super::{A3, json, lehr, refused};
use assert_cmd::Command;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn search(dir: &Path, address: &str) -> Command {
    let mut command = lehr(dir, A3);
    command.args(["--oracle", address, "--timeout", "1", "--attempts", "3"]);
    command.env("LEHR_API_KEY", "secret");
    command
}

#[test]
fn every_passing_failure_is_survived_and_nothing_paid_twice() {
    for mood in [
        Mood::Well,
        Mood::Late,
        Mood::Failing,
        Mood::Garbled,
        Mood::Cut,
        Mood::Gone,
        Mood::Diverged,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (service, address) = Service::new(mood, |n| n == 2 || n == 6).start();
        let out = json(search(dir.path(), &address));
        let charged = service.charged();
        assert_eq!(out["spent"].as_f64().unwrap(), charged, "{mood:?}");
        assert!(charged <= 2e18 && charged > 1e18, "{mood:?}");
        assert_eq!(
            out["paid"].as_u64().unwrap() as usize,
            service.charges.lock().unwrap().len()
        );
        let n = out["forecast"]["n_opt"]["value"].as_f64().unwrap();
        assert!((n / 2.5e8).ln().abs() < 0.2, "{mood:?}: {n}");
        // Whoever starts with an empty cache finds everything paid for.
        std::fs::remove_file(dir.path().join("search.jsonl")).unwrap();
        let again = json(search(dir.path(), &address));
        assert_eq!(service.charged(), charged, "{mood:?}");
        assert_eq!(again["paid"], 0);
        assert_eq!(again["imported"], out["paid"]);
    }
}

#[test]
fn lasting_failures_are_one_sentence_and_keep_the_answers() {
    let always: fn(usize) -> bool = |n| n > 4;
    for (mood, words) in [
        (Mood::Down, "failed 3 times: HTTP status 503"),
        (Mood::Failing, "failed 3 times: HTTP status 500"),
        (
            Mood::OutOfRange,
            "HTTP status 404: num_layers must be in [2, 24]",
        ),
        (Mood::Invalid, "HTTP status 422: d_model is too large"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (service, address) = Service::new(mood, always).start();
        let said = refused(search(dir.path(), &address));
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("secret"), "{said}");
        let state = std::fs::read_to_string(dir.path().join("search.jsonl")).unwrap_or_default();
        let answers = state.lines().filter(|l| l.contains("\"loss\"")).count();
        assert_eq!(answers, service.charges.lock().unwrap().len(), "{mood:?}");
        // A refusal closes its question: nothing stays open, and nothing counts that was not charged.
        let refusals = state.lines().filter(|l| l.contains("refused")).count();
        let definite = matches!(mood, Mood::OutOfRange | Mood::Invalid);
        assert_eq!(refusals, usize::from(definite), "{mood:?}");
    }
}

#[test]
fn a_loss_that_cannot_be_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (_, address) = Service::new(Mood::Negative, |n| n > 2).start();
    let said = refused(search(dir.path(), &address));
    assert!(
        said.contains("it gives a loss of -4, not a number above 0"),
        "{said}"
    );
    let state = std::fs::read_to_string(dir.path().join("search.jsonl")).unwrap();
    assert!(!state.contains("-4"), "{state}");
}

#[test]
fn a_wrong_key_and_an_empty_port() {
    let dir = tempfile::tempdir().unwrap();
    let (_, address) = Service::new(Mood::Well, |_| false).start();
    let mut command = search(dir.path(), &address);
    command.args(["--api-key", "hunter2"]);
    let said = refused(command);
    assert!(
        said.contains("no such key") && said.contains("--api-key"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = refused(search(dir.path(), &format!("http://{free}")));
    assert!(said.contains("nothing listens there"), "{said}");
    let said = refused(search(dir.path(), "http://"));
    assert!(said.contains("http://HOST:PORT"), "{said}");
}

#[test]
fn the_services_own_budget_ends_the_search_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::new(Mood::Well, |_| false);
    service.budget = 8e17;
    let (service, address) = service.start();
    let out = json(search(dir.path(), &address));
    assert!(service.charged() <= 8e17);
    assert_eq!(out["spent"].as_f64().unwrap(), service.charged());
    let stopped = out["stopped"].as_str().unwrap();
    assert!(stopped.contains("FLOPs budget exceeded"), "{stopped}");
    assert!(out["forecast"]["n_opt"]["value"].as_f64().is_some());
}

#[test]
fn killed_again_and_again_it_pays_once() {
    for remembers in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Service::new(Mood::Well, |_| false);
        (service.delay, service.remembers) = (Duration::from_millis(40), remembers);
        let (service, address) = service.start();
        for target in [2, 5, 11, 17] {
            let mut child = spawn(dir.path(), &address);
            let began = Instant::now();
            while service.charges.lock().unwrap().len() < target {
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "it never came to {target}"
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            // The answer is on its way, charged and not yet written down.
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let out = json(search(dir.path(), &address));
        if remembers {
            assert_eq!(out["spent"].as_f64().unwrap(), service.charged());
            // Answers that were on their way are its own all the same.
            assert_eq!(out["imported"], 0);
            continue;
        }
        // Without a list of runs the open question is put again: the protocol says that repeats are free.
        let charges = service.charges.lock().unwrap();
        let mut distinct: Vec<_> = charges
            .iter()
            .map(|c| {
                format!("{:?}", {
                    let mut fields: Vec<_> = c.0.iter().collect();
                    fields.sort();
                    fields
                })
            })
            .collect();
        distinct.sort();
        distinct.dedup();
        assert!(
            charges.len() <= distinct.len() + 4,
            "{} {}",
            charges.len(),
            distinct.len()
        );
    }
}

fn spawn(dir: &Path, address: &str) -> Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_lehr"))
        .current_dir(dir)
        .args(["search", "--json", "--oracle", address])
        .args(A3)
        .env("LEHR_API_KEY", "secret")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
