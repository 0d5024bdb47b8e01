//! One client's session: a state machine without sockets, and the driver that gives it bytes and connections.

mod answers;
mod batch;
mod completion;
mod confirm;
mod control;
mod core;
mod count;
mod doubt;
mod driver;
mod extended;
mod function_call;
mod gate;
mod implicit;
mod intent;
mod limits;
mod local_answer;
mod lost;
mod made;
mod place;
mod plan;
mod portals;
mod prepared;
mod replies;
mod run;
mod sequences;
mod server_error;
mod server_side;
mod simple;
mod state;
mod stepwise;
#[cfg(test)]
mod tests;

pub use control::*;
pub use driver::{Session, run};
pub(crate) use local_answer::clean_reason;
