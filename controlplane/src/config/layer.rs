//! One source of settings (flags, environment or file) as names and texts, and the three together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why the settings cannot be used: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum ConfigError {
    #[error("unknown setting `{key}` ({origin}){}", suggestion(key))]
    UnknownKey { key: String, origin: Origin },
    #[error("the value {shown} of `{key}` ({origin}) cannot be used: {reason}")]
    BadValue {
        key: &'static str,
        shown: String,
        origin: Origin,
        reason: String,
    },
    #[error("`{key}` ({origin}) takes one value, not {count}")]
    NotAList {
        key: &'static str,
        origin: Origin,
        count: usize,
    },
    #[error("`{key}` ({origin}) must be a text, a number or a list of such")]
    WrongType { key: &'static str, origin: Origin },
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration file {} is not valid TOML: {reason}", path.display())]
    NotToml { path: PathBuf, reason: String },
    #[error("`{given}` is set but `{missing}` is not; TLS needs both")]
    Incomplete {
        given: &'static str,
        missing: &'static str,
    },
    #[error("`data-dir` is not set, and neither XDG_DATA_HOME nor HOME says where it would be")]
    NoDataDir,
}

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Origin {
    Flag,
    Variable(String),
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("given as a flag"),
            Self::Variable(name) => write!(f, "from the environment variable {name}"),
            Self::File(path) => write!(f, "from {}", path.display()),
        }
    }
}

/// The settings of one source, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    origin: Origin,
    values: Vec<String>,
}

impl Layer {
    /// A source that sets nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A flag that may have been given.
    pub fn set_flag(&mut self, name: &'static str, value: Option<String>) {
        self.set_flags(name, value.into_iter().collect());
    }

    /// A flag that may have been given several times.
    pub fn set_flags(&mut self, name: &'static str, values: Vec<String>) {
        assert!(known(name).is_some(), "{name} is in the table of settings");
        if !values.is_empty() {
            self.entries.insert(
                name,
                Entry {
                    origin: Origin::Flag,
                    values,
                },
            );
        }
    }

    /// Reads the variables that begin with `JACKFIELD_`; the second result is the value of
    /// `JACKFIELD_CONFIG`. Several values stand in one variable with commas between.
    ///
    /// # Errors
    /// A variable that begins so and names no setting.
    pub fn from_environment(
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Option<PathBuf>), ConfigError> {
        let mut layer = Self::default();
        let mut config = None;
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            if rest == "CONFIG" {
                config = Some(PathBuf::from(value));
                continue;
            }
            let key = rest.to_ascii_lowercase().replace('_', "-");
            let origin = Origin::Variable(variable.clone());
            let Some(setting) = known(&key).filter(|_| rest == rest.to_ascii_uppercase()) else {
                return Err(ConfigError::UnknownKey { key, origin });
            };
            let values = match setting.arity {
                Arity::One => vec![value],
                Arity::Many => value
                    .split(',')
                    .map(|part| part.trim().to_owned())
                    .collect(),
            };
            layer.entries.insert(setting.name, Entry { origin, values });
        }
        Ok((layer, config))
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or has a key that names no setting.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_toml(&text, path)
    }

    /// Reads TOML; `path` is only for the sentences.
    ///
    /// # Errors
    /// It is no TOML, or has a key that names no setting.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| not_toml(text, path, &error))?;
        let mut layer = Self::default();
        for (key, value) in table {
            let origin = Origin::File(path.to_path_buf());
            let Some(setting) = known(&key) else {
                return Err(ConfigError::UnknownKey { key, origin });
            };
            let values = match value {
                toml::Value::Array(items) => items.into_iter().map(scalar).collect(),
                single @ (toml::Value::String(_)
                | toml::Value::Integer(_)
                | toml::Value::Float(_)
                | toml::Value::Boolean(_)
                | toml::Value::Datetime(_)
                | toml::Value::Table(_)) => scalar(single).map(|text| vec![text]),
            };
            let Some(values) = values else {
                return Err(ConfigError::WrongType {
                    key: setting.name,
                    origin,
                });
            };
            layer.entries.insert(setting.name, Entry { origin, values });
        }
        Ok(layer)
    }
}

/// Flags over environment over file.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The strongest first.
    layers: [Layer; 3],
}

impl Layers {
    /// The three sources.
    pub fn new(flags: Layer, environment: Layer, file: Layer) -> Self {
        Self {
            layers: [flags, environment, file],
        }
    }

    /// The value of a setting that has at most one.
    pub(super) fn one<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.entry(name) else {
            return Ok(None);
        };
        match entry.values.as_slice() {
            [value] => entry.parse(name, value, &parse).map(Some),
            values => Err(ConfigError::NotAList {
                key: name,
                origin: entry.origin.clone(),
                count: values.len(),
            }),
        }
    }

    /// The values of a setting that may have several; those of one source, not of all.
    pub(super) fn all<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(entry) = self.entry(name) else {
            return Ok(Vec::new());
        };
        entry
            .values
            .iter()
            .map(|value| entry.parse(name, value, &parse))
            .collect()
    }

    fn entry(&self, name: &'static str) -> Option<&Entry> {
        assert!(known(name).is_some(), "{name} is in the table of settings");
        self.layers.iter().find_map(|layer| layer.entries.get(name))
    }
}

impl Entry {
    fn parse<T>(
        &self,
        name: &'static str,
        value: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        parse(value).map_err(|reason| {
            let secret = known(name).is_some_and(|setting| setting.secrecy == Secrecy::Secret);
            let shown = if secret {
                "(not shown)".to_owned()
            } else {
                format!("{value:?}")
            };
            ConfigError::BadValue {
                key: name,
                shown,
                origin: self.origin.clone(),
                reason,
            }
        })
    }
}

/// Names the line but does not repeat it: it may hold a secret.
fn not_toml(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let line = 1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count();
    let reason = format!("line {line}: {}", error.message());
    ConfigError::NotToml {
        path: path.to_path_buf(),
        reason,
    }
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn known(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The names of all settings.
#[cfg(test)]
pub(super) fn setting_names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name)
}

/// The setting that was probably meant.
fn suggestion(key: &str) -> String {
    SETTINGS
        .iter()
        .map(|setting| (distance(key, setting.name), setting.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// Insertions, deletions and replacements between two short texts (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for ((y, across), above) in b.bytes().zip(row.windows(2)).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            let diagonal = across.first().copied().unwrap_or_default();
            next.push(
                (diagonal + usize::from(x != y))
                    .min(left + 1)
                    .min(above + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

struct Setting {
    name: &'static str,
    arity: Arity,
    secrecy: Secrecy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arity {
    One,
    Many,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Secret,
}

const PREFIX: &str = "JACKFIELD_";

const fn setting(name: &'static str, arity: Arity, secrecy: Secrecy) -> Setting {
    Setting {
        name,
        arity,
        secrecy,
    }
}

/// All settings. A flag, a key of the file and a variable exist for each.
const SETTINGS: &[Setting] = &[
    setting("account-token", Arity::One, Secrecy::Secret),
    setting("app", Arity::Many, Secrecy::Secret),
    setting("attach", Arity::One, Secrecy::Open),
    setting("cores", Arity::One, Secrecy::Open),
    setting("data-dir", Arity::One, Secrecy::Open),
    setting("dtls", Arity::One, Secrecy::Open),
    setting("gso", Arity::One, Secrecy::Open),
    setting("http", Arity::One, Secrecy::Open),
    setting("io", Arity::One, Secrecy::Open),
    setting("log", Arity::One, Secrecy::Open),
    setting("lost-timeout", Arity::One, Secrecy::Open),
    setting("media-ip", Arity::Many, Secrecy::Open),
    setting("media-port", Arity::One, Secrecy::Open),
    setting("orphan-timeout", Arity::One, Secrecy::Open),
    setting("spin", Arity::One, Secrecy::Open),
    setting("tls-cert", Arity::One, Secrecy::Open),
    setting("tls-key", Arity::One, Secrecy::Open),
    setting("unconnected-timeout", Arity::One, Secrecy::Open),
];
