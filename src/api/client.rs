//! Who sends a request, as far as limits go.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest};

/// A key, or an address where no keys are asked for: a key that nobody checks could be another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// The SHA-256 digest of one of the server's keys.
    Key([u8; 32]),
    /// The address that the connection comes from, a proxy's if there is one. Of IPv6 the first 64 bits, which
    /// is what one subscriber is given.
    Address(IpAddr),
}

impl Client {
    /// The client at the other end of the connection.
    pub fn at_address(request: &ServiceRequest) -> Self {
        let address = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        Self::Address(subscriber(address))
    }

    /// Remembers who sends `request`.
    pub fn note(self, request: &ServiceRequest) {
        request.extensions_mut().insert(self);
    }

    /// Who sends a request that came through `auth::guard`.
    pub fn of(request: &HttpRequest) -> Self {
        let extensions = request.extensions();
        *extensions.get::<Self>().expect("every request under /v1 passes through `auth::guard`")
    }

    /// For messages: what the limit counts by.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Address(_) => "address",
        }
    }
}

/// The part of an address that stands for one subscriber.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_client() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::7"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::7"), of("2001:db8:0:2::7"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
