//! `lehr prepare owner/name` against a server on the loopback that speaks the Hub's protocol.
#![cfg(feature = "hub")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// The first three answers are 503.
    Recovering,
    Down,
    /// Only `Bearer secret` may see anything.
    Gated,
    /// The first transfer of each file ends half-way.
    Cutting,
    /// Every transfer ends half-way.
    AlwaysCutting,
}

struct Hub {
    files: HashMap<String, Vec<u8>>,
    mood: Mood,
    /// How many requests came.
    requests: Mutex<usize>,
    /// `name range` of every transfer of more than the first byte.
    transfers: Mutex<Vec<String>>,
}

impl Hub {
    fn start(files: &[(&str, Vec<u8>)], mood: Mood) -> (Arc<Hub>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hub = Arc::new(Hub {
            files: files
                .iter()
                .map(|(n, c)| (n.to_string(), c.clone()))
                .collect(),
            mood,
            requests: Mutex::default(),
            transfers: Mutex::default(),
        });
        let server = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let hub = server.clone();
                std::thread::spawn(move || hub.answer(stream.unwrap()));
            }
        });
        (hub, address)
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(request)) = lines.next() else {
            return;
        };
        let mut headers = HashMap::new();
        for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let path = request.split(' ').nth(1).unwrap();
        let range = headers.get("range").cloned().unwrap_or_default();
        let number = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        let allowed = headers
            .get("authorization")
            .is_some_and(|h| h == "Bearer secret");
        if self.mood == Mood::Down || (self.mood == Mood::Recovering && number <= 3) {
            return send(&mut stream, "503 Service Unavailable", "", b"busy");
        }
        if self.mood == Mood::Gated && !allowed {
            return send(
                &mut stream,
                "401 Unauthorized",
                "",
                b"Access to this dataset is restricted",
            );
        }
        let list = ["main", "v1", COMMIT]
            .iter()
            .any(|r| path == format!("/api/datasets/owner/name/revision/{r}"));
        if list {
            let mut names: Vec<_> = self.files.keys().collect();
            names.sort();
            let siblings: Vec<_> = names
                .iter()
                .map(|n| serde_json::json!({"rfilename": n}))
                .collect();
            let body = serde_json::json!({"id": "owner/name", "sha": COMMIT, "siblings": siblings});
            return send(
                &mut stream,
                "200 OK",
                "Content-Type: application/json\r\n",
                body.to_string().as_bytes(),
            );
        }
        let resolve = format!("/datasets/owner/name/resolve/{COMMIT}/");
        if let Some(name) = path.strip_prefix(&resolve)
            && let Some(contents) = self.files.get(name)
        {
            // Large files live elsewhere: the Hub answers with a redirect and their tags.
            let etag = blake3::hash(contents).to_hex();
            let tags = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\n");
            if name.ends_with(".parquet") || name.ends_with(".gz") {
                let host = &headers["host"];
                let tags = format!(
                    "{tags}X-Linked-ETag: \"{etag}\"\r\nX-Linked-Size: {}\r\nLocation: http://{host}/cdn/{name}\r\n",
                    contents.len()
                );
                return send(&mut stream, "302 Found", &tags, b"");
            }
            return self.transfer(&mut stream, name, &range, &tags);
        }
        if let Some(name) = path.strip_prefix("/cdn/") {
            return self.transfer(&mut stream, name, &range, "");
        }
        send(&mut stream, "404 Not Found", "", b"Entry not found");
    }

    /// Part of a file, as `Range` asks.
    fn transfer(&self, stream: &mut TcpStream, name: &str, range: &str, tags: &str) {
        let contents = &self.files[name];
        let (from, to) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse().unwrap_or(contents.len() - 1);
        if range != "bytes=0-0" {
            (self.transfers.lock().unwrap()).push(format!("{name} {range}"));
        }
        if from >= contents.len() {
            return send(stream, "416 Range Not Satisfiable", "", b"");
        }
        let part = &contents[from..=to];
        let head = format!(
            "{tags}Content-Range: bytes {from}-{to}/{}\r\n",
            contents.len()
        );
        let cut = match self.mood {
            Mood::Cutting => from == 0 && part.len() > 1,
            Mood::AlwaysCutting => part.len() > 1,
            _ => false,
        };
        let sent = if cut { part.len() / 2 } else { part.len() };
        let _ = write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Length: {}\r\n{head}\r\n",
            part.len()
        );
        let _ = stream.write_all(&part[..sent]);
    }

    fn transfers(&self) -> Vec<String> {
        self.transfers.lock().unwrap().clone()
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(body);
}

fn prepare(place: &Path, endpoint: &str, args: &str, token: Option<&str>) -> Output {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("lehr"));
    command
        .arg("prepare")
        .args(args.split(' '))
        .args(["--tokenizer", "char", "--json"]);
    command
        .current_dir(place)
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", place.join("home"));
    for name in [
        "HF_TOKEN",
        "HF_HUB_CACHE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    command.output().unwrap()
}

fn documents(output: &Output) -> u64 {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    ["train", "val"]
        .iter()
        .map(|s| summary[s]["documents"].as_u64().unwrap())
        .sum()
}

fn refusal(output: Output) -> String {
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let last = message.lines().last().unwrap().to_owned();
    assert!(last.starts_with("error: "), "{message}");
    last
}

fn lines(n: usize, what: &str) -> Vec<u8> {
    (0..n)
        .map(|i| format!("{{\"text\": \"{what} {i}\"}}\n"))
        .collect::<String>()
        .into_bytes()
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("README.md", b"# A data set".to_vec()),
        ("data/train-00000-of-00002.jsonl", lines(40, "first")),
        (
            "data/train-00001-of-00002.jsonl.gz",
            gzip(&lines(30, "second")),
        ),
        ("data/test-00000-of-00001.jsonl", lines(20, "test")),
    ]
}

#[test]
fn fetches_a_split_once_and_reads_it() {
    let (hub, endpoint) = Hub::start(&files(), Mood::Well);
    let place = tempfile::tempdir().unwrap();
    let run = |args: &str| documents(&prepare(place.path(), &endpoint, args, None));
    assert_eq!(run("owner/name --out one"), 70);
    let fetched = hub.transfers();
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert!(
        fetched.iter().any(|l| l.starts_with("data/train-00001")),
        "{fetched:?}"
    );
    // Again, by revision and through the other spelling: from the cache.
    assert_eq!(run("owner/name@v1 --out two"), 70);
    assert_eq!(
        run("hf://datasets/owner/name --revision v1 --out three"),
        70
    );
    assert_eq!(hub.transfers().len(), 2);
    assert_eq!(run("owner/name --split test --out four"), 20);
    assert_eq!(hub.transfers().len(), 3);
    let index = std::fs::read(place.path().join("one/dataset.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["source"]["hub"][0]["revision"], COMMIT);
    assert_eq!(
        index["source"]["files"][0]["name"],
        "owner/name/data/train-00000-of-00002.jsonl"
    );
}

#[test]
fn waits_for_a_server_in_trouble() {
    let (_, endpoint) = Hub::start(&files(), Mood::Recovering);
    let place = tempfile::tempdir().unwrap();
    assert_eq!(
        documents(&prepare(
            place.path(),
            &endpoint,
            "owner/name --out set",
            None
        )),
        70
    );
    let (_, endpoint) = Hub::start(&files(), Mood::Down);
    let message = refusal(prepare(
        place.path(),
        &endpoint,
        "owner/name --out new",
        None,
    ));
    assert!(
        message.contains("HTTP status 503") && message.contains("try again later"),
        "{message}"
    );
}

#[test]
fn goes_on_where_a_transfer_broke_off() {
    let (hub, endpoint) = Hub::start(&files(), Mood::Cutting);
    let place = tempfile::tempdir().unwrap();
    assert_eq!(
        documents(&prepare(
            place.path(),
            &endpoint,
            "owner/name --out set",
            None
        )),
        70
    );
    let resumed = hub
        .transfers()
        .iter()
        .filter(|l| !l.ends_with("bytes=0-"))
        .count();
    assert_eq!(resumed, 2, "{:?}", hub.transfers());
    // Killed after the last byte, before the file got its name.
    let (_, endpoint) = Hub::start(&files(), Mood::Well);
    let place = tempfile::tempdir().unwrap();
    let blobs = place.path().join("home/hub/datasets--owner--name/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    for (_, contents) in files() {
        let name = format!("{}.part", blake3::hash(&contents).to_hex());
        std::fs::write(blobs.join(name), contents).unwrap();
    }
    assert_eq!(
        documents(&prepare(
            place.path(),
            &endpoint,
            "owner/name --out set",
            None
        )),
        70
    );

    let (_, endpoint) = Hub::start(&files()[..2], Mood::AlwaysCutting);
    let other = tempfile::tempdir().unwrap();
    let message = refusal(prepare(
        other.path(),
        &endpoint,
        "owner/name --out set",
        None,
    ));
    assert!(
        message.contains("broke off") && message.contains("run again"),
        "{message}"
    );
    assert!(!other.path().join("set").exists());
}

#[test]
fn tokens_and_refusals() {
    let (_, endpoint) = Hub::start(&files(), Mood::Gated);
    let place = tempfile::tempdir().unwrap();
    let run = |args: &str, token| prepare(place.path(), &endpoint, args, token);
    let message = refusal(run("owner/name --out set", None));
    assert!(
        message.contains("no access to owner/name") && message.contains("HF_TOKEN"),
        "{message}"
    );
    assert_eq!(documents(&run("owner/name --out set", Some("secret"))), 70);
    let message = refusal(run("owner/other --out new", Some("secret")));
    assert!(
        message.contains("owner/other") && message.contains("check the name"),
        "{message}"
    );
    let message = refusal(run("owner/name@v9 --out new", Some("secret")));
    assert!(message.contains("revision"), "{message}");
    let message = refusal(run(
        "owner/name --split validation --out new",
        Some("secret"),
    ));
    assert!(
        message.contains("no file of the split \"validation\""),
        "{message}"
    );
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let message = refusal(prepare(
        place.path(),
        &format!("http://{gone}"),
        "owner/name --out new",
        None,
    ));
    assert!(message.contains("HF_ENDPOINT"), "{message}");
}
