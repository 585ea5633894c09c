//! `lehr search` as its users run it: simulated, from tables, with this trainer, and against a training service on the
//! loopback that misbehaves in every way that a service can.

mod common;

use assert_cmd::Command;
use common::Place;
use serde_json::Value;
use std::path::Path;

fn lehr(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lehr"));
    command.current_dir(dir).arg("search").args(args);
    command.env_remove("LEHR_API_KEY");
    command
}

fn json(mut command: Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail, and returns its one sentence.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "{said}"
    );
    said
}

const A3: &[&str] = &["--budget", "2e18", "--target", "1e19"];

#[test]
fn simulated_twice_pays_once() {
    let dir = tempfile::tempdir().unwrap();
    let search = || {
        let mut command = lehr(dir.path(), A3);
        command.args(["--oracle", "simulate:noise=0.005,seed=1"]);
        command
    };
    let first = json(search());
    let spent = first["spent"].as_f64().unwrap();
    assert!(spent <= 2e18 && spent > 1e18, "{spent}");
    // The default truth: N = 254 M at 1e19.
    let n = first["forecast"]["n_opt"]["value"].as_f64().unwrap();
    assert!((n / 2.54e8 - 1.0).abs() < 0.1, "{n}");
    let state = dir.path().join("search.jsonl");
    let bytes = std::fs::read(&state).unwrap();
    let second = json(search());
    assert_eq!(std::fs::read(&state).unwrap(), bytes);
    assert_eq!(second["forecast"], first["forecast"]);
    assert_eq!(second["answers"].as_array().unwrap().len(), first["paid"]);

    // Its answers are a table, in which another search finds the same optimum for nothing new.
    let mut from_table = lehr(dir.path(), A3);
    from_table.args(["--oracle", "table:search.jsonl", "--state", "table.jsonl"]);
    let table = json(from_table);
    let again = table["forecast"]["n_opt"]["value"].as_f64().unwrap();
    assert!((again / n - 1.0).abs() < 0.1, "{again} {n}");

    let mut other = lehr(dir.path(), A3);
    other.args(["--oracle", "simulate:noise=0.01"]);
    assert!(refused(other).contains("holds answers of simulate:noise=0.005,seed=1"));
    assert_eq!(std::fs::read(&state).unwrap(), bytes);
}

#[test]
fn words_keep_to_80_columns() {
    let dir = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--dry-run", "--state", "none.jsonl"]] {
        let mut command = lehr(dir.path(), A3);
        let output = command
            .args(["--oracle", "simulate"])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() > 15, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
    assert!(
        !dir.path().join("none.jsonl").exists(),
        "a dry run writes nothing"
    );
}

#[test]
fn wrong_input_is_one_sentence_and_spends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.csv"), "d_model,loss\n64,3\n").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not answers\n").unwrap();
    let simulate = ["--oracle", "simulate"];
    let cases: &[(&[&str], &str)] = &[
        (
            &[
                "--oracle", "simulate", "--budget", "1e12", "--target", "1e13",
            ],
            "cheapest run costs 1e13",
        ),
        (
            &["--oracle", "simulate", "--budget", "-1", "--target", "1e13"],
            "--budget -1",
        ),
        (
            &[
                "--oracle", "simulate", "--budget", "1e18", "--target", "nan",
            ],
            "--target NaN",
        ),
        (
            &[
                "--oracle",
                "simulate:F=1",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "the names are",
        ),
        (
            &[
                "--oracle", "ftp://x", "--budget", "1e18", "--target", "1e19",
            ],
            "give simulate, table:FILE",
        ),
        (
            &[
                "--oracle",
                "table:t.csv",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "there is no num_layers",
        ),
        (
            &[
                "--oracle",
                "table:gone.csv",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "gone.csv",
        ),
        (
            &[
                "--oracle",
                "train:nothing",
                "--budget",
                "1e18",
                "--target",
                "1e19",
            ],
            "no recipe of that name",
        ),
    ];
    for (args, words) in cases {
        let said = refused(lehr(dir.path(), args));
        assert!(said.contains(words), "{said}");
    }
    for (flag, value, words) in [
        ("--space", "width=3", "the names are d_model"),
        ("--space", "num_heads=7,d_model=64", "widen --space"),
        ("--level", "1.5", "--level 1.5"),
        ("--most-runs", "0", "--most-runs 0"),
        ("--state", "notes.txt", "notes.txt is damaged"),
        ("--set", "train.seed=1", "train:RECIPE"),
    ] {
        let mut command = lehr(dir.path(), A3);
        command.args(simulate).args([flag, value]);
        let said = refused(command);
        assert!(said.contains(words), "{said}");
    }
    assert!(!dir.path().join("search.jsonl").exists());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("notes.txt")).unwrap(),
        "not answers\n"
    );
}

#[test]
fn this_trainer_answers_and_a_second_search_is_free() {
    let place = Place::new();
    let args = [
        "--oracle",
        "train:default",
        "--budget",
        "6e9",
        "--target",
        "2e10",
        "--json",
        "--most-runs",
        "14",
        "--set",
        "data.path=text.txt",
        "--set",
        "data.tokenizer=char",
        "--set",
        "train.sequence_length=16",
        "--set",
        "train.batch_size=4",
        "--set",
        "eval.sequences=4",
        "--set",
        "data.vocab_size=96",
        "--space",
        "d_model=8..32,num_layers=1..2,num_heads=1..2,learning_rate=1e-3..1e-2,train_flops=1e8..1e9",
    ];
    let run = || {
        let output = lehr(place.dir.path(), &args[..]).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = run();
    let (spent, paid) = (
        first["spent"].as_f64().unwrap(),
        first["paid"].as_u64().unwrap(),
    );
    assert!(spent <= 6e9 && spent > 5e8, "{spent}");
    assert!(paid >= 6, "{paid}");
    for answer in first["answers"].as_array().unwrap() {
        let loss = answer["loss"].as_f64().unwrap();
        assert!(loss > 0.5 && loss < 6.0, "{answer}");
        assert!(answer["cost"].as_f64().unwrap() <= answer["train_flops"].as_f64().unwrap());
    }
    // The last answer is lost; its run is finished, and gives it again without a step.
    let state = place.path("search.jsonl");
    let text = std::fs::read_to_string(&state).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    std::fs::write(&state, kept[..kept.len() - 1].join("\n") + "\n").unwrap();
    let again = run();
    assert_eq!(again["answers"], first["answers"]);
    assert_eq!(again["spent"], first["spent"]);
}

#[cfg(feature = "hub")]
mod service {
    use super::*;
    use std::collections::HashMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    /// What the service does with `/loss`, for the requests of the given numbers (from 1 on).
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Mood {
        Well,
        /// Charges, and answers too late.
        Late,
        /// 500 without charging.
        Failing,
        /// 503 to everything.
        Down,
        /// Charges, and answers with something that is no JSON.
        Garbled,
        /// Charges, and ends the answer in its middle.
        Cut,
        /// Charges, and hangs up.
        Gone,
        /// 404 with a message.
        OutOfRange,
        /// 422 as FastAPI words it.
        Invalid,
    }

    /// The query as it came, its loss, its FLOPs.
    type Charge = (HashMap<String, String>, f64, f64);

    struct Service {
        mood: Mood,
        /// Requests for a loss that meet the mood; the others are served well.
        moody: fn(usize) -> bool,
        /// Its own budget.
        budget: f64,
        delay: Duration,
        /// Whether it keeps /previous_runs.
        remembers: bool,
        asked: Mutex<usize>,
        charges: Mutex<Vec<Charge>>,
    }

    impl Service {
        fn new(mood: Mood, moody: fn(usize) -> bool) -> Service {
            Service {
                mood,
                moody,
                budget: 2e18,
                delay: Duration::ZERO,
                remembers: true,
                asked: Mutex::default(),
                charges: Mutex::default(),
            }
        }

        fn start(self) -> (Arc<Service>, String) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let service = Arc::new(self);
            let server = service.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let service = server.clone();
                    std::thread::spawn(move || service.serve(stream));
                }
            });
            (service, address)
        }

        /// FLOPs charged, and a check that no query was charged twice.
        fn charged(&self) -> f64 {
            let charges = self.charges.lock().unwrap();
            for (i, (query, ..)) in charges.iter().enumerate() {
                assert!(
                    charges[..i].iter().all(|c| c.0 != *query),
                    "charged twice: {query:?}"
                );
            }
            charges.iter().map(|c| c.2).sum()
        }

        fn serve(&self, mut stream: TcpStream) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(request)) = lines.next() else {
                return;
            };
            let _ = lines
                .map_while(Result::ok)
                .take_while(|l| !l.is_empty())
                .count();
            let target = request.split(' ').nth(1).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut query: HashMap<String, String> = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            if query.remove("api_key").as_deref() != Some("secret") {
                return answer(&mut stream, 401, r#"{"detail": "no such key"}"#);
            }
            if self.mood == Mood::Down {
                return answer(&mut stream, 503, "try later");
            }
            let used = |s: &Service| s.charges.lock().unwrap().iter().map(|c| c.2).sum::<f64>();
            match path {
                "/total_flops_used" => answer(&mut stream, 200, &format!("{:e}", used(self))),
                "/previous_runs" if !self.remembers => answer(&mut stream, 404, "no such page"),
                "/previous_runs" => {
                    let runs: Vec<String> = self
                        .charges
                        .lock()
                        .unwrap()
                        .iter()
                        .map(|(q, loss, _)| {
                            let fields = q.iter().map(|(k, v)| format!("\"{k}\": {v}"));
                            let fields = fields.collect::<Vec<_>>().join(", ");
                            format!("{{{fields}, \"loss\": {loss}}}")
                        })
                        .collect();
                    let body = format!("{{\"previous_runs\": [{}]}}", runs.join(", "));
                    answer(&mut stream, 200, &body);
                }
                "/loss" => self.loss(stream, query),
                _ => answer(&mut stream, 404, "no such page"),
            }
        }

        fn loss(&self, mut stream: TcpStream, query: HashMap<String, String>) {
            let number = {
                let mut asked = self.asked.lock().unwrap();
                *asked += 1;
                *asked
            };
            let mood = match (self.moody)(number) {
                true => self.mood,
                false => Mood::Well,
            };
            match mood {
                Mood::Failing => return answer(&mut stream, 500, "oh no"),
                Mood::OutOfRange => {
                    return answer(
                        &mut stream,
                        404,
                        r#"{"message": "num_layers must be in [2, 24]"}"#,
                    );
                }
                Mood::Invalid => {
                    return answer(
                        &mut stream,
                        422,
                        r#"{"detail": [{"loc": ["query"], "msg": "d_model is too large"}]}"#,
                    );
                }
                _ => {}
            }
            let number = |name: &str| query[name].parse::<f64>().unwrap();
            let flops = number("train_flops");
            let n = 12.0 * number("num_layers") * number("d_model").powi(2);
            let d = flops / (6.0 * n);
            let loss = 1.8 + 482.0 / n.powf(0.348) + 2085.0 / d.powf(0.366);
            let total = {
                let mut charges = self.charges.lock().unwrap();
                let used: f64 = charges.iter().map(|c| c.2).sum();
                if used + flops > self.budget {
                    drop(charges);
                    return answer(&mut stream, 422, r#"{"detail": "FLOPs budget exceeded"}"#);
                }
                charges.push((query, loss, flops));
                used + flops
            };
            std::thread::sleep(self.delay);
            let body = format!("{{\"loss\": {loss}, \"total_flops_used\": {total:e}}}");
            match mood {
                Mood::Late => {
                    std::thread::sleep(Duration::from_secs(3));
                    answer(&mut stream, 200, &body);
                }
                Mood::Garbled => answer(&mut stream, 200, "<html>{\"loss\": "),
                Mood::Gone => {}
                Mood::Cut => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ = write!(stream, "{head}{}", &body[..body.len() / 2]);
                }
                _ => answer(&mut stream, 200, &body),
            }
        }
    }

    fn answer(stream: &mut TcpStream, status: u16, body: &str) {
        let _ = write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }

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
            let state =
                std::fs::read_to_string(dir.path().join("search.jsonl")).unwrap_or_default();
            let answers = state.lines().filter(|l| l.contains("\"loss\"")).count();
            assert_eq!(answers, service.charges.lock().unwrap().len(), "{mood:?}");
        }
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
}
