//! `[server]`, `[admin]` and `[[resource_server]]`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::broker::BY_ITSELF;
use crate::config::weak::{self, Others};
use crate::config::{files, proxies, tls};
use crate::document::{Field, Located, Mistakes, Place, Table};
use crate::domain::digest::Digest;
use crate::domain::id::{BrokerName, OperatorName};
use crate::domain::permission::Origin;
use crate::http::settings::{AdminSettings, Operator, ResourceServer, Role, ServerSettings, TlsSettings};
use crate::telemetry::LogFilter;

/// The operator whose key hallpass makes itself.
const LOCAL_OPERATOR: &str = "local";

const PUBLIC_URL: &str = "\"https://hallpass.example\"";

pub(super) struct Listeners {
    pub(super) server: Option<ServerSettings>,
    pub(super) admin: Option<AdminSettings>,
    pub(super) resource_servers: Vec<ResourceServer>,
    pub(super) broker_name: Option<BrokerName>,
    pub(super) log: Option<LogFilter>,
}

pub(super) fn read(root: &Table<'_>, mistakes: &Mistakes) -> Listeners {
    let section = root.section("server");
    let broker_name = broker_name(section.key("name", "\"broker-1\""));
    let log = section.key_by("log", "\"info\"", "HALLPASS_LOG");
    let log = log.or(LogFilter::default(), |field| field.parse()).map(|log| log.value);
    let listen = address(section.key("listen", "\"127.0.0.1:8700\""), 8700);
    let server = server(&section, listen.as_ref(), mistakes);
    let mut taken = Taken::new(mistakes);
    let admin = admin(&root.section("admin"), listen.as_ref(), &mut taken, mistakes);
    let resource_servers = root.list_of_tables("resource_server");
    let resource_servers =
        resource_servers.iter().filter_map(|table| resource_server(table, &mut taken)).collect();
    Listeners { server, admin, resource_servers, broker_name, log }
}

fn broker_name(field: Field<'_>) -> Option<BrokerName> {
    if field.is_present() { field.parse().map(|name| name.value) } else { "broker".parse().ok() }
}

fn server(
    section: &Table<'_>,
    listen: Option<&Located<SocketAddr>>,
    mistakes: &Mistakes,
) -> Option<ServerSettings> {
    let tls = tls::read(section, tls::Clients::MayCome, mistakes);
    let has_tls = !matches!(tls, Some(None));
    let public_url = public_url(section.key("public_url", PUBLIC_URL), listen, has_tls, mistakes)?;
    let proxies = proxies::read(section, mistakes);
    let called = Some(public_url.host().to_owned());
    let tls = tls?.map(|tls| {
        let settings = TlsSettings { called, ..tls.value };
        tls::warn_of_other_hosts(&settings, &tls.place, mistakes);
        settings
    });
    Some(ServerSettings { listen: listen?.value, public_url, tls, proxies: proxies? })
}

/// `public` is where the public listener is.
fn admin(
    section: &Table<'_>,
    public: Option<&Located<SocketAddr>>,
    taken: &mut Taken<'_>,
    mistakes: &Mistakes,
) -> Option<AdminSettings> {
    let tls = tls::read(section, tls::Clients::AreOperators, mistakes);
    let listen = admin_address(section, public, mistakes);
    if let (Some(listen), Some(tls)) = (&listen, &tls) {
        weak::admin_listener(listen, tls.is_some(), mistakes);
    }
    let local_key_file = local_key_file(section, listen.as_ref(), mistakes);
    let tables = section.list_of_tables("operator");
    if tables.is_empty()
        && !section.has("operator")
        && !section.has("local_operator_key_file")
        && local_key_file.is_none()
    {
        let remedy = "write [[admin.operator]], or local_operator_key_file for one on this machine";
        mistakes.add(&section.place(), "no operator could revoke anything", remedy);
    }
    let operators = tables.iter().filter_map(|table| operator(table, taken, mistakes)).collect();
    let local_key_file = local_key_file.map(|file| file.value);
    Some(AdminSettings { listen: listen?.value, operators, local_key_file, tls: tls?.map(|tls| tls.value) })
}

fn admin_address(
    section: &Table<'_>,
    public: Option<&Located<SocketAddr>>,
    mistakes: &Mistakes,
) -> Option<Located<SocketAddr>> {
    let listen = address(section.key("listen", "\"127.0.0.1:8701\""), 8701)?;
    if public.is_some_and(|public| public.value == listen.value) && listen.value.port() != 0 {
        let remedy = "give the listeners an address each, such as 127.0.0.1:8700 and 127.0.0.1:8701";
        mistakes.add(&listen.place, "is the address of server.listen too", remedy);
    }
    Some(listen)
}

/// The file of the operator `local`, which only a listener on this machine may have. `listen` is the admin listener's.
fn local_key_file(
    section: &Table<'_>,
    listen: Option<&Located<SocketAddr>>,
    mistakes: &Mistakes,
) -> Option<Located<PathBuf>> {
    let field = section.key("local_operator_key_file", "\"../data/operator.key\"");
    let file = field.is_present().then(|| files::path(field, mistakes)).flatten()?;
    if listen.is_some_and(|listen| !listen.value.ip().is_loopback()) {
        let remedy = "write [[admin.operator]] for each operator, or listen on 127.0.0.1";
        mistakes.add(&file.place, "is for an admin listener on this machine alone", remedy);
    }
    weak::readable(&file, "the operator key", Others::AndGroup, mistakes);
    weak::operator_key(&file, mistakes);
    files::own_key(&file, false, mistakes);
    Some(file)
}

fn address(field: Field<'_>, port: u16) -> Option<Located<SocketAddr>> {
    field.or(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), |field| field.parse())
}

/// The issuer of every token: an origin, so that clients find its metadata at the place of RFC 8414 §3.
fn public_url(
    field: Field<'_>,
    listen: Option<&Located<SocketAddr>>,
    tls: bool,
    mistakes: &Mistakes,
) -> Option<Origin> {
    if field.is_present() {
        let place = field.place().clone();
        let url = field.parse::<crate::domain::permission::Location>()?;
        if !url.value.is_origin() {
            let remedy = format!("write public_url = \"{}\"", url.value.origin());
            mistakes.add(&place, "has a path", remedy);
        }
        let origin = url.value.origin();
        if tls && !origin.is_https() {
            let remedy = format!("write public_url = \"https://{}\"", origin.authority());
            mistakes.add(&place, "is http, and the listener has server.tls", remedy);
        }
        return Some(origin.clone());
    }
    let listen = listen?.value;
    if listen.ip().is_loopback() && listen.port() != 0 {
        return format!("{}://{listen}", if tls { "https" } else { "http" }).parse().ok();
    }
    field.required();
    None
}

fn operator(table: &Table<'_>, taken: &mut Taken<'_>, mistakes: &Mistakes) -> Option<Operator> {
    let name = table.key("name", "\"oncall\"").required().parse::<OperatorName>();
    let roles = table.key("roles", "[\"admin\"]").required().filled_list::<RoleName>();
    let key = table
        .key("key_sha256", "\"<what `hallpass operator new` prints>\"")
        .required()
        .beside_a_secret()
        .parse::<Digest>();
    if let Some(name) = name.as_ref().filter(|name| name.value.as_str() == LOCAL_OPERATOR) {
        let remedy = "write another name, or local_operator_key_file instead";
        mistakes.add(&name.place, "`local` is the operator that local_operator_key_file makes", remedy);
    }
    if let Some(name) = name.as_ref().filter(|name| name.value.as_str() == BY_ITSELF) {
        let remedy = "write another name";
        mistakes.add(&name.place, "`hallpass` is who lifts a stop at its end", remedy);
    }
    taken.note(name.as_ref(), key.as_ref());
    let roles: BTreeSet<Role> = roles?.value.into_iter().map(|role| role.value.0).collect();
    Some(Operator { name: name?.value, roles, key: key?.value })
}

fn resource_server(table: &Table<'_>, taken: &mut Taken<'_>) -> Option<ResourceServer> {
    let name = table.key("name", "\"ledger\"").required().parse::<OperatorName>();
    let origins = table.key("origins", "[\"https://ledger.staging.acme.internal\"]").required();
    let origins = origins.filled_list::<Origin>();
    let key = table
        .key("key_sha256", "\"<what `hallpass operator new` prints>\"")
        .required()
        .beside_a_secret()
        .parse::<Digest>();
    taken.note(name.as_ref(), key.as_ref());
    let origins = origins?.value.into_iter().map(|origin| origin.value).collect();
    Some(ResourceServer { name: name?.value, origins, key: key?.value })
}

/// Names and keys of whoever may call, each of which must say who it is.
struct Taken<'m> {
    mistakes: &'m Mistakes,
    names: Vec<Located<OperatorName>>,
    keys: Vec<Located<Digest>>,
}

impl<'m> Taken<'m> {
    fn new(mistakes: &'m Mistakes) -> Self {
        Self { mistakes, names: Vec::new(), keys: Vec::new() }
    }

    fn note(&mut self, name: Option<&Located<OperatorName>>, key: Option<&Located<Digest>>) {
        let line = |place: &Place| place.line.unwrap_or_default();
        if let Some(name) = name {
            match self.names.iter().find(|other| other.value == name.value) {
                Some(first) => self.mistakes.add(
                    &name.place,
                    format!("`{}` is also the name on line {}", name.value, line(&first.place)),
                    "give each operator and resource server a name of its own",
                ),
                None => self.names.push(name.clone()),
            }
        }
        let Some(key) = key else { return };
        if key.value == Digest::of(b"") {
            let remedy = "write the hash that `hallpass operator new` prints";
            self.mistakes.add(&key.place, "is the hash of no key at all", remedy);
        }
        match self.keys.iter().find(|other| other.value == key.value) {
            Some(first) => self.mistakes.add(
                &key.place,
                format!("is also the key on line {}", line(&first.place)),
                "make each a key of its own with `hallpass operator new`",
            ),
            None => self.keys.push(key.clone()),
        }
    }
}

#[derive(PartialEq)]
struct RoleName(Role);

impl std::str::FromStr for RoleName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "admin" => Ok(Self(Role::Admin)),
            "approver" => Ok(Self(Role::Approver)),
            "auditor" => Ok(Self(Role::Auditor)),
            _ => Err("is not one of the roles admin, approver and auditor"),
        }
    }
}
