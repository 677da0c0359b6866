//! Permissions: what becomes of a tool call that an agent asks for.
//!
//! Owns: the decision ([`decide`]), the rules that people have octo remember ([`Rules`], kept in the journal), what a person who is asked may answer
//! ([`Choice`]), and how a call is recognised in what any agent asks ([`Asked`]).
//!
//! Promises: whatever the agent, the same call gets the same decision; a rule holds from the moment it is in the journal, in every session of this user, and
//! an expired one never; what was cut short matches no rule that names a command or a path.
//!
//! Never: knows an agent, writes to one, or keeps an agent from anything: the sandbox does that. A decision here is what a person wants, said to the agent.

mod asked;
mod choice;
mod commands;
mod decide;
mod rules;

pub use asked::Asked;
pub use choice::{Choice, for_harness};
pub use commands::{about_rules, is_about_rules};
pub use decide::{Decision, decide};
pub use rules::{MAX_RULES, Rules};
