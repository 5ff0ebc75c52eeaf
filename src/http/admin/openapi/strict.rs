//! What the derived document leaves open and the server does not: who may call, which values a parameter or a member
//! can have, the schemas of what other layers write, and by which problems it refuses.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::domain::event::{Kind, Outcome};
use crate::domain::request::{MAX_ELEMENTS, MAX_RESOURCES};

const NAME: &str = "^[a-z0-9][a-z0-9_-]*(?:\\.[a-z0-9_-]+)*\\.?$";
const TEAM: &str = "^[A-Za-z0-9@][A-Za-z0-9._/@-]*$";
const UUID: &str = "^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$";
const ACTION: &str = "^(?:[A-Z]{1,32}|[a-z][a-z0-9_-]*(?::[a-z][a-z0-9_-]*)*)$";
/// Of a page of eight bytes.
const CURSOR: &str = "^[A-Za-z0-9_-]{11}$";
/// Text on one line that is not blank.
const REASON: &str =
    "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u0020\\u007f-\\u00a0][^\\u0000-\\u001f\\u007f-\\u009f]*$";
const NOT_BLANK: &str = "[^\\u0009-\\u000d\\u0020\\u0085\\u00a0]";

/// What anybody may read.
const OPEN: [&str; 2] = ["/openapi.json", "/metrics"];

pub(super) fn refine(mut document: Value) -> Value {
    document["components"]["securitySchemes"] = json!({"operator": {
        "type": "http", "scheme": "bearer", "description": "An operator key: `hallpass operator new` makes one."
    }, "resource_server": {
        "type": "http", "scheme": "bearer", "description": "The key of a `[[resource_server]]`."
    }});
    document["security"] = json!([{"operator": []}]);
    for (path, operations) in members(&mut document["paths"]) {
        for operation in members(operations).map(|(_, operation)| operation) {
            if OPEN.contains(&path.as_str()) {
                operation["security"] = json!([]);
            }
            describe_answers(path, operation);
            for given in parameters_of(operation) {
                let name = given["name"].as_str().unwrap_or_default();
                if let Some(schema) = parameter(path, name) {
                    given["schema"] = schema;
                }
            }
        }
    }
    schemas(&mut document["components"]["schemas"]);
    document
}

/// By what an operation has, for no handler's own list to forget: what it refuses, each by a problem. What else it
/// refuses its handler says.
fn describe_answers(path: &str, operation: &mut Value) {
    // An unknown parameter of the query, a fault, and no memory or no place for a read: whatever it is.
    let mut refused = vec![StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR];
    refused.push(StatusCode::SERVICE_UNAVAILABLE);
    let security = operation.get("security").and_then(Value::as_array);
    if security.is_none_or(|ways| !ways.is_empty()) {
        refused.push(StatusCode::UNAUTHORIZED);
    }
    // Who has one of the roles that are named.
    let names_a_role =
        |way: &Value| way.as_object().is_some_and(|way| way.values().any(|roles| *roles != json!([])));
    if security.is_some_and(|ways| ways.iter().any(names_a_role)) {
        refused.push(StatusCode::FORBIDDEN);
    }
    if path.contains('{') {
        refused.push(StatusCode::NOT_FOUND);
    }
    if operation.get("requestBody").is_some() {
        refused.push(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let answers = &mut operation["responses"];
    for status in refused {
        answers.as_object_mut().into_iter().for_each(|all| {
            all.entry(status.as_str()).or_insert_with(|| json!({}));
        });
    }
    for (status, answer) in members(answers) {
        let status: StatusCode = status.parse().expect("utoipa and the rules above write numbers");
        if answer["description"].as_str().unwrap_or_default().is_empty() {
            answer["description"] = status.canonical_reason().unwrap_or_default().into();
        }
        if status.is_client_error() || status.is_server_error() {
            answer["content"]["application/problem+json"] =
                json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        }
    }
}

fn parameters_of(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// What a parameter can be. One that is given is never `null`.
fn parameter(path: &str, name: &str) -> Option<Value> {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern, "maxLength": 64});
    let words = |words: Vec<&str>| json!({"type": "string", "enum": words});
    Some(match name {
        "id" if path.starts_with("/v1/agents") => text(NAME),
        "follower" => text(NAME),
        "id" | "token" | "request" => json!({"type": "string", "format": "uuid", "pattern": UUID}),
        "agent" => text(NAME),
        "owner" => text(TEAM),
        "kind" => words(Kind::ALL.iter().map(|kind| kind.as_str()).collect()),
        "outcome" => words(Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect()),
        "format" => words(vec!["jsonl", "csv"]),
        "resource" => json!({"type": "string"}),
        "since" | "until" => json!({"type": "string", "format": "date-time"}),
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 100}),
        "cursor" => json!({"type": "string", "pattern": CURSOR}),
        "seq" | "size" | "first" | "second" => json!({"type": "integer", "format": "int64", "minimum": 1}),
        "active" | "dry_run" => json!({"type": "boolean", "default": false}),
        _ => return None,
    })
}

/// Puts in what the types of this layer do not say of themselves.
fn schemas(schemas: &mut Value) {
    let ours =
        include_str!("schemas.json").replace("@NAME@", &escaped(NAME)).replace("@ACTION@", &escaped(ACTION));
    let ours: Map<String, Value> =
        serde_json::from_str(&ours).expect("schemas.json is JSON, as a test holds");
    schemas.as_object_mut().into_iter().for_each(|schemas| schemas.extend(ours.clone()));
    for (place, schema) in what_is_asked().into_iter().chain(what_is_answered()) {
        replace(schemas, place, schema);
    }
    // One of the two, and not both.
    schemas["Question"]["oneOf"] = json!([
        {"required": ["agent"], "properties": {"agent": {"type": "string"}, "identity": {"type": "null"}}},
        {"required": ["identity"], "properties": {"identity": {"type": "object"}, "agent": {"type": "null"}}}
    ]);
}

/// Puts `schema` at `place`, which keeps its description unless the schema has one.
fn replace(schemas: &mut Value, place: &str, schema: Value) {
    let described = schemas.pointer(place).and_then(|old| old.get("description").cloned());
    let Some(found) = schemas.pointer_mut(place) else { return };
    *found = schema;
    if let (Some(described), Some(object)) = (described, found.as_object_mut()) {
        object.entry("description").or_insert(described);
    }
}

/// What the bodies of requests may hold, by the place of each schema.
fn what_is_asked() -> Vec<(&'static str, Value)> {
    vec![
        ("/StopRequest/properties/target", target()),
        (
            "/StopRequest/properties/reason",
            json!({"type": "string", "maxLength": 500, "pattern": format!("^$|{REASON}")}),
        ),
        (
            "/StopRequest/properties/for_seconds",
            json!({"type": ["integer", "null"], "minimum": 1, "maximum": 7_776_000}),
        ),
        ("/LiftRequest/properties/reason", json!({"type": "string", "maxLength": 500, "pattern": REASON})),
        ("/Report/properties/follower", json!({"type": "string", "pattern": NAME, "maxLength": 64})),
        ("/Question/properties/agent", json!({"type": ["string", "null"], "pattern": NAME, "maxLength": 64})),
        ("/Question/properties/scope", json!({"type": ["string", "null"], "pattern": NOT_BLANK})),
        (
            "/Question/properties/authorization_details",
            json!({
                "type": ["array", "null"], "minItems": 1, "maxItems": MAX_ELEMENTS,
                "items": {"$ref": "#/components/schemas/AuthorizationDetail"}
            }),
        ),
        (
            "/Question/properties/requested_ttl",
            json!({"type": ["integer", "null"], "minimum": 1, "description": "Seconds."}),
        ),
        ("/SupposedIdentity/properties/issuer", json!({"type": "string", "pattern": NAME, "maxLength": 64})),
        (
            "/Resource",
            json!({"oneOf": [
                {"type": "string", "format": "uri"},
                {"type": "array", "maxItems": MAX_RESOURCES, "items": {"type": "string", "format": "uri"}}
            ]}),
        ),
    ]
}

/// What the bodies of answers hold, by the place of each schema.
fn what_is_answered() -> Vec<(&'static str, Value)> {
    let reference = |item: &str| json!({"$ref": format!("#/components/schemas/{item}")});
    let list = |item: &str| json!({"type": "array", "items": reference(item)});
    let one_of = |words: &[&str]| json!({"type": "string", "enum": words});
    vec![
        ("/Granted/properties/authorization_details", list("GrantedPermission")),
        ("/Stops/properties/revocations", list("Stop")),
        ("/Answer/properties/stops", list("Stop")),
        ("/Answer/properties/outcome", one_of(&["granted", "refused"])),
        ("/Decided/properties/tier", one_of(&["free", "gated", "forbidden"])),
        ("/Change/properties/revocation", reference("Stop")),
        ("/Change/properties/audit", one_of(&["recorded", "pending", "volatile"])),
        ("/DrillPoint/properties/kind", one_of(&["broker", "enforcement_point"])),
        ("/Summary/properties/status", one_of(&["active", "stopped"])),
        ("/Readiness/properties/status", one_of(&["ok", "degraded", "unavailable"])),
    ]
}

fn target() -> Value {
    let inner = |pattern: &str| pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
    let (name, team, uuid) = (inner(NAME), inner(TEAM), inner(UUID));
    let pattern = format!("^(?:everything|token:{uuid}|agent:{name}|owner:{team}|issuer:{name})$");
    json!({"type": "string", "maxLength": 71, "pattern": pattern})
}

/// As it stands in a string of JSON.
fn escaped(pattern: &str) -> String {
    pattern.replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_other_layers_are_json() {
        let ours: Value = serde_json::from_str(include_str!("schemas.json")).unwrap();
        assert!(ours.as_object().unwrap().len() >= 4);
    }
}
