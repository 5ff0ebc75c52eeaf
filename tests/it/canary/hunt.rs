//! Sends secrets in, and searches what comes out for each of them in every form it may take.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::{Process, read};
use crate::support::signer::base64url;

/// What was sent and must not come out, and what came out.
pub(super) struct Hunt {
    pub(super) broker: Process,
    /// What it is, and how it may be written.
    pub(super) secrets: Vec<(String, Vec<String>)>,
    pub(super) answers: Vec<String>,
}

impl Hunt {
    /// A new canary, hidden in every form in which it may come out again.
    pub(super) fn canary(&mut self, place: &str) -> String {
        let canary = format!("canary{}x{place}", self.secrets.len()).replace(['_', '-', ' '], "");
        self.secret(place, &canary);
        canary
    }

    pub(super) fn secret(&mut self, place: &str, text: &str) {
        let unpadded = base64url(text);
        // Within base64 of something longer, two of three offsets hide the first and last characters.
        let mut forms = vec![text.to_owned(), STANDARD.encode(text), unpadded.clone()];
        forms.extend((1..3).map(|shift| {
            let shifted = base64url(format!("{}{text}", &"__"[..shift]));
            shifted[4..shifted.len() - 2].to_owned()
        }));
        forms.push(unpadded[..unpadded.len() - 2].to_owned());
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        forms.push(hex);
        let bytes: Vec<String> = text.bytes().take(12).map(|byte| byte.to_string()).collect();
        forms.push(bytes.join(", "));
        self.secrets.push((place.to_owned(), forms));
    }

    pub(super) async fn send(&mut self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = read(request).await;
        self.answers.push(format!("{:?} {}", answer.headers, answer.text));
        (answer.status, answer.text)
    }

    pub(super) async fn form(
        &mut self,
        path: &str,
        form: &[(&str, &str)],
        bearer: Option<&str>,
    ) -> (u16, String) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.broker.http.post(format!("{}{path}", self.broker.public));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let request = match bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        self.send(request).await
    }

    pub(super) async fn refused(&mut self, form: &[(&str, &str)]) {
        let (status, text) = self.form("/oauth/token", form, None).await;
        assert!((400..500).contains(&status), "{form:?}: {text}");
    }

    /// Bytes as they are; whatever comes back.
    pub(super) async fn raw(&mut self, address: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // Not ended from here: the broker drops a call whose caller is gone before it says anything.
        let patience = std::time::Duration::from_millis(300);
        let _ = tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await;
        self.answers.push(String::from_utf8_lossy(&answer).into_owned());
    }

    pub(super) fn search(&self, where_: &str, text: &str, except: &[&str]) {
        for (place, forms) in &self.secrets {
            for form in forms.iter().filter(|_| !except.contains(&place.as_str())) {
                if let Some(at) = text.find(form.as_str()) {
                    let from = text.floor_char_boundary(at.saturating_sub(300));
                    let to = text.ceil_char_boundary((at + 300).min(text.len()));
                    panic!("{where_} holds the secret {place} as {form}: …{}…", &text[from..to]);
                }
            }
        }
    }

    pub(super) fn search_file(&self, file: &Path, except: &[&str]) {
        if let Ok(bytes) = fs::read(file) {
            self.search(&file.display().to_string(), &String::from_utf8_lossy(&bytes), except);
        }
    }
}
