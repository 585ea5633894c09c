//! A training service on the loopback, in the course's protocol, that misbehaves as told. Unlike the real one it charges
//! repeats too, so that a question put twice shows.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the service does with `/loss`, for the requests of the given numbers (from 1 on).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mood {
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
    /// Charges, and answers that training diverged, as Python writes it.
    Diverged,
    /// Charges, and answers with a loss that there cannot be.
    Negative,
    /// 404 with a message.
    OutOfRange,
    /// 422 as FastAPI words it.
    Invalid,
}

/// The query as it came, its loss, its FLOPs.
pub type Charge = (HashMap<String, String>, f64, f64);

pub struct Service {
    mood: Mood,
    /// Requests for a loss that meet the mood; the others are served well.
    moody: fn(usize) -> bool,
    /// Its own budget.
    pub budget: f64,
    pub delay: Duration,
    /// Whether it keeps /previous_runs.
    pub remembers: bool,
    asked: Mutex<usize>,
    pub charges: Mutex<Vec<Charge>>,
}

impl Service {
    pub fn new(mood: Mood, moody: fn(usize) -> bool) -> Service {
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

    pub fn start(self) -> (Arc<Service>, String) {
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
    pub fn charged(&self) -> f64 {
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
        let loss = match mood {
            Mood::Diverged => f64::NAN,
            Mood::Negative => -4.0,
            _ => 1.8 + 482.0 / n.powf(0.348) + 2085.0 / d.powf(0.366),
        };
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
