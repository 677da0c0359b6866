//! The limits that refuse or hold back somebody, by name.

use super::table::Part;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal in [$($part:ident),+],)+) => {
        /// A limit. Its name is the label `limit` of `octo_limit_hits_total`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Limit {
            /// Every limit.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it bounds, and what happens beyond it.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }

            /// Who has it.
            #[must_use]
            pub const fn parts(self) -> &'static [Part] {
                match self {
                    $(Self::$variant => &[$(Part::$part),+],)+
                }
            }
        }
    };
}

limits! {
    /// Messages that wait in an actor's mailbox; the sender is told `busy`.
    Mailbox = "mailbox" in [Octo, Runner, Eavs],
    /// Room on the disk for a store; a write is refused.
    StoreRoom = "store_room" in [Octo, Eavs],
    /// Connections in all (`server.max_connections`); answered with 503.
    Connections = "connections" in [Octo],
    /// Connections from one address (`server.max_connections_per_address`); answered with 429.
    ConnectionsPerAddress = "connections_per_address" in [Octo],
    /// WebSockets of one account (`server.max_connections_per_account`); answered with 429.
    ConnectionsPerAccount = "connections_per_account" in [Octo],
    /// Open files; a connection is answered with 503.
    Descriptors = "descriptors" in [Octo],
    /// Attempts to log in; answered with 429.
    Logins = "logins" in [Octo],
    /// Passwords that are checked or wait for it; answered with 503.
    Passwords = "passwords" in [Octo],
    /// Frames that a client sends: it is read no faster.
    ClientRate = "client_rate" in [Octo],
    /// Commands of one connection under way; refused as `busy`.
    Commands = "commands" in [Octo],
    /// Bytes of commands of one connection under way; refused as `busy`.
    CommandBytes = "command_bytes" in [Octo],
    /// Size of one command, or of a frame of the mux; refused, or the connection closed with 1009.
    FrameBytes = "frame_bytes" in [Octo],
    /// Size of an answer to a client; refused as `limit_exceeded`.
    AnswerBytes = "answer_bytes" in [Octo],
    /// Answers that a client has not read; the next is refused as `busy`.
    Outbox = "outbox" in [Octo],
    /// Sessions that one connection is attached to; refused as `limit_exceeded`.
    Attached = "attached" in [Octo],
    /// Sessions of one user that octo follows; refused as `not_ready`.
    Feeds = "feeds" in [Octo],
    /// Requests under way, or waiting to be written, on a link; refused as `busy`.
    LinkRequests = "link_requests" in [Octo, Runner],
    /// Subscriptions on a link; refused as `busy`.
    LinkSubscriptions = "link_subscriptions" in [Octo, Runner],
    /// Connections to a runner; one more is closed.
    LinkConnections = "link_connections" in [Runner],
    /// Traces at once; refused.
    Traces = "traces" in [Octo, Runner],
    /// Readers of `/metrics` at once; answered with 503.
    Scrapes = "scrapes" in [Octo],
    /// Samples of a runner or of octo-eavs that are too many, or not in the table; they are passed over.
    Samples = "samples" in [Octo],
    /// Sessions of one user; refused as `limit_exceeded`.
    Sessions = "sessions" in [Runner],
    /// Size of one input; refused as `limit_exceeded`.
    InputBytes = "input_bytes" in [Runner],
    /// Inputs that wait for an agent; refused as `limit_exceeded`.
    Inputs = "inputs" in [Runner],
    /// Commands that wait for an agent's start, or its answers; refused as `busy`.
    AgentCommands = "agent_commands" in [Runner],
    /// Memory or processes of an agent with all it started (`sandbox.max_memory_mb`, `sandbox.max_processes`); it is ended whole.
    Sandbox = "sandbox" in [Runner],
    /// Room on the disk for the journal; an input is refused, an agent held back.
    JournalRoom = "journal_room" in [Runner],
    /// Requests to models under way, in all; answered with 503.
    Streams = "streams" in [Eavs],
    /// Requests to models under way with one key; answered with 429.
    StreamsPerKey = "streams_per_key" in [Eavs],
    /// Requests a minute with one key (`eavs.default_session_rpm`); answered with 429.
    RequestRate = "request_rate" in [Eavs],
    /// Money of one key (`eavs.default_session_budget_usd`); answered with 429.
    Budget = "budget" in [Eavs],
    /// Size of a request to a model; answered with 413.
    RequestBytes = "request_bytes" in [Eavs],
    /// Virtual keys; answered with 507.
    Keys = "keys" in [Eavs],
}
