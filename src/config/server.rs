//! `[server]`, `[admin]` and `[[resource_server]]`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use crate::config::weak::{self, Others};
use crate::config::{files, tls};
use crate::document::{Field, Located, Mistakes, Place, Table};
use crate::domain::digest::Digest;
use crate::domain::id::{BrokerName, OperatorName};
use crate::domain::permission::Origin;
use crate::http::settings::{AdminSettings, Operator, ResourceServer, Role, ServerSettings, TlsSettings};

/// The operator whose key hallpass makes itself.
const LOCAL_OPERATOR: &str = "local";

const PUBLIC_URL: &str = "\"https://hallpass.example\"";

pub(super) struct Listeners {
    pub(super) server: Option<ServerSettings>,
    pub(super) admin: Option<AdminSettings>,
    pub(super) resource_servers: Vec<ResourceServer>,
    pub(super) broker_name: Option<BrokerName>,
}

pub(super) fn read(root: &Table<'_>, mistakes: &Mistakes) -> Listeners {
    let section = root.section("server");
    let tls = tls::read(&section, tls::Clients::MayCome, mistakes);
    let name = section.key("name", "\"broker-1\"");
    let broker_name =
        if name.is_present() { name.parse().map(|name| name.value) } else { "broker".parse().ok() };
    let listen = address(section.key("listen", "\"127.0.0.1:8700\""), 8700);
    let has_tls = !matches!(tls, Some(None));
    let public_url = public_url(section.key("public_url", PUBLIC_URL), listen.as_ref(), has_tls, mistakes);

    let section = root.section("admin");
    let admin_tls = tls::read(&section, tls::Clients::AreOperators, mistakes);
    let admin_listen = address(section.key("listen", "\"127.0.0.1:8701\""), 8701);
    if let (Some(public), Some(admin)) = (&listen, &admin_listen)
        && public.value == admin.value
        && admin.value.port() != 0
    {
        let remedy = "give the listeners an address each, such as 127.0.0.1:8700 and 127.0.0.1:8701";
        mistakes.add(&admin.place, "is the address of server.listen too", remedy);
    }
    if let (Some(listen), Some(tls)) = (&admin_listen, &admin_tls) {
        weak::admin_listener(listen, tls.is_some(), mistakes);
    }
    let local = section.key("local_operator_key_file", "\"../data/operator.key\"");
    let local_key_file = local.is_present().then(|| files::path(local)).flatten();
    if let (Some(file), Some(listen)) = (&local_key_file, &admin_listen)
        && !listen.value.ip().is_loopback()
    {
        let remedy = "write [[admin.operator]] for each operator, or listen on 127.0.0.1";
        mistakes.add(&file.place, "is for an admin listener on this machine alone", remedy);
    }
    if let Some(file) = &local_key_file {
        weak::readable(file, "the operator key", Others::AndGroup, mistakes);
        weak::operator_key(file, mistakes);
    }
    let mut taken = Taken::new(mistakes);
    let operators = section.list_of_tables("operator");
    let has_operators = !operators.is_empty() || section.has("operator");
    let operators: Vec<Operator> =
        operators.iter().filter_map(|table| operator(table, &mut taken, mistakes)).collect();
    if !has_operators && !section.has("local_operator_key_file") && local_key_file.is_none() {
        let remedy = "write [[admin.operator]], or local_operator_key_file for one on this machine";
        mistakes.add(&section.place(), "no operator could revoke anything", remedy);
    }
    let resource_servers = root
        .list_of_tables("resource_server")
        .iter()
        .filter_map(|table| resource_server(table, &mut taken))
        .collect();
    Listeners {
        server: (|| {
            let public_url = public_url?;
            let called = Some(public_url.host().to_owned());
            let tls = tls?.map(|tls| TlsSettings { called, ..tls });
            Some(ServerSettings { listen: listen?.value, public_url, tls })
        })(),
        admin: (|| {
            let local_key_file = local_key_file.map(|file| file.value);
            Some(AdminSettings { listen: admin_listen?.value, operators, local_key_file, tls: admin_tls? })
        })(),
        resource_servers,
        broker_name,
    }
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
    let key =
        table.key("key_sha256", "\"<what `hallpass operator new` prints>\"").required().parse::<Digest>();
    if let Some(name) = name.as_ref().filter(|name| name.value.as_str() == LOCAL_OPERATOR) {
        let remedy = "write another name, or local_operator_key_file instead";
        mistakes.add(&name.place, "`local` is the operator that local_operator_key_file makes", remedy);
    }
    taken.note(name.as_ref(), key.as_ref());
    let roles: BTreeSet<Role> = roles?.value.into_iter().map(|role| role.value.0).collect();
    Some(Operator { name: name?.value, roles, key: key?.value })
}

fn resource_server(table: &Table<'_>, taken: &mut Taken<'_>) -> Option<ResourceServer> {
    let name = table.key("name", "\"ledger\"").required().parse::<OperatorName>();
    let origins = table.key("origins", "[\"https://ledger.staging.acme.internal\"]").required();
    let origins = origins.filled_list::<Origin>();
    let key =
        table.key("key_sha256", "\"<what `hallpass operator new` prints>\"").required().parse::<Digest>();
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
