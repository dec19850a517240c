//! Options of the store and of the API.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{api, control::parse_duration, store};

/// Where state is kept where neither an option nor systemd says.
const DIR: &str = "/var/lib/netspan";
/// Age of the store at least.
const AGE_MIN: Duration = Duration::from_mins(1);

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// There is none. Default: there is one.
    pub off: bool,
    /// Its directory. Default: the service's state directory (`STATE_DIRECTORY`), else `/var/lib/netspan`.
    pub dir: Option<PathBuf>,
    /// Bytes on the disk at most, from [`store::BYTES_MIN`]. Default: 1 GiB.
    pub bytes: u64,
    /// Age of what is kept at most, from a minute. Default: 24 hours.
    pub age: Duration,
}

/// The API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOptions {
    /// Where to listen; nowhere if there is none. Default: 127.0.0.1:4410.
    pub listen: Option<SocketAddr>,
    /// The token that requests need. Default: none, and then the address has to be a loopback one.
    pub token: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { off: false, dir: None, bytes: 1 << 30, age: Duration::from_hours(24) }
    }
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4410))), token: None }
    }
}

impl StoreOptions {
    /// What the store is told; nothing if there is to be none. `state` is where state is kept.
    pub fn config(&self, state: &Path) -> Option<store::Config> {
        (!self.off).then(|| store::Config {
            dir: self.dir.clone().unwrap_or_else(|| state.to_owned()),
            bytes: self.bytes,
            age: self.age,
        })
    }

    pub(super) fn set_bytes(&mut self, text: &str) -> Result<(), String> {
        let bytes = size(text).filter(|bytes| *bytes >= store::BYTES_MIN);
        self.bytes = bytes.ok_or("not a size of the store: give at least 16MiB, such as 500MiB or 2GiB")?;
        Ok(())
    }

    pub(super) fn set_age(&mut self, text: &str) -> Result<(), String> {
        let age = age(text).filter(|age| *age >= AGE_MIN);
        self.age = age.ok_or("not an age: give at least 1m, such as 30m, 12h or 7d")?;
        Ok(())
    }
}

/// Where state is kept. `state` is the value of `STATE_DIRECTORY`.
pub fn state_dir(state: Option<&str>) -> PathBuf {
    // systemd separates several directories by colons.
    PathBuf::from(state.and_then(|all| all.split(':').find(|dir| !dir.is_empty())).unwrap_or(DIR))
}

impl ApiOptions {
    pub(super) fn set_listen(&mut self, text: &str) -> Result<(), String> {
        self.listen = match text {
            "none" => None,
            address => Some(address.parse().map_err(|_| "not an address: give one such as 127.0.0.1:4410, or none")?),
        };
        Ok(())
    }

    pub(super) fn set_token(&mut self, text: &str) -> Result<(), String> {
        let is_sound = text.len() >= TOKEN_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            return Err(format!("not a token: give at least {TOKEN_MIN} letters, digits or signs, without spaces"));
        }
        self.token = Some(text.to_owned());
        Ok(())
    }

    /// What the API is told; nothing if there is to be none.
    pub fn config(&self) -> Option<api::Config> {
        Some(api::Config { listen: self.listen?, token: self.token.clone() })
    }
}

/// Bytes of a token at least: a shorter one can be guessed.
const TOKEN_MIN: usize = 16;

/// A number of bytes, with `KiB`, `MiB` or `GiB` (also `K`, `M`, `G`) or without a unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration that may also be in hours (`h`) or days (`d`).
pub(super) fn age(text: &str) -> Option<Duration> {
    let text = text.trim();
    for (unit, hours) in [('h', 1), ('d', 24)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Duration::from_hours(hours).checked_mul(number.trim().parse().ok()?);
        }
    }
    parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_where_it_was_asked_for_or_where_the_service_keeps_state() {
        let options = StoreOptions::default();
        let dir = |options: &StoreOptions, state| options.config(&state_dir(state)).map(|config| config.dir);
        assert_eq!(dir(&options, None), Some(PathBuf::from(DIR)));
        assert_eq!(dir(&options, Some("")), Some(PathBuf::from(DIR)));
        assert_eq!(dir(&options, Some("/var/lib/a:/var/lib/b")), Some(PathBuf::from("/var/lib/a")));
        let given = StoreOptions { dir: Some("/x".into()), ..options.clone() };
        assert_eq!(dir(&given, Some("/var/lib/a")), Some(PathBuf::from("/x")));
        assert_eq!(dir(&StoreOptions { off: true, ..given }, None), None);
    }

    #[test]
    fn sizes_and_ages_have_units_and_bounds() {
        let mut options = StoreOptions::default();
        for (text, expected) in [("2GiB", Some(2 << 30)), ("16M", Some(16 << 20)), ("1M", None), ("x", None)] {
            let set = options.set_bytes(text).is_ok().then_some(options.bytes);
            assert_eq!(set, expected, "{text}");
        }
        for (text, expected) in
            [("7d", Some(168 * 3600)), ("12h", Some(12 * 3600)), ("90s", Some(90)), ("5s", None), ("1", None)]
        {
            let set = options.set_age(text).is_ok().then_some(options.age.as_secs());
            assert_eq!(set, expected, "{text}");
        }
    }

    #[test]
    fn an_address_may_be_none_and_a_token_is_not_short() {
        let mut options = ApiOptions::default();
        assert!(options.set_listen("localhost").is_err() && options.set_token("short").is_err());
        assert!(options.set_token("0123456789 abcdef").is_err());
        options.set_listen("[::1]:80").expect("an address");
        options.set_token("0123456789abcdef").expect("a token");
        let config = options.config().expect("an API");
        assert_eq!(
            (config.listen.to_string().as_str(), config.token.as_deref()),
            ("[::1]:80", Some("0123456789abcdef"))
        );
        options.set_listen("none").expect("none");
        assert_eq!(options.config(), None);
    }
}
