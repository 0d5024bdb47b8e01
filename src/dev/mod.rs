//! Help for development: a private Postgres cluster, as the demo and the tests use it.

mod cluster;
mod programs;

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use ring::rand::{SecureRandom, SystemRandom};

pub use cluster::{Cluster, ClusterError, ClusterOptions, StopMode};
pub use programs::{Account, Programs};

/// A loopback TCP port that nobody listened on a moment ago. Somebody else may take it before its user does: be ready to ask
/// for another.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A password of 128 random bits, in letters and digits that need no quoting anywhere.
pub fn random_password() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
