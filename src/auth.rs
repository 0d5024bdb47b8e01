//! Who a client is: the proxy as a SCRAM server, names of client certificates, and the pause after failed logins. No I/O.

mod certificate;
mod delay;
mod scram_client;
mod scram_server;

pub use certificate::*;
pub use delay::*;
pub use scram_client::*;
pub use scram_server::*;
