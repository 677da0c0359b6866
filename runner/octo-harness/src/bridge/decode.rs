//! The connector's lines.

use super::wire::{Connected, Framed, Head, Lost, OutOfReach};
use super::{Bridge, CALLED};
use crate::decode::{Decode, Notices};
use crate::harness::Outbox;
use crate::lines::Lines;
use octo_protocol::{Cursor, Epoch, EventPayload};
use serde_json::from_str;

impl Decode for Bridge {
    fn called(&self) -> &str {
        CALLED
    }

    fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    fn typed(&mut self, kind: &str, text: &str, _now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match kind {
            "frame" => {
                let Framed { connection, frame } = from_str(text)?;
                if self.link.connection() == Some(connection) {
                    return self.frame(frame.get(), out);
                }
                self.ignored += 1;
            }
            "connected" => self.connected(from_str::<Connected>(text)?, out),
            "lost" => self.lost(&from_str::<Lost>(text)?, out),
            "out_of_reach" => self.out_of_reach(&from_str::<OutOfReach>(text)?, out),
            _ => self.ignored += 1,
        }
        Ok(())
    }
}

impl Bridge {
    /// Takes a frame of the bridge.
    fn frame(&mut self, text: &str, out: &mut Outbox) -> serde_json::Result<()> {
        let head: Head<'_> = from_str(text)?;
        match head.event.as_ref() {
            "response" => self.answered(from_str(text)?, out),
            "replay.start" | "messages" | "persisted" | "session.heartbeat" => {}
            "replay.end" => {
                if let (Some(epoch), Some(seq)) = (head.epoch, head.seq) {
                    self.moves(epoch, seq);
                }
                self.replayed(out);
            }
            "stream.resync_required" => {
                if let Some(epoch) = head.epoch {
                    self.cursor = Some(Cursor { epoch, seq: head.seq.unwrap_or_default() });
                }
                let reason = from_str::<serde_json::Value>(text)?["reason"].as_str().unwrap_or_default().to_owned();
                self.resynced(&reason, out);
            }
            _ => {
                let (epoch, seq) = (head.epoch, head.seq);
                let number = seq.unwrap_or_default();
                // What is not understood is passed over all the same: it would come again after every cut.
                if let (Some(epoch), Some(seq)) = (epoch, seq)
                    && !self.moves(epoch, seq)
                {
                    self.ignored += 1;
                    return Ok(());
                }
                self.happened(from_str::<EventPayload>(text)?, number, out);
            }
        }
        Ok(())
    }

    /// Moves the cursor. False: what is there was taken before.
    fn moves(&mut self, epoch: Epoch, seq: u64) -> bool {
        let news = self.cursor.as_ref().is_none_or(|cursor| cursor.epoch != epoch || seq > cursor.seq);
        if news {
            self.cursor = Some(Cursor { epoch, seq });
        }
        news
    }
}
