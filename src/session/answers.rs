//! The proxy's own answers, each in its place among the server's.

use bytes::BytesMut;

use super::core::{Core, Progress, Step};
use super::prepared::ParseUndo;
use super::replies::Expect;
use crate::upstream::Link;
use crate::wire::{put_bare, put_parse_complete, put_ready};

impl Core {
    /// Puts bytes of the proxy's own in line behind the answers that are still to come.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut BytesMut)) {
        match self.replies.back_mut() {
            None => write(&mut self.out),
            Some(Expect::Answer(bytes)) => {
                let before = bytes.len();
                write(bytes);
                self.queued += bytes.len() - before;
            }
            Some(_) => {
                let mut bytes = BytesMut::new();
                write(&mut bytes);
                self.queued += bytes.len();
                self.replies.push_back(Expect::Answer(bytes));
            }
        }
    }

    /// Emits the proxy's own answers that have become due.
    pub(super) fn answer_in_turn(&mut self) {
        while let Some(Expect::Answer(_) | Expect::Known(_)) = self.replies.front() {
            match self.replies.pop_front() {
                Some(Expect::Answer(bytes)) => {
                    self.queued = self.queued.saturating_sub(bytes.len());
                    self.out.extend_from_slice(&bytes);
                }
                _ => put_parse_complete(&mut self.out),
            }
        }
    }

    /// Whether answers of the server are outstanding.
    pub(super) fn is_server_busy(&self) -> bool {
        self.replies.iter().any(|expected| !expected.is_answer())
    }

    /// ParseComplete for a statement that the server need not be asked about.
    pub(super) fn answer_known_parse(&mut self, undo: ParseUndo) {
        if self.replies.is_empty() {
            put_parse_complete(&mut self.out);
        } else {
            self.replies.push_back(Expect::Known(undo));
        }
    }

    /// ReadyForQuery of the proxy's own.
    pub(super) fn answer_ready(&mut self) {
        let transaction = self.state.transaction;
        self.answer(|out| put_ready(transaction, out));
    }

    /// Waits for the answers to everything sent: a Flush makes sure that they come.
    pub(super) fn await_replies(&mut self, link: Option<&mut Link>) -> Progress {
        if let Some(link) = link
            && self.is_unflushed
        {
            put_bare(b'H', &mut link.outbox);
            self.is_unflushed = false;
        }
        Progress::Stop(Step::AwaitReplies)
    }
}
