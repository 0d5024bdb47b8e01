//! The wire protocol without sockets: cutting frames, reading the messages that must be understood, building answers.
//!
//! Frames are cut here before anything decodes them, so that a message can never read into its neighbour; texts are
//! decoded strictly, so that what is inspected is what is sent. Source: Postgres documentation, "Frontend/Backend Protocol".

mod answer;
mod described;
mod frame;
mod frontend;
mod startup_packet;

pub use answer::*;
pub use described::*;
pub use frame::*;
pub use frontend::*;
pub use startup_packet::*;
