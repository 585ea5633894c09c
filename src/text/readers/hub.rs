//! Data sets on the Hugging Face Hub, through `hf-hub`.
//!
//! `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` and `HF_TOKEN` (or the token that the Hub's own
//! command line saved) are honoured. The revision is resolved to its commit first, so that every
//! file comes from one state of the repository; files already in the cache are not fetched again,
//! and a transfer that broke off goes on where it stopped.

use super::{Source, list_names};
use crate::error::{Error, Result};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What to fetch.
pub struct Request<'a> {
    /// `owner/name`.
    pub id: &'a str,
    /// A branch, tag or commit; the main branch by default.
    pub revision: Option<&'a str>,
    /// `train`, `validation`, `test`, or whatever the repository calls its splits.
    pub split: &'a str,
    /// The folder to take, where the repository holds several data sets.
    pub subset: Option<&'a str>,
}

/// Files of a data set, on disk.
pub struct Fetched {
    pub sources: Vec<Source>,
    /// The commit that they belong to.
    pub commit: String,
}

const ATTEMPTS: u32 = 4;

/// Fetches the files of one split. `tell` hears of each file before it is fetched, and may stop.
///
/// # Errors
/// One sentence for: no such data set or revision, no access, a Hub that fails or cannot be
/// reached, a transfer that breaks off, no files of that split, several data sets to choose from.
pub fn fetch(request: &Request, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<Fetched> {
    let hub = Hub::connect(request)?;
    let id = request.id.to_owned();
    let revision = request.revision.unwrap_or("main").to_owned();
    let named = hub
        .api
        .repo(Repo::with_revision(id.clone(), RepoType::Dataset, revision));
    let info = patiently(|| named.info()).map_err(|e| hub.explain(e, "its list of files"))?;
    let names: Vec<String> = info.siblings.into_iter().map(|s| s.rfilename).collect();
    let chosen = choose(&names, request)?;

    let pinned = || Repo::with_revision(id.clone(), RepoType::Dataset, info.sha.clone());
    let (cached, repo) = (hub.cache.repo(pinned()), hub.api.repo(pinned()));
    let mut sources = Vec::new();
    for (i, name) in chosen.iter().enumerate() {
        let path = match cached.get(name) {
            Some(path) => path,
            None => {
                tell(&format!(
                    "fetching {id}/{name} ({} of {})",
                    i + 1,
                    chosen.len()
                ))?;
                hub.download(&repo, name)?
            }
        };
        sources.push(Source::named(&path, format!("{id}/{name}"))?);
    }
    Ok(Fetched {
        sources,
        commit: info.sha,
    })
}

struct Hub {
    api: Api,
    cache: Cache,
    endpoint: String,
    id: String,
}

impl Hub {
    fn connect(request: &Request) -> Result<Hub> {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let cache = match variable("HF_HUB_CACHE") {
            Some(dir) => Cache::new(dir.into()),
            None => Cache::from_env(),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let token = variable("HF_TOKEN").or_else(|| cache.token());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint.clone())
            .with_token(token.map(|t| t.trim().to_owned()))
            .with_progress(false)
            .with_user_agent("lehr", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| {
                Error::input(format!("cannot set up the connection to {endpoint}: {e}"))
            })?;
        Ok(Hub {
            api,
            cache,
            endpoint,
            id: request.id.to_owned(),
        })
    }

    /// Fetches one file into the cache, and checks that all of it came.
    fn download(&self, repo: &ApiRepo, name: &str) -> Result<PathBuf> {
        let metadata =
            patiently(|| self.api.metadata(&repo.url(name))).map_err(|e| self.explain(e, name))?;
        let expected = metadata.size() as u64;
        let blob = self
            .cache
            .dataset(self.id.clone())
            .blob_path(metadata.etag());
        let part = blob.with_extension("part");
        // A transfer that was killed after its last byte has nothing left to ask for.
        if std::fs::metadata(&part).is_ok_and(|part| part.len() >= expected) {
            let _ = std::fs::remove_file(&part);
        }
        let path = patiently(|| repo.download(name)).map_err(|e| self.explain(e, name))?;
        let metadata = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
        if metadata.len() == expected {
            return Ok(path);
        }
        // A server that ignores ranges appends to what a broken transfer left.
        let _ = std::fs::remove_file(&blob);
        let _ = std::fs::remove_file(&path);
        Err(Error::input(format!(
            "{name} of {} came with {} bytes instead of {expected} and was removed; run again",
            self.id,
            metadata.len()
        )))
    }

    fn explain(&self, error: ApiError, what: &str) -> Error {
        let (id, endpoint) = (&self.id, &self.endpoint);
        let message = match status(&error) {
            Some(401 | 403) => format!(
                "{endpoint} gives no access to {id}: it is private, gated or does not exist; \
                 check the name, or set HF_TOKEN to a token that may read it"
            ),
            Some(404) => format!(
                "{endpoint} has no {what} of the data set {id}; check the name and the revision"
            ),
            Some(code) => format!(
                "{endpoint} answered {what} of {id} with HTTP status {code}; try again later"
            ),
            None => match error {
                ApiError::LockAcquisition(_) => {
                    format!("another process is fetching {what} of {id}; run again when it is done")
                }
                ApiError::IoError(e) if e.raw_os_error().is_some() => {
                    return Error::io(format!("fetch {what} of {id} into"), self.cache.path(), e);
                }
                error => format!(
                    "fetching {what} of {id} from {endpoint} broke off: {error}; check the \
                     connection and HF_ENDPOINT, and run again"
                ),
            },
        };
        Error::input(message)
    }
}

/// The HTTP status that an error stands for.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(e) => match **e {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        ApiError::TooManyRetries(e) => status(e),
        _ => None,
    }
}

/// Tries again after failures that may pass: servers in trouble, broken connections.
fn patiently<T>(
    attempt: impl Fn() -> std::result::Result<T, ApiError>,
) -> std::result::Result<T, ApiError> {
    let mut wait = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(e) if may_pass(&e) => std::thread::sleep(wait),
            settled => return settled,
        }
        wait *= 3;
    }
    attempt()
}

fn may_pass(error: &ApiError) -> bool {
    match (status(error), error) {
        (Some(code), _) => code == 408 || code == 429 || code >= 500,
        (None, ApiError::RequestError(_) | ApiError::TooManyRetries(_)) => true,
        // A broken connection has no number of the operating system's, or a network one.
        (None, ApiError::IoError(e)) => {
            use std::io::ErrorKind::*;
            e.raw_os_error().is_none()
                || matches!(
                    e.kind(),
                    ConnectionReset | ConnectionAborted | BrokenPipe | TimedOut
                )
        }
        _ => false,
    }
}

/// Names by which repositories call the usual splits.
const SPLITS: [&[&str]; 3] = [
    &["train", "training"],
    &["validation", "valid", "val", "dev"],
    &["test", "testing", "eval", "evaluation"],
];

/// Files that describe a data set and hold none of its text.
const DESCRIPTIONS: [&str; 5] = [
    "dataset_infos.json",
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "requirements.txt",
];

fn words(name: &str) -> Vec<String> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The files of the split: of one format (Parquet before JSON Lines before text), in one folder.
fn choose(names: &[String], request: &Request) -> Result<Vec<String>> {
    let id = request.id;
    let corpus: Vec<&String> = names
        .iter()
        .filter(|name| {
            let path = Path::new(name.as_str());
            let file = path.file_name().and_then(|f| f.to_str()).unwrap_or_default();
            // Only names that stay inside the cache and are not hidden.
            let plain = |c: Component| matches!(c, Component::Normal(c) if !c.as_encoded_bytes().starts_with(b"."));
            path.components().all(plain)
                && Source::is_corpus_name(path)
                && !DESCRIPTIONS.contains(&file)
        })
        .collect();
    let in_subset: Vec<&String> = match request.subset {
        Some(subset) => {
            let folder = format!("{}/", subset.trim_matches('/'));
            corpus
                .iter()
                .copied()
                .filter(|n| n.starts_with(&folder))
                .collect()
        }
        None => corpus.clone(),
    };
    let wanted: Vec<&str> = match SPLITS.iter().find(|names| names.contains(&request.split)) {
        Some(names) => names.to_vec(),
        None => vec![request.split],
    };
    let says = |name: &str, any: &[&str]| words(name).iter().any(|w| any.contains(&w.as_str()));
    let known: Vec<&str> = SPLITS.concat();
    for rank in 0..3 {
        let format: Vec<&String> = in_subset
            .iter()
            .copied()
            .filter(|name| match () {
                _ if name.ends_with(".parquet") => rank == 0,
                _ if name.contains(".txt") || name.contains(".text") => rank == 2,
                _ => rank == 1,
            })
            .collect();
        let mut chosen: Vec<String> = format
            .iter()
            .filter(|n| says(n, &wanted))
            .map(|n| n.to_string())
            .collect();
        if chosen.is_empty() && wanted.contains(&"train") && !format.iter().any(|n| says(n, &known))
        {
            chosen = format.iter().map(|n| n.to_string()).collect();
        }
        if chosen.is_empty() {
            continue;
        }
        chosen.sort();
        let folders: BTreeSet<String> = chosen
            .iter()
            .filter_map(|name| name.rsplit_once('/'))
            .map(|(folder, _)| folder.to_owned())
            .collect();
        let loose = chosen.iter().any(|name| !name.contains('/'));
        if request.subset.is_none() && folders.len() + usize::from(loose) > 1 {
            let folders: Vec<String> = folders.into_iter().collect();
            return Err(Error::input(format!(
                "{id} holds several data sets, in the folders {}; choose one with --subset",
                list_names(&folders)
            )));
        }
        return Ok(chosen);
    }
    let corpus: Vec<String> = corpus.into_iter().cloned().collect();
    Err(Error::input(match corpus.is_empty() {
        true => format!("{id} holds no .parquet, .jsonl or .txt file; nothing in it can be read"),
        false => format!(
            "{id} has no file of the split {:?}{}; its files are {}; choose with --split and \
             --subset",
            request.split,
            request
                .subset
                .map_or(String::new(), |s| format!(" in {s:?}")),
            list_names(&corpus)
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        names: &[&str],
        split: &str,
        subset: Option<&str>,
    ) -> std::result::Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let request = Request {
            id: "owner/name",
            revision: None,
            split,
            subset,
        };
        choose(&names, &request).map_err(|e| e.to_string())
    }

    #[test]
    fn splits_formats_and_folders() {
        let stories = [
            "README.md",
            ".gitattributes",
            "dataset_infos.json",
            "TinyStories-train.txt",
            "../evil/train.txt",
            "data/train-00001-of-00002.parquet",
            "data/train-00000-of-00002.parquet",
            "data/validation-00000-of-00001.parquet",
        ];
        let train = [
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
        ];
        assert_eq!(chosen(&stories, "train", None).unwrap(), train);
        assert_eq!(chosen(&stories, "val", None).unwrap(), [stories[7]]);
        assert!(
            chosen(&stories, "test", None)
                .unwrap_err()
                .contains("TinyStories-train.txt")
        );
        // No file names a split: all of them are for training.
        assert_eq!(
            chosen(&["a.jsonl", "b.jsonl.gz"], "train", None)
                .unwrap()
                .len(),
            2
        );
        let several = [
            "big/train-0.parquet",
            "small/train-0.parquet",
            "small/test-0.parquet",
        ];
        let message = chosen(&several, "train", None).unwrap_err();
        assert!(
            message.contains("big, small") && message.contains("--subset"),
            "{message}"
        );
        assert_eq!(
            chosen(&several, "train", Some("small")).unwrap(),
            ["small/train-0.parquet"]
        );
        assert!(
            chosen(&["model.bin"], "train", None)
                .unwrap_err()
                .contains("no .parquet")
        );
    }
}
