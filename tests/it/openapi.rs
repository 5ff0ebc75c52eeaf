//! The document of the admin listener: a client that believes it sends nothing that the server refuses for its form,
//! and knows how to call.

use regex_automata::meta::Regex;
use serde_json::{Value, json};

use crate::support::broker::{Answer, Backend, TestApp};

/// A schema of the document, and the others that it names.
struct Schema<'a> {
    document: &'a Value,
    schema: &'a Value,
}

impl<'a> Schema<'a> {
    fn with(&self, schema: &'a Value) -> Self {
        Self { document: self.document, schema }
    }

    /// As JSON Schema 2020-12 has it, for the keywords that the document uses.
    fn accepts(&self, value: &Value) -> bool {
        let schema = self.schema;
        if let Some(name) = schema["$ref"].as_str() {
            let named = self.document.pointer(name.trim_start_matches('#'));
            return self.with(named.unwrap_or_else(|| panic!("{name} is nowhere"))).accepts(value);
        }
        let one_of =
            |schemas: &'a Vec<Value>| schemas.iter().filter(|one| self.with(one).accepts(value)).count() == 1;
        self.is_of_its_type(value)
            && schema["enum"].as_array().is_none_or(|words| words.contains(value))
            && schema["oneOf"].as_array().is_none_or(one_of)
            && value.as_str().is_none_or(|text| self.accepts_text(text))
            && value.as_u64().is_none_or(|number| {
                schema["minimum"].as_u64().is_none_or(|least| number >= least)
                    && schema["maximum"].as_u64().is_none_or(|most| number <= most)
            })
            && value.as_array().is_none_or(|list| self.accepts_list(list))
            && value.as_object().is_none_or(|object| self.accepts_object(object))
    }

    fn is_of_its_type(&self, value: &Value) -> bool {
        let is = |kind: &Value| match kind.as_str().unwrap() {
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            other => panic!("a type {other}"),
        };
        match &self.schema["type"] {
            Value::Null => true,
            Value::Array(kinds) => kinds.iter().any(is),
            kind => is(kind),
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        let length = text.chars().count() as u64;
        self.schema["minLength"].as_u64().is_none_or(|least| length >= least)
            && self.schema["maxLength"].as_u64().is_none_or(|most| length <= most)
            && self.schema["pattern"]
                .as_str()
                .is_none_or(|pattern| Regex::new(pattern).unwrap().is_match(text))
    }

    fn accepts_list(&self, list: &[Value]) -> bool {
        let length = list.len() as u64;
        self.schema["minItems"].as_u64().is_none_or(|least| length >= least)
            && self.schema["maxItems"].as_u64().is_none_or(|most| length <= most)
            && self
                .schema
                .get("items")
                .is_none_or(|items| list.iter().all(|item| self.with(items).accepts(item)))
    }

    fn accepts_object(&self, object: &serde_json::Map<String, Value>) -> bool {
        let properties = self.schema["properties"].as_object();
        let closed = self.schema["additionalProperties"] == json!(false);
        let required = self.schema["required"].as_array().into_iter().flatten();
        let mut required = required.map(|name| name.as_str().unwrap());
        required.all(|name| object.contains_key(name))
            && object.iter().all(|(name, value)| {
                let property = properties.and_then(|properties| properties.get(name));
                property.map_or(!closed, |property| self.with(property).accepts(value))
            })
    }
}

/// Whether the document has the status and the type of `answer`.
fn describes(operation: &Value, answer: &Answer) -> bool {
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    !operation["responses"][answer.status.to_string()]["content"][kind].is_null()
}

async fn document(app: &TestApp) -> Value {
    app.send(app.http().get(format!("{}/openapi.json", app.admin))).await.json()
}

#[tokio::test]
async fn the_document_says_where_parameters_are_and_who_may_call() {
    let app = TestApp::start(Backend::Memory).await;
    let document = document(&app).await;
    assert_eq!(document["components"]["securitySchemes"]["operator"]["scheme"], "bearer");
    assert_eq!(document["security"], json!([{"operator": []}]));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let place = match name {
                    "Last-Event-ID" => "header",
                    _ if path.contains(&format!("{{{name}}}")) => "path",
                    _ => "query",
                };
                assert_eq!(parameter["in"], place, "{method} {path} {name}");
                assert_eq!(
                    parameter["required"].as_bool().unwrap_or_default(),
                    place == "path" || name == "follower",
                    "{path} {name}"
                );
            }
            // Who calls without a key gets what the document says.
            let url = format!("{}{}", app.admin, path.replace("{id}", "nope"));
            let answer = app.send(app.http().request(method.to_uppercase().parse().unwrap(), url)).await;
            let open = operation.get("security") == Some(&json!([]));
            assert_eq!(answer.status == 401, !open, "{method} {path}: {}", answer.status);
            assert!(open || describes(operation, &answer), "{method} {path}: {answer:?}");
        }
    }
    app.finish().await;
}

/// A parameter that were ignored could do more than was meant: `lift?dry_run=true` would lift.
#[tokio::test]
async fn every_operation_refuses_a_query_parameter_that_it_does_not_have() {
    let app = TestApp::start(Backend::Memory).await;
    let document = document(&app).await;
    let stop = app.revoke("agent:payments-refactorer").await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let path = match path.as_str() {
                "/v1/agents/{id}" => "/v1/agents/payments-refactorer".to_owned(),
                path => path.replace("{id}", &stop),
            };
            for name in ["surprise", "dry_run", "owner", "%00"] {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                if parameters.into_iter().any(|parameter| parameter["name"] == name) {
                    continue;
                }
                let url = format!("{}{path}?{name}=true", app.admin);
                let body = json!({"target": "everything", "reason": "a test"}).to_string();
                let request = app.http().request(method.to_uppercase().parse().unwrap(), url);
                let answer = app.send(request.bearer_auth(&app.operator).body(body)).await;
                assert_eq!(answer.status, 400, "{method} {path} {name}: {}", answer.text);
                assert_eq!(answer.reason(), "parameter_unknown", "{method} {path} {name}");
                assert!(describes(operation, &answer), "{method} {path}: {answer:?}");
            }
        }
    }
    assert_eq!(app.events("kind=revocation.lifted").await.len(), 0);
    assert_eq!(app.events("kind=revocation.stopped").await.len(), 1);
    app.finish().await;
}

/// Who lacks a role, and whoever sends too much.
#[tokio::test]
async fn the_document_has_every_refusal() {
    let key = hallpass::domain::digest::Digest::of(b"lead-key");
    let lead =
        format!("[[admin.operator]]\nname = \"lead\"\nroles = [\"approver\"]\nkey_sha256 = \"{key}\"\n");
    let app = TestApp::with(Backend::Memory, &lead).await;
    let document = document(&app).await;
    let nothing = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let ask = |path: &str, key: &str| {
                let url = format!("{}{}", app.admin, path.replace("{id}", nothing));
                app.http().request(method.to_uppercase().parse().unwrap(), url).bearer_auth(key)
            };
            let answer = app.send(ask(path, "lead-key")).await;
            let needs_a_role = !operation["responses"]["403"].is_null();
            assert_eq!(answer.status == 403, needs_a_role, "{method} {path}: {answer:?}");
            let mut refused = vec![answer];
            if operation.get("requestBody").is_some() {
                let large = app.send(ask(path, &app.operator).body("a".repeat(70 * 1024))).await;
                assert_eq!(large.status, 413, "{method} {path}: {large:?}");
                refused.push(large);
            }
            if path.contains("{id}") {
                let reason = json!({"reason": "a test"}).to_string();
                let absent = app.send(ask(path, &app.operator).body(reason)).await;
                assert_eq!(absent.status, 404, "{method} {path}: {absent:?}");
                refused.push(absent);
            }
            for answer in refused.iter().filter(|answer| answer.status >= 400) {
                assert!(describes(operation, answer), "{method} {path}: {answer:?}");
            }
            for status in ["400", "500", "503"] {
                let kinds = &operation["responses"][status]["content"];
                assert!(kinds["application/problem+json"].is_object(), "{method} {path} {status}");
            }
        }
    }
    app.finish().await;
}

/// Neither a path nor a method is missed without a word, and the id by which its call is found.
#[tokio::test]
async fn wrong_paths_and_methods_are_refusals_like_any_other() {
    let app = TestApp::start(Backend::Memory).await;
    for (url, status) in [("/nope", 404), ("/v1/revocations", 405), ("/metrics", 405)] {
        let answer = app.send(app.http().delete(format!("{}{url}", app.admin))).await;
        assert_eq!(answer.status, status, "{url}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{url}");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"), "{url}");
        assert_eq!(answer.header("allow").is_empty(), status == 404, "{url}: {answer:?}");
    }
    for (url, status, reason) in [("/nope", 404, "path_unknown"), ("/oauth/token", 405, "method_not_allowed")]
    {
        let answer = app.send(app.http().delete(format!("{}{url}", app.public))).await;
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{url}: {answer:?}");
        assert_eq!(answer.json()["error"], "invalid_request", "{url}");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"), "{url}");
        assert_eq!(answer.header("allow"), if status == 405 { "POST" } else { "" }, "{url}");
    }
    app.finish().await;
}

/// Each body, and whether the server takes its form. What the server refuses the schema refuses, too, and the other
/// way round.
fn bodies() -> Vec<(&'static str, Value, bool)> {
    let stop = |target: &str| json!({"target": target, "reason": "a test"});
    let detail = |member: &str, value: Value| {
        let mut detail = json!({"type": "git_repository", "identifier": "payments"});
        detail[member] = value;
        json!({"agent": "payments-refactorer", "authorization_details": [detail]})
    };
    let ask = |member: &str, value: Value| json!({"agent": "payments-refactorer", member: value});
    let jti = "01912d68-783e-7a03-8467-5661c1243ad4";
    let (stops, explain) = ("/v1/revocations?dry_run=true", "/v1/explain");
    let seen = "/v1/revocations/seen";
    vec![
        (seen, json!({"follower": "pod-1"}), true),
        (seen, json!({"follower": "pod-1", "id": null, "leaving": true}), true),
        (seen, json!({"follower": "pod-1", "id": "0-0000000000000000-00000000"}), true),
        (seen, json!({"follower": "POD"}), false),
        (seen, json!({"id": null}), false),
        (seen, json!({"follower": "pod-1", "surprise": 1}), false),
        (stops, stop("everything"), true),
        (stops, stop("agent:payments-refactorer"), true),
        (stops, stop("owner:@acme/team-payments"), true),
        (stops, stop("issuer:ci"), true),
        (stops, stop(&format!("token:{jti}")), true),
        (stops, json!({"target": "everything"}), true),
        (stops, stop("Everything"), false),
        (stops, stop("everything:x"), false),
        (stops, stop("agent:"), false),
        (stops, stop("agent:a..b"), false),
        (stops, stop("agent:A"), false),
        (stops, stop("token:nope"), false),
        (stops, stop("team:x"), false),
        (stops, stop(""), false),
        (stops, json!({"reason": "a test"}), false),
        (stops, json!({"target": "everything", "surprise": 1}), false),
        (stops, json!({"target": 7}), false),
        (stops, json!({"target": "everything", "for_seconds": 7200}), true),
        (stops, json!({"target": "everything", "for_seconds": 0}), false),
        (stops, json!({"target": "everything", "for_seconds": 7_776_001}), false),
        (stops, json!([]), false),
        (explain, ask("scope", json!("payments:read")), true),
        (explain, ask("scope", Value::Null), true),
        (explain, ask("scope", json!("  ")), false),
        (explain, ask("scope", json!(["payments:read"])), false),
        (explain, ask("resource", json!("https://github.com")), true),
        (explain, ask("resource", json!(["https://github.com"])), true),
        (explain, ask("resource", json!(7)), false),
        (explain, ask("requested_ttl", json!(60)), true),
        (explain, ask("requested_ttl", json!(0)), false),
        (explain, ask("requested_ttl", json!("60")), false),
        (explain, ask("authorization_details", json!([])), false),
        (explain, ask("surprise", json!(1)), false),
        (explain, json!({}), false),
        (explain, ask("identity", json!({"issuer": "ci", "claims": {}})), false),
        (explain, json!({"identity": {"issuer": "ci", "claims": {"sub": "x"}}}), true),
        (explain, json!({"identity": {"issuer": "CI!", "claims": {}}}), false),
        (explain, json!({"identity": {"issuer": "ci"}}), false),
        (explain, json!({"identity": {"issuer": "ci", "claims": {}, "more": 1}}), false),
        (explain, detail("refs", json!(["refs/heads/agent/*"])), true),
        (explain, detail("refs", json!("refs/heads/agent/*")), false),
        (explain, detail("surprise", json!(1)), false),
        (explain, detail("type", Value::Null), false),
    ]
}

#[tokio::test]
async fn the_schemas_refuse_what_the_server_refuses() {
    let app = TestApp::start(Backend::Memory).await;
    let document = document(&app).await;
    for (path, body, good) in bodies() {
        let place = path.split('?').next().unwrap();
        let schema =
            &document["paths"][place]["post"]["requestBody"]["content"]["application/json"]["schema"];
        let accepted = Schema { document: &document, schema }.accepts(&body);
        let answer = app.admin_post(path, &body).await;
        assert_eq!(answer.status != 400, good, "{path} {body}: {}", answer.text);
        assert_eq!(accepted, good, "the schema of {path} and {body}");
    }
    for (reason, good) in [("a test", true), ("é", true), ("", false), (" ", false), ("a\nb", false)] {
        let schema = &document["components"]["schemas"]["LiftRequest"];
        let body = json!({"reason": reason});
        assert_eq!(Schema { document: &document, schema }.accepts(&body), good, "{reason:?}");
        let path = "/v1/revocations/01912d68-783e-7a03-8467-5661c1243ad4/lift";
        assert_eq!(app.admin_post(path, &body).await.status != 400, good, "{reason:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_parameters_refuse_what_the_server_refuses() {
    let app = TestApp::start(Backend::Memory).await;
    let document = document(&app).await;
    for (path, name, value, good) in [
        ("/v1/audit/events", "agent", json!("payments-refactorer"), true),
        ("/v1/audit/events", "agent", json!("No One"), false),
        ("/v1/audit/events", "owner", json!("@acme/team"), true),
        ("/v1/audit/events", "owner", json!("a b"), false),
        ("/v1/audit/events", "kind", json!("token.issued"), true),
        ("/v1/audit/events", "kind", json!("token.*"), false),
        ("/v1/audit/events", "outcome", json!("done"), true),
        ("/v1/audit/events", "outcome", json!("Done"), false),
        ("/v1/audit/events", "token", json!("nope"), false),
        ("/v1/audit/events", "limit", json!(500), true),
        ("/v1/audit/events", "limit", json!(501), false),
        ("/v1/audit/events", "limit", json!(0), false),
        ("/v1/audit/events", "cursor", json!("AAAAAAAAAAE"), true),
        ("/v1/audit/events", "cursor", json!("AAAA"), false),
        ("/v1/audit/export", "format", json!("csv"), true),
        ("/v1/audit/export", "format", json!("xml"), false),
        ("/v1/revocations/stream", "follower", json!("A"), false),
        ("/v1/revocations", "active", json!(true), true),
        ("/v1/revocations", "active", json!("yes"), false),
    ] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
        let schema = Schema { document: &document, schema: &parameter["schema"] };
        assert_eq!(schema.accepts(&value), good, "{path} {name} {value}");
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, &text).finish();
        let answer = app.admin_get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status != 400, good, "{path} {name} {value}: {}", answer.text);
    }
    app.finish().await;
}
