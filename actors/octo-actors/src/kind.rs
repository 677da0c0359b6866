//! Policy as data: what kind of actor this is, and what its supervisor does when it ends.

use std::time::Duration;

use crate::Backoff;

/// When an actor that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always, also after a normal end.
    Permanent,
    /// After a failure (error, panic, kill), not after a normal end.
    Transient,
    /// Never.
    Temporary,
}

/// At most `max` restarts in any `period`; one more is *exceeded*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed in the period.
    pub max: u32,
    /// The sliding window. After an incarnation that lived this long the next restart comes at once again.
    pub period: Duration,
}

impl Intensity {
    /// At most `max` restarts in `period`.
    #[must_use]
    pub const fn new(max: u32, period: Duration) -> Self {
        Self { max, period }
    }

    /// Restart for ever: for links and services whose other side may be away for days. Give such a kind a back-off.
    /// After an incarnation that lived 60 s the next restart comes at once again.
    pub const UNLIMITED: Self = Self { max: u32::MAX, period: Duration::from_secs(60) };
}

/// What happens when an actor exceeds its intensity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExceeded {
    /// The supervisor fails with everything below it: the owner of the children fails, and *its* supervisor decides.
    Escalate,
    /// The actor stays down, its row says `degraded`, the system's hook is told; siblings go on.
    /// A `restart` asked for by a person brings it back.
    Degrade,
}

/// The policy of a kind of actor. Make one `const fn` or constant per kind and read the tree's behaviour off them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kind {
    /// What it is, in the directory: `session`, `connection`, `runner`.
    pub name: &'static str,
    /// When it is started again.
    pub restart: Restart,
    /// How often it may be started again.
    pub intensity: Intensity,
    /// What happens beyond that.
    pub on_exceeded: OnExceeded,
    /// The wait before each restart but the first, which comes at once: most failures happen once, and who waits for the actor shall not
    /// wait for a timer.
    pub backoff: Backoff,
    /// Messages that may wait in the mailbox; one more gets `Busy`.
    pub mailbox: usize,
    /// Longer than this inside one message, and the directory shows it as `stuck`.
    pub stuck_after: Duration,
    /// Longer than this inside one message, and its supervisor ends it as failed, and starts it again as its kind allows. `None`: it is only shown.
    /// It cannot end one that does not come back to its runtime.
    pub restart_stuck: Option<Duration>,
    /// How long a graceful stop may take when the whole tree shuts down or a person restarts it.
    pub stop_within: Duration,
}

impl Kind {
    /// A kind with the house's defaults: 3 restarts in 60 s, then escalate; the first at once, then a back-off of 100 ms → 30 s;
    /// mailbox 256; stuck after 5 s; stops within 5 s.
    #[must_use]
    pub const fn new(name: &'static str, restart: Restart) -> Self {
        Self {
            name,
            restart,
            intensity: Intensity::new(3, Duration::from_secs(60)),
            on_exceeded: OnExceeded::Escalate,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            mailbox: 256,
            stuck_after: Duration::from_secs(5),
            restart_stuck: None,
            stop_within: Duration::from_secs(5),
        }
    }

    /// Restarted always. See [`Kind::new`] for the rest.
    #[must_use]
    pub const fn permanent(name: &'static str) -> Self {
        Self::new(name, Restart::Permanent)
    }

    /// Restarted after failures. See [`Kind::new`] for the rest.
    #[must_use]
    pub const fn transient(name: &'static str) -> Self {
        Self::new(name, Restart::Transient)
    }

    /// Never restarted. See [`Kind::new`] for the rest.
    #[must_use]
    pub const fn temporary(name: &'static str) -> Self {
        Self::new(name, Restart::Temporary)
    }

    /// With this intensity.
    #[must_use]
    pub const fn intensity(mut self, max: u32, period: Duration) -> Self {
        self.intensity = Intensity::new(max, period);
        self
    }

    /// Restarted without limit ([`Intensity::UNLIMITED`]).
    #[must_use]
    pub const fn unlimited(mut self) -> Self {
        self.intensity = Intensity::UNLIMITED;
        self
    }

    /// With [`OnExceeded::Degrade`].
    #[must_use]
    pub const fn degrade(mut self) -> Self {
        self.on_exceeded = OnExceeded::Degrade;
        self
    }

    /// With this back-off.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// With a mailbox of this many messages.
    #[must_use]
    pub const fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }

    /// Shown as stuck after this long inside one message.
    #[must_use]
    pub const fn stuck_after(mut self, after: Duration) -> Self {
        self.stuck_after = after;
        self
    }

    /// Ended as failed after this long inside one message.
    #[must_use]
    pub const fn restart_stuck(mut self, after: Duration) -> Self {
        self.restart_stuck = Some(after);
        self
    }

    /// Given this long for a graceful stop.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.stop_within = within;
        self
    }
}

/// The policy in one line, as tables of kinds show it.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, restart, intensity, on_exceeded, backoff, mailbox, stuck_after, restart_stuck, stop_within } = self;
        write!(f, "{name} | {} | ", format!("{restart:?}").to_lowercase())?;
        match (restart, intensity.max) {
            (Restart::Temporary, _) => write!(f, "– | – | – | ")?,
            (_, u32::MAX) => write!(f, "unlimited | – | ")?,
            (_, max) => write!(f, "{max} in {:?} | {} | ", intensity.period, format!("{on_exceeded:?}").to_lowercase())?,
        }
        if *restart != Restart::Temporary {
            write!(f, "at once, {:?} → {:?} | ", backoff.min, backoff.max)?;
        }
        write!(f, "{mailbox} | {stuck_after:?}")?;
        match restart_stuck {
            Some(after) => write!(f, ", restarted after {after:?}")?,
            None => write!(f, ", shown only")?,
        }
        write!(f, " | {stop_within:?}")
    }
}
