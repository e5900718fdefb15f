//! Which addresses may be connected to. Called for every address a name resolves to and for every address
//! that is written out in a URL, before a socket is opened. Pure: it decides, others connect.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::Deserialize;

/// What kind of place an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Reachable by everybody.
    Public,
    /// This machine.
    Loopback,
    /// RFC 1918 and unique local addresses.
    Private,
    /// RFC 6598, shared by carriers; some clouds keep their metadata service there.
    CarrierNat,
    /// The local link, and with it the metadata services of clouds (`169.254.169.254`, `fd00:ec2::254`).
    LinkLocal,
    /// `0.0.0.0/8` and `::`.
    Unspecified,
    /// Groups, not hosts.
    Multicast,
    /// Never assigned: for books and tests.
    Documentation,
    /// An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4): a way around the other classes.
    Translated,
    /// Anything else that is not for general use.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier NAT",
            Self::LinkLocal => "link-local",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::Translated => "translated",
            Self::Reserved => "reserved",
        })
    }
}

impl AddressClass {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    const fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::CarrierNat,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Documentation,
            [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => Self::Reserved,
            [224..=239, ..] => Self::Multicast,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address == Ipv6Addr::LOCALHOST {
            return Self::Loopback;
        }
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] => Self::Translated,
            [0xfd00, 0xec2, ..] | [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Documentation,
            // 2001::/23 holds Teredo, benchmarks and other protocols that are not hosts.
            [0x2001, 0..=0x1ff, ..] => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

/// An exception that the operator makes: `10.1.0.0/16`, `192.168.7.9`, `sap.corp.example`, `*.corp.example`.
///
/// A network admits exactly its addresses, of whatever class. A host name admits the loopback, private and
/// carrier NAT addresses it resolves to, never the link-local or stranger ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AllowedTarget {
    /// All addresses whose first bits are these.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many leading bits count.
        prefix_bits: u8,
    },
    /// One host, by its name in lower case.
    Host(String),
    /// All hosts whose name ends in this text, which begins with a dot.
    Domain(String),
}

/// A text that is not an [`AllowedTarget`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a network (10.1.0.0/16), an address, a host name nor a domain (*.corp.example)")]
pub struct InvalidTarget(String);

impl FromStr for AllowedTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let refuse = || InvalidTarget(text.chars().take(128).collect());
        if let Ok(address) = text.parse::<IpAddr>() {
            let prefix_bits = if address.is_ipv4() { 32 } else { 128 };
            return Ok(Self::Network { address, prefix_bits });
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| refuse())?;
            let prefix_bits: u8 = bits.parse().map_err(|_| refuse())?;
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            return if prefix_bits <= bits_max {
                Ok(Self::Network { address, prefix_bits })
            } else {
                Err(refuse())
            };
        }
        let name = text.to_ascii_lowercase();
        let (domain, labels) = match name.strip_prefix("*.") {
            Some(labels) => (true, labels),
            None => (false, name.as_str()),
        };
        let label_fits = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if labels.len() > 253 || !labels.split('.').all(label_fits) {
            return Err(refuse());
        }
        Ok(if domain { Self::Domain(format!(".{labels}")) } else { Self::Host(labels.to_owned()) })
    }
}

impl TryFrom<String> for AllowedTarget {
    type Error = InvalidTarget;
    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl AllowedTarget {
    /// Whether the address lies in this network.
    #[must_use]
    pub fn covers_address(&self, candidate: IpAddr) -> bool {
        match (self, candidate) {
            (Self::Network { address: IpAddr::V4(network), prefix_bits }, IpAddr::V4(candidate)) => {
                let differing = network.to_bits() ^ candidate.to_bits();
                differing.leading_zeros() >= u32::from(*prefix_bits)
            }
            (Self::Network { address: IpAddr::V6(network), prefix_bits }, IpAddr::V6(candidate)) => {
                let differing = network.to_bits() ^ candidate.to_bits();
                differing.leading_zeros() >= u32::from(*prefix_bits)
            }
            (Self::Network { .. } | Self::Host(_) | Self::Domain(_), _) => false,
        }
    }

    /// Whether the host of this name is meant.
    #[must_use]
    pub fn covers_host(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match self {
            Self::Host(host) => *host == name,
            Self::Domain(suffix) => name.ends_with(suffix.as_str()),
            Self::Network { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        AddressClass::of(text.parse().unwrap())
    }

    #[test]
    fn every_special_range_has_its_class() {
        for (text, expected) in [
            ("8.8.8.8", AddressClass::Public),
            ("2606:4700::1111", AddressClass::Public),
            ("127.0.0.1", AddressClass::Loopback),
            ("127.255.255.254", AddressClass::Loopback),
            ("::1", AddressClass::Loopback),
            ("10.0.0.1", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("172.31.255.255", AddressClass::Private),
            ("172.32.0.1", AddressClass::Public),
            ("192.168.1.1", AddressClass::Private),
            ("fd12:3456::1", AddressClass::Private),
            ("100.64.0.1", AddressClass::CarrierNat),
            ("100.127.255.255", AddressClass::CarrierNat),
            ("100.128.0.1", AddressClass::Public),
            ("169.254.169.254", AddressClass::LinkLocal),
            ("fd00:ec2::254", AddressClass::LinkLocal),
            ("fe80::1", AddressClass::LinkLocal),
            ("0.0.0.0", AddressClass::Unspecified),
            ("0.1.2.3", AddressClass::Unspecified),
            ("::", AddressClass::Unspecified),
            ("224.0.0.1", AddressClass::Multicast),
            ("ff02::1", AddressClass::Multicast),
            ("192.0.2.1", AddressClass::Documentation),
            ("198.51.100.7", AddressClass::Documentation),
            ("203.0.113.7", AddressClass::Documentation),
            ("2001:db8::1", AddressClass::Documentation),
            ("::ffff:127.0.0.1", AddressClass::Translated),
            ("::ffff:8.8.8.8", AddressClass::Translated),
            ("64:ff9b::7f00:1", AddressClass::Translated),
            ("64:ff9b:1::1", AddressClass::Translated),
            ("2002:7f00:1::", AddressClass::Translated),
            ("2001::1", AddressClass::Reserved),
            ("::127.0.0.1", AddressClass::Reserved),
            ("fec0::1", AddressClass::Reserved),
            ("100::1", AddressClass::Reserved),
            ("198.18.0.1", AddressClass::Reserved),
            ("240.0.0.1", AddressClass::Reserved),
            ("255.255.255.255", AddressClass::Reserved),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn a_network_covers_its_addresses_and_no_others() {
        let network: AllowedTarget = "10.1.0.0/16".parse().unwrap();
        assert!(network.covers_address("10.1.255.255".parse().unwrap()));
        assert!(!network.covers_address("10.2.0.0".parse().unwrap()));
        assert!(!network.covers_address("::ffff:10.1.0.1".parse().unwrap()));
        let everything: AllowedTarget = "::/0".parse().unwrap();
        assert!(everything.covers_address("2606:4700::1".parse().unwrap()));
        assert!(!everything.covers_address("1.1.1.1".parse().unwrap()));
        let one: AllowedTarget = "192.168.7.9".parse().unwrap();
        assert!(one.covers_address("192.168.7.9".parse().unwrap()));
        assert!(!one.covers_address("192.168.7.8".parse().unwrap()));
    }

    #[test]
    fn a_host_is_covered_whatever_its_case_and_trailing_dot() {
        let host: AllowedTarget = "SAP.corp.example".parse().unwrap();
        assert!(host.covers_host("sap.corp.example"));
        assert!(host.covers_host("sap.corp.example."));
        assert!(!host.covers_host("evil-sap.corp.example"));
        let domain: AllowedTarget = "*.corp.example".parse().unwrap();
        assert!(domain.covers_host("sap.corp.example"));
        assert!(!domain.covers_host("corp.example"));
        assert!(!domain.covers_host("evilcorp.example"));
    }

    #[test]
    fn nonsense_is_not_a_target() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "a b", "http://x", "*", "*.", "a..b", "*.a.*"]
        {
            assert!(bad.parse::<AllowedTarget>().is_err(), "{bad:?} was accepted");
        }
    }
}
