//! TLS: who is believed, what is shown, and that the password is bound to the channel.

use super::*;

fn with_tls(server: &PostgresServer, client: Option<ClientFiles>) -> PostgresSettings {
    let tls = PostgresTls { ca_file: Some(server.ca_file()), client };
    PostgresSettings { tls: Some(tls), ..settings(server, "postgres") }
}

fn certificate(server: &PostgresServer) -> ClientFiles {
    let [cert, key] = server.client_files();
    ClientFiles { cert, key }
}

#[tokio::test]
async fn tls_proves_the_server_and_binds_the_password_to_it() {
    let server = PostgresServer::start_with(&Options {
        tls: &["localhost", "127.0.0.1"],
        config: "log_connections = on\n".to_owned(),
        ..Options::default()
    });
    let mut settings = with_tls(&server, None);
    for host in ["127.0.0.1", "localhost"] {
        settings.servers = Servers::Tcp(vec![address(host, server.port)]);
        let client = session(&settings).await;
        let version = "select version from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(text(&client, version).await, "TLSv1.3");
    }
    // A proof that is bound to another channel is refused, so one that is let in is bound to this one.
    let mut required = tokio_postgres::Config::new();
    required.host("localhost").port(server.port).user(PostgresServer::USER).dbname("postgres");
    required.password(PostgresServer::PASSWORD).ssl_mode(tokio_postgres::config::SslMode::Require);
    required.channel_binding(tokio_postgres::config::ChannelBinding::Require);
    let config = super::super::tls::client_config(settings.tls.as_ref().unwrap()).unwrap();
    drop(required.connect(super::super::tls::Tls(Some(config.into()))).await.unwrap());

    let without = PostgresSettings { tls: None, ..settings.clone() };
    assert_eq!(failure(&without).await, Failure::NotLetIn, "the server wants TLS");
    let stranger = PostgresSettings { tls: Some(PostgresTls::default()), ..settings.clone() };
    assert_eq!(failure(&stranger).await, Failure::UnknownIssuer);
    let wrong = PostgresSettings { password: Some("wrong-canary".into()), ..settings.clone() };
    assert_eq!(failure(&wrong).await, Failure::Credentials);

    let missing = server.folder().join("missing.pem");
    let tls = PostgresTls { ca_file: Some(missing), client: None };
    let error = refusal(&PostgresSettings { tls: Some(tls), ..settings.clone() }).await;
    assert!(error.is_mistake() && error.to_string().contains("missing.pem cannot be read: "), "{error}");
    let tls = PostgresTls { ca_file: Some(server.folder().join("server.key")), client: None };
    let error = refusal(&PostgresSettings { tls: Some(tls), ..settings }).await;
    assert!(error.to_string().contains("server.key holds no certificate in PEM"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let server = PostgresServer::start_with(&Options { tls: &["db.acme.example"], ..Options::default() });
    assert_eq!(failure(&with_tls(&server, None)).await, Failure::OtherHost);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let tls = &["127.0.0.1"];
    let server = PostgresServer::start_with(&Options { tls, asks_certificates: true, ..Options::default() });
    let client = session(&with_tls(&server, Some(certificate(&server)))).await;
    let subject = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(text(&client, subject).await, "/CN=hallpass");
    assert_eq!(failure(&with_tls(&server, None)).await, Failure::NotLetIn);
    let other = PostgresServer::start_with(&Options { tls, ..Options::default() });
    let of_other = with_tls(&server, Some(certificate(&other)));
    assert_eq!(failure(&of_other).await, Failure::ClientCertificate);
    let mixed = ClientFiles { key: certificate(&other).key, ..certificate(&server) };
    let error = refusal(&with_tls(&server, Some(mixed))).await;
    assert!(error.to_string().contains("the key is not the client certificate's"), "{error}");
}
