use std::io::Read;

use super::*;

const LINES: &str = "{\"seq\":2,\"reason\":\"\u{202e}\"}\n{\"seq\":1}\n";

#[test]
fn an_export_is_the_answer_byte_for_byte() {
    let broker = Canned::new(|_| ok(LINES));
    let machine = Machine::new();
    let ran = machine.operate(&broker, &["audit", "export", "--agent", "a", "--since", "15m"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, LINES), "{}", ran.err);
    machine.operate(&broker, &["audit", "export", "--format", "csv", "--kind", "token.refused"]);
    assert_eq!(
        broker.lines(),
        [
            "GET /v1/audit/export?agent=a&since=2026-11-23T09%3A15%3A00.000Z&format=jsonl",
            "GET /v1/audit/export?kind=token.refused&format=csv",
        ]
    );
    assert_eq!(broker.seen()[0].authorization.as_deref(), Some(&*format!("Bearer {OPERATOR_KEY}")));
}

#[test]
fn a_terminal_gets_no_raw_bytes() {
    let broker = Canned::new(|_| ok(LINES));
    let mut machine = Machine::new();
    machine.terminal = true;
    let ran = machine.operate(&broker, &["audit", "export"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("audit search") && broker.seen().is_empty(), "{}", ran.err);
}

#[test]
fn a_no_is_told_in_the_brokers_words() {
    let broker =
        Canned::new(|_| (403, vec![], r#"{"title":"Forbidden","detail":"not you","request_id":"r"}"#.into()));
    let ran = Machine::new().operate(&broker, &["audit", "export"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("not you"), "{}", ran.err);
}

/// An answer that breaks off is no success, whatever was written by then.
#[test]
fn half_an_export_is_a_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n").unwrap();
    });
    let machine = Machine::new();
    let key = machine.file("operator.key", OPERATOR_KEY);
    let ran = machine.run(&["audit", "export", "--admin-url", &url, "--key-file", &key]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "{\"a\":1}"));
    assert!(ran.err.contains("no whole answer"), "{}", ran.err);
}
