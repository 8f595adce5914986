//! Free loopback ports.

use std::{fs, net::TcpListener};

use anyhow::{Result, bail};

/// How many ports are tried before the kernel is asked for any: with a tenth of
/// the range in use, a hundred misses in a row do not happen.
const TRIES: usize = 100;

/// Lowest port handed out: below are the ports of well-known services.
const LOWEST: u16 = 10_000;

/// A TCP port of 127.0.0.1 that nobody listens on.
///
/// It lies below the range that the kernel takes the near ends of outgoing
/// connections from. A server that is killed and started again on its port can
/// therefore not find it taken by a passing connection, and a client that knocks
/// on the dead port in the meantime cannot be connected to itself.
///
/// # Errors
/// When no port is free.
pub fn free() -> Result<u16> {
    let above = ephemeral_start();
    if above > LOWEST + 1000 {
        for _ in 0..TRIES {
            let port = fastrand::u16(LOWEST..above);
            if is_free(port) {
                return Ok(port);
            }
        }
    }
    match TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => Ok(address.port()),
        Err(error) => bail!("no TCP port of 127.0.0.1 is free: {error}"),
    }
}

/// Whether a server could listen on this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The first port that the kernel gives to outgoing connections.
fn ephemeral_start() -> u16 {
    // Linux' own default, where the setting cannot be read.
    const DEFAULT: u16 = 32_768;
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(DEFAULT)
}
