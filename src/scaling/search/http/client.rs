//! Requests, what may be tried again, and what each failure means.

use super::{Patience, Service};
use crate::error::{Error, Result};
use crate::scaling::search::{Answer, History, Oracle, Query, Reply, Space, table};
use serde_json::Value;
use std::time::Duration;

/// An answer is a few numbers, a list of runs some hundred bytes each.
const MOST_BYTES: u64 = 16 << 20;

pub(super) struct Client {
    agent: ureq::Agent,
    key: Option<String>,
    patience: Patience,
}

/// Why a request gave nothing.
enum Failure {
    /// The service said no (4xx), in its words.
    Refused { status: u16, words: String },
    /// Anything that may have happened after the charge: no answer, a late one, a broken one, 5xx.
    Unclear(String),
}

impl Service {
    /// The service at `address` (`http://host:port`, or `https`).
    ///
    /// # Errors
    /// An address that is none.
    pub fn connect(
        address: &str,
        key: Option<String>,
        patience: Patience,
        space: Space,
    ) -> Result<Service> {
        let address = address.trim_end_matches('/');
        let host = address.split_once("://").map(|(_, host)| host);
        if host.is_none_or(str::is_empty) || address.contains(['?', '#', ' ']) {
            return Err(Error::input(format!(
                "--oracle {address}: write the service's address as http://HOST:PORT"
            )));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build()
            .new_agent();
        Ok(Service {
            address: address.to_string(),
            client: Client {
                agent,
                key,
                patience,
            },
            space,
        })
    }

    /// One request, once.
    fn get(&self, path: &str, query: Option<&Query>) -> std::result::Result<Value, Failure> {
        let mut request = self.client.agent.get(format!("{}{path}", self.address));
        if let Some(q) = query {
            request = request
                .query("d_model", q.d_model.to_string())
                .query("num_layers", q.num_layers.to_string())
                .query("num_heads", q.num_heads.to_string())
                .query("batch_size", q.batch_size.to_string())
                .query("learning_rate", q.learning_rate.to_string())
                .query("train_flops", format!("{:.0}", q.train_flops));
        }
        if let Some(key) = &self.client.key {
            request = request.query("api_key", key);
        }
        let unclear = |e: ureq::Error| Failure::Unclear(self.words(&e));
        let mut response = request.call().map_err(unclear)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MOST_BYTES);
        let text = match body.read_to_vec() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) => return Err(unclear(e)),
        };
        match status {
            200..=299 => {
                table::lenient(&text).map_err(|_| Failure::Unclear("its answer is no JSON".into()))
            }
            408 | 429 | 500.. => Err(Failure::Unclear(format!("HTTP status {status}"))),
            _ => Err(Failure::Refused {
                status,
                words: message(&text),
            }),
        }
    }

    /// What went wrong, never with the key in it.
    fn words(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(_) => format!(
                "no answer within {} s",
                self.client.patience.timeout.as_secs_f64()
            ),
            ureq::Error::HostNotFound => "there is no such host".into(),
            ureq::Error::ConnectionFailed => "nothing listens there".into(),
            ureq::Error::BodyExceedsLimit(_) => "its answer is too long".into(),
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nothing listens there".into()
            }
            ureq::Error::Io(e) => format!("the connection broke ({e})"),
            ureq::Error::Protocol(_) => "the connection broke in the middle of an answer".into(),
            _ => "its answer is no HTTP".into(),
        }
    }

    /// Tries until something certain comes of it. `settle` looks, after an unclear failure, whether it happened all the same.
    fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> std::result::Result<T, Failure>,
        mut settle: impl FnMut() -> Option<T>,
    ) -> Result<std::result::Result<T, (u16, String)>> {
        let mut wait = self.client.patience.wait;
        let attempts = self.client.patience.attempts.max(1);
        let mut last = String::new();
        for n in 1..=attempts {
            match attempt() {
                Ok(value) => return Ok(Ok(value)),
                Err(Failure::Refused { status, words }) => return Ok(Err((status, words))),
                Err(Failure::Unclear(words)) => last = words,
            }
            if let Some(value) = settle() {
                return Ok(Ok(value));
            }
            if n < attempts {
                std::thread::sleep(wait);
                wait = (wait * 2).min(Duration::from_secs(30));
            }
        }
        let times = match attempts {
            1 => "once".to_string(),
            n => format!("{n} times"),
        };
        Err(Error::input(format!(
            "{} failed {times}: {last}; all answers are kept, and the same command goes on from here",
            self.address
        )))
    }

    fn refused(&self, what: &str, status: u16, words: &str) -> Error {
        let hint = match status {
            401 | 403 => "; give the right key as --api-key or LEHR_API_KEY",
            300..=399 => "; give the address that it leads to",
            _ => "",
        };
        Error::input(format!(
            "{} refused {what} with HTTP status {status}: {words}{hint}",
            self.address
        ))
    }

    /// The list of earlier runs; `None` where the service keeps none.
    fn previous(&self) -> Result<Option<Vec<(Query, f64)>>> {
        let got = self.patiently(|| self.get("/previous_runs", None), || None)?;
        match got {
            Ok(value) => Ok(Some(table::rows(
                &format!("{}/previous_runs", self.address),
                &value,
            )?)),
            Err((404 | 405 | 501, _)) => Ok(None),
            Err((status, words)) => Err(self.refused("/previous_runs", status, &words)),
        }
    }

    /// The answer to `query` if the service lists it as done.
    fn found(&self, query: &Query) -> Option<Answer> {
        let value = self.get("/previous_runs", None).ok()?;
        let rows = table::rows("", &value).ok()?;
        let (_, loss) = rows.into_iter().find(|(q, _)| q.same(query))?;
        let total = self.get("/total_flops_used", None).ok();
        Some(Answer {
            loss,
            total_flops_used: total.and_then(|v| total_in(&v)),
        })
    }
}

impl Oracle for Service {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn history(&mut self) -> Result<History> {
        let answered = self.previous()?.unwrap_or_default();
        let total = self.patiently(|| self.get("/total_flops_used", None), || None)?;
        let total_flops_used = match total {
            Ok(value) => Some(total_in(&value).ok_or_else(|| {
                Error::input(format!(
                    "{}/total_flops_used gives no number of FLOPs",
                    self.address
                ))
            })?),
            Err((404 | 405 | 501, _)) => None,
            Err((status, words)) => return Err(self.refused("/total_flops_used", status, &words)),
        };
        Ok(History {
            answered,
            total_flops_used,
        })
    }

    fn ask(&mut self, query: &Query) -> Result<Reply> {
        let attempt = || {
            let value = self.get("/loss", Some(query))?;
            let Some(given) = value.get("loss") else {
                return Err(Failure::Unclear("its answer holds no loss".into()));
            };
            match table::loss(given) {
                Some(loss) => Ok(Answer {
                    loss,
                    total_flops_used: total_in(&value),
                }),
                None => Err(Failure::Unclear(format!(
                    "it gives a loss of {}, not a number above 0",
                    message(&given.to_string())
                ))),
            }
        };
        match self.patiently(attempt, || self.found(query))? {
            Ok(answer) => Ok(Reply::Answered(answer)),
            Err((status, words)) => {
                let lower = words.to_lowercase();
                let budget = lower.contains("budget") || lower.contains("total_flops");
                match budget || status == 402 {
                    true => Ok(Reply::OverBudget(words)),
                    false => Ok(Reply::Refused(
                        self.refused(&query.to_string(), status, &words).to_string(),
                    )),
                }
            }
        }
    }
}

/// A bare number, or an object's `total_flops_used`.
fn total_in(value: &Value) -> Option<f64> {
    let x = value
        .as_f64()
        .or_else(|| value.get("total_flops_used")?.as_f64())?;
    (x.is_finite() && x >= 0.0).then_some(x)
}

/// The words of a refusal: FastAPI's `detail`, `message` or `error`, or the start of the text, on one line.
fn message(text: &str) -> String {
    const MOST: usize = 200;
    let value: Option<Value> = serde_json::from_str(text).ok();
    let field = value.as_ref().and_then(|v| {
        let inner = ["detail", "message", "error"].iter().find_map(|k| v.get(k));
        let inner = inner?;
        // FastAPI lists what it does not accept, each with a `msg`.
        let listed = inner.get(0).and_then(|v| v.get("msg")).unwrap_or(inner);
        Some(
            listed
                .as_str()
                .map_or_else(|| listed.to_string(), str::to_string),
        )
    });
    let text = field.unwrap_or_else(|| text.to_string());
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() {
        0 => "no message".into(),
        n if n > MOST => line.chars().take(MOST).collect::<String>() + "…",
        _ => line,
    }
}
