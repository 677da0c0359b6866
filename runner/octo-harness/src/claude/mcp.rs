//! octo's tools for Claude Code: an MCP server without a process, whose messages travel as control requests (`sdkMcpServers`, `mcp_message`).
//!
//! Claude Code asks before each call of one as before any other tool. octo agrees itself: what they do is shown to people, or asked of them.

use super::Claude;
use super::requests::{failure, success, write};
use super::wire::{CanUseTool, McpMessage};
use crate::harness::Outbox;
use crate::lines::excerpt;
use crate::tools::{self, Call, mcp};
use serde_json::{Value, json};

/// What Claude Code's names of octo's tools begin with.
const PREFIX: &str = "mcp__octo__";
/// `source` of a server that is octo itself.
const OWN: &str = "sdk";

/// Whether a question is about one of octo's own tools. Another server may have octo's name, but is not of octo's making.
#[must_use]
pub fn is_own(ask: &CanUseTool) -> bool {
    let own_server = ask.mcp_server.as_ref().is_none_or(|server| server.name == mcp::SERVER && server.source == OWN);
    own_server && ask.tool_name.strip_prefix(PREFIX).is_some_and(tools::exists)
}

/// The line that carries a message of the server. A notification is answered too, as Claude Code's own SDK does it.
#[must_use]
pub fn carried(request_id: &str, message: Option<Value>) -> Value {
    let message = message.unwrap_or_else(|| json!({"jsonrpc": "2.0", "id": 0, "result": {}}));
    success(request_id, json!({"mcp_response": message}))
}

impl Claude {
    /// A message for octo's server, in the request `id`.
    pub(super) fn mcp(&mut self, id: &str, asked: &McpMessage, out: &mut Outbox) {
        if asked.server_name != mcp::SERVER {
            let what = format!("octo has no MCP server {:?}", excerpt(&asked.server_name, 100));
            return write(&failure(id, &what), out);
        }
        let answer = match mcp::hear(&asked.message) {
            mcp::Heard::Answer(answer) => Some(answer),
            mcp::Heard::Nothing => None,
            mcp::Heard::Cancelled { id: call } => {
                self.dialogs.withdraw_call(&call, out);
                self.questions_changed();
                None
            }
            mcp::Heard::Call { id: call, call: Call::Title(title) } => {
                let done = mcp::result(&call, &title.done(), false);
                self.renamed(Some(title.title), out);
                Some(done)
            }
            mcp::Heard::Call { id: call, call: Call::Ask(ask) } => {
                let line = self.dialogs.ask_person(id, call, &ask, out);
                self.questions_changed();
                if let Some(line) = line {
                    write(&line, out);
                }
                return;
            }
        };
        write(&carried(id, answer), out);
    }
}
