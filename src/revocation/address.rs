//! Where Redis is: what `revocation.url` says.

use std::fmt;
use std::str::FromStr;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Address {
    /// `HOST` or `HOST:PORT`, with an IPv6 address in brackets.
    fn parse(text: &str, default: u16) -> Option<Self> {
        let url = url::Url::parse(&format!("redis://{text}")).ok()?;
        let host = match url.host()? {
            // An IPv4 address is a name too, to a URL that is not the web's.
            url::Host::Domain(name) if !name.is_empty() && !name.contains('%') => name.to_owned(),
            url::Host::Ipv4(ip) => ip.to_string(),
            url::Host::Ipv6(ip) => ip.to_string(),
            url::Host::Domain(_) => return None,
        };
        let port = url.port().unwrap_or(default);
        (url.path().is_empty() && port != 0).then_some(Self { host, port })
    }
}

/// Which servers there are, and how the primary among them is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    One(Address),
    /// Sentinels, which know the primary of `service`.
    Sentinels {
        addresses: Vec<Address>,
        /// The name in `sentinel monitor NAME …`.
        service: String,
    },
    /// Some nodes of a cluster; each knows which node holds a key.
    Cluster(Vec<Address>),
}

/// A URL of Redis. It never holds credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub servers: Servers,
    pub tls: bool,
    pub database: u16,
}

/// Why a text is no [`RedisUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is not a URL")]
    NotAUrl,
    #[error("is not a store for revocations")]
    NotRedis,
    #[error("holds credentials, and URLs end in logs")]
    Credentials,
    #[error("has more than a host, a port and a database's number")]
    More,
    #[error("names several hosts")]
    Several,
    #[error("does not end in the name of a service, as in `sentinel monitor NAME`")]
    NoService,
    #[error("names a database, and a cluster has none but 0")]
    Database,
}

impl UrlError {
    /// What to write instead.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotAUrl | Self::NotRedis | Self::More => {
                "write memory: for one broker, redis://host:6379 or rediss://host:6379 for several"
            }
            Self::Credentials => {
                "write revocation.username, and password_file or HALLPASS_REVOCATION__PASSWORD"
            }
            Self::Several => "write redis+sentinel:// for sentinels, redis+cluster:// for nodes of a cluster",
            Self::NoService => "write redis+sentinel://host:26379,host:26379/SERVICE",
            Self::Database => "end the URL after the last host",
        }
    }
}

impl FromStr for RedisUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NotAUrl)?;
        let (kind, tls) = match scheme {
            "redis" | "redis+sentinel" | "redis+cluster" => (&scheme["redis".len()..], false),
            "rediss" | "rediss+sentinel" | "rediss+cluster" => (&scheme["rediss".len()..], true),
            _ => return Err(UrlError::NotRedis),
        };
        if rest.contains('@') {
            return Err(UrlError::Credentials);
        }
        if rest.contains(['?', '#']) {
            return Err(UrlError::More);
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default = if kind == "+sentinel" { 26_379 } else { 6_379 };
        let mut addresses: Vec<Address> = hosts
            .split(',')
            .map(|host| Address::parse(host, default))
            .collect::<Option<_>>()
            .ok_or(UrlError::NotRedis)?;
        let (servers, database) = match kind {
            "+sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() || !service.bytes().all(is_of_service) {
                    return Err(UrlError::NoService);
                }
                (Servers::Sentinels { addresses, service: service.to_owned() }, database)
            }
            "+cluster" if !matches!(path, "" | "0") => return Err(UrlError::Database),
            "+cluster" => (Servers::Cluster(addresses), ""),
            _ if addresses.len() > 1 => return Err(UrlError::Several),
            _ => (Servers::One(addresses.remove(0)), path),
        };
        let database = if database.is_empty() { Ok(0) } else { database.parse() };
        Ok(Self { servers, tls, database: database.map_err(|_| UrlError::More)? })
    }
}

/// As Sentinel takes names.
fn is_of_service(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        let join =
            |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.servers {
            Servers::One(address) => write!(f, "redis{s}://{address}")?,
            Servers::Sentinels { addresses, service } => {
                write!(f, "redis{s}+sentinel://{}/{service}", join(addresses))?;
            }
            Servers::Cluster(addresses) => write!(f, "redis{s}+cluster://{}", join(addresses))?,
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl RedisUrl {
    /// Every server that the URL names.
    pub fn addresses(&self) -> &[Address] {
        match &self.servers {
            Servers::One(address) => std::slice::from_ref(address),
            Servers::Sentinels { addresses, .. } | Servers::Cluster(addresses) => addresses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_which_servers_there_are() {
        for (text, shown) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
            ("rediss://redis.example:1/", "rediss://redis.example:1"),
            ("redis://[::1]:7/65535", "redis://[::1]:7/65535"),
            ("redis+sentinel://a,b:1,[::2]/main", "redis+sentinel://a:26379,b:1,[::2]:26379/main"),
            ("rediss+sentinel://a/my-main.x_1/3", "rediss+sentinel://a:26379/my-main.x_1/3"),
            ("redis+cluster://a,b:7001", "redis+cluster://a:6379,b:7001"),
            ("rediss+cluster://a/0", "rediss+cluster://a:6379"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn what_no_server_can_be_is_refused() {
        use UrlError::*;
        for (text, why) in [
            ("memory", NotAUrl),
            ("redis:", NotAUrl),
            ("http://127.0.0.1", NotRedis),
            ("redis://", NotRedis),
            ("redis:///0", NotRedis),
            ("redis://a:0", NotRedis),
            ("redis://a:b", NotRedis),
            ("redis+sentinel://a,,b/main", NotRedis),
            ("redis+cluster://a,", NotRedis),
            ("redis://user:pw@a", Credentials),
            ("redis://user:p/w@a", Credentials),
            ("redis+sentinel://a,:pw@b/main", Credentials),
            ("redis://a?protocol=resp3", More),
            ("rediss://a#insecure", More),
            ("redis://a/zero", More),
            ("redis://a/-1", More),
            ("redis://a/65536", More),
            ("redis+sentinel://a/main/x", More),
            ("redis+sentinel://a/main/0/1", More),
            ("redis://a,b", Several),
            ("redis+sentinel://a", NoService),
            ("redis+sentinel://a/", NoService),
            ("redis+sentinel://a/my main", NoService),
            ("redis+cluster://a/1", Database),
        ] {
            assert_eq!(text.parse::<RedisUrl>(), Err(why), "{text}");
        }
    }
}
