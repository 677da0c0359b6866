//! One row of the table: a key, what it takes, what it is for, and whether this build can do it.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range, both ends included.
    Integer(i64, i64),
    /// A number, at least this.
    Number(f64),
    /// Any text.
    Text,
    /// A file or directory; `~/` and `$HOME/` are the home of octo's user.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of tables with these keys.
    Tables(&'static [&'static str]),
    /// A table whose keys are free.
    Map,
}

/// What a key is when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// Not set.
    None,
    /// A flag.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(&'static str),
    /// A list of texts.
    List(&'static [&'static str]),
    /// Worked out at start, as described.
    Derived(&'static str),
}

/// Whether this build does what the key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// It does.
    Built,
    /// Not yet; a start with this key set says so, by name and with this sentence.
    NotBuilt(&'static str),
}

/// A configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// `section.key`; a segment `*` stands for a name of the operator's choice.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Default,
    /// What it does, with its unit.
    pub doc: &'static str,
    /// Whether this build does it.
    pub capability: Capability,
    /// Whether its value is never shown.
    pub secret: bool,
}

impl Key {
    /// A key that this build does.
    #[must_use]
    pub const fn new(path: &'static str, kind: Kind, default: Default, doc: &'static str) -> Self {
        Self { path, kind, default, doc, capability: Capability::Built, secret: false }
    }

    /// The key is known, and what it asks for is not built yet.
    #[must_use]
    pub const fn not_built(mut self, sentence: &'static str) -> Self {
        self.capability = Capability::NotBuilt(sentence);
        self
    }

    /// Its value is a secret: a literal or `env:NAME`, shown as `…`.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Whether `path` is this key.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let (mut mine, mut theirs) = (self.path.split('.'), path.split('.'));
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether `path` is a table above this key.
    #[must_use]
    pub fn is_below(&self, path: &str) -> bool {
        let depth = path.split('.').count();
        self.path.split('.').count() > depth && self.path.split('.').zip(path.split('.')).all(|(a, b)| a == "*" || a == b)
    }

    /// The variable that sets it: `OCTO__SECTION__KEY`. Keys with a free name have none.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let scalar = !matches!(self.kind, Kind::Tables(_) | Kind::Map);
        (scalar && !self.path.contains('*')).then(|| format!("OCTO__{}", self.path.replace('.', "__").to_ascii_uppercase()))
    }

    /// What it takes, for people.
    #[must_use]
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Integer(low, i64::MAX) => format!("a whole number from {low}"),
            Kind::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Kind::Number(low) => format!("a number from {low}"),
            Kind::Text if self.secret => "a text or env:NAME".to_owned(),
            Kind::Text => "a text".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::List => "a list of texts".to_owned(),
            Kind::Tables(keys) => format!("a list of tables with {}", keys.join(", ")),
            Kind::Map => "a table".to_owned(),
        }
    }

    /// The default, for people.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.default {
            Default::None => "not set".to_owned(),
            Default::Bool(b) => b.to_string(),
            Default::Integer(n) => n.to_string(),
            Default::Number(n) => format!("{n:?}"),
            Default::Text(t) => format!("{t:?}"),
            Default::List(list) => format!("{list:?}"),
            Default::Derived(how) => how.to_owned(),
        }
    }
}
