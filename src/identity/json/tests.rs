use proptest::prelude::*;

use super::*;

fn nested(depth: usize) -> String {
    format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn keeps_every_kind_of_value() {
    let object =
        Object::parse(br#"{"n":null,"b":true,"i":-3,"f":1.5,"s":"x","a":[1],"o":{"s":"y"}}"#, &[]).unwrap();
    assert_eq!(object.get("n"), Some(&Json::Null));
    assert_eq!(object.get("b"), Some(&Json::Bool(true)));
    assert_eq!(object.get("i"), Some(&Json::Integer(-3)));
    assert_eq!(object.get("f"), Some(&Json::Float(1.5)));
    assert_eq!(object.get("s"), Some(&Json::String("x".into())));
    assert_eq!(object.get("a"), Some(&Json::Array(vec![Json::Integer(1)])));
    assert!(matches!(object.get("o"), Some(Json::Object(inner)) if inner.get("s").is_some()));
    assert_eq!(object.get("missing"), None);
}

#[test]
fn refuses_a_repeated_member_at_any_level() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"\u0061":3}"#,
        r#"{"o":{"a":1,"a":2}}"#,
        r#"{"l":[{"x":[{"a":1,"a":2}]}]}"#,
    ] {
        assert_eq!(Object::parse(text.as_bytes(), &[]), Err(BadJson::Repeated(None)), "{text}");
        assert_eq!(Object::parse(text.as_bytes(), &["aa", "a"]), Err(BadJson::Repeated(Some("a"))), "{text}");
    }
    assert!(Object::parse(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#, &[]).is_ok());
}

#[test]
fn refuses_what_is_not_one_object() {
    for (text, why) in [
        ("[]", BadJson::NotAnObject),
        ("\"x\"", BadJson::NotAnObject),
        ("null", BadJson::NotAnObject),
        ("", BadJson::Syntax),
        ("{} {}", BadJson::Syntax),
        ("{}x", BadJson::Syntax),
        ("{\"a\":1,}", BadJson::Syntax),
        ("{\"a\":1e400}", BadJson::Syntax),
        ("{\"a\":NaN}", BadJson::Syntax),
        ("{\"a\":\"\\ud800\"}", BadJson::Syntax),
        ("\u{feff}{}", BadJson::Syntax),
    ] {
        assert_eq!(Object::parse(text.as_bytes(), &[]), Err(why), "{text}");
    }
    assert_eq!(Object::parse(b"{\"a\":\"\xff\"}", &[]), Err(BadJson::Syntax));
}

#[test]
fn bounds_the_depth() {
    assert!(Object::parse(nested(15).as_bytes(), &[]).is_ok());
    assert_eq!(Object::parse(nested(16).as_bytes(), &[]), Err(BadJson::TooDeep));
    assert_eq!(Object::parse(nested(7000).as_bytes(), &[]), Err(BadJson::TooDeep));
}

#[test]
fn sees_names_as_a_careless_reader_would() {
    let names = ["exp", "sub", "kid"];
    for text in [r#"{"Exp":1}"#, r#"{"EXP":1,"exp":2}"#, "{\"\u{17f}ub\":1}", "{\"\u{212a}id\":1}"] {
        assert!(Object::parse(text.as_bytes(), &[]).unwrap().case_variant_of(&names).is_some(), "{text}");
    }
    assert_eq!(Object::parse(br#"{"exp":1,"expires":2}"#, &[]).unwrap().case_variant_of(&names), None);
    assert!(Object::parse(br#"{"Repository":1,"repository":1}"#, &[]).unwrap().has_case_twins());
    assert!(!Object::parse(br#"{"repository":1,"repository_id":1}"#, &[]).unwrap().has_case_twins());
}

fn same(ours: &Json, theirs: &serde_json::Value) -> bool {
    use serde_json::Value as V;
    match (ours, theirs) {
        (Json::Null, V::Null) => true,
        (Json::Bool(a), V::Bool(b)) => a == b,
        (Json::Integer(a), V::Number(b)) => b.as_i64() == Some(*a),
        (Json::Float(a), V::Number(b)) => b.as_f64() == Some(*a),
        (Json::String(a), V::String(b)) => a == b,
        (Json::Array(a), V::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), V::Object(b)) => {
            a.0.len() == b.len() && a.0.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

/// JSON values with few names, so that they repeat.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        (-1e9..1e9).prop_map(|value: f64| format!("{value:e}")),
        "[a-c]{0,2}".prop_map(|value| format!("{value:?}")),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let members = proptest::collection::vec(("[a-d]{1,2}", inner.clone()), 0..5);
        let object = members.prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            object,
        ]
    })
}

proptest! {
    /// Whatever is accepted, a reader that keeps the last of two members reads too, and reads the same.
    #[test]
    fn an_accepted_text_has_one_meaning(text in json()) {
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        match Object::parse(text.as_bytes(), &[]) {
            Ok(object) => prop_assert!(same(&Json::Object(object), &theirs)),
            Err(BadJson::NotAnObject) => prop_assert!(!theirs.is_object()),
            // Only a repeated member makes these texts bad: the other reader has lost one.
            Err(BadJson::Repeated(None)) => {
                prop_assert!(theirs.to_string().matches(':').count() < text.matches(':').count());
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
