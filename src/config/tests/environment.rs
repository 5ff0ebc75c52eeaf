//! Values that nobody meant: white space around them, paths that a shell would replace, variables of others.

use super::*;

fn told(text: &str, set: &[(&str, &str)]) -> Vec<String> {
    let (dir, file) = folder(text);
    lines(&dir, &Config::load(&file, variables(set)).err().unwrap_or_default())
}

#[test]
fn a_line_end_of_windows_in_any_variable_is_refused() {
    let (_dir, file) = production();
    let text = fs::read_to_string(&file).unwrap();
    let document = Document::parse(&file, &text, &Mistakes::default());
    Draft::of(&document, &[], &Mistakes::default());
    let lists =
        ["PROTECTED_REFS", "ALWAYS_GATED", "__NEVER", "CLIENT_CA_FILES", "TRUSTED_PROXIES", "NO_PROXY"];
    let known = document.known_variables();
    let scalars = known.iter().filter(|variable| !lists.iter().any(|list| variable.ends_with(list)));
    for (value, problem) in [
        ("x\r", "ends with a carriage return"),
        ("\u{a0}x", "begins with white space"),
        ("x\u{7}y", "holds a control"),
    ] {
        for variable in scalars.clone() {
            // The keys that belong to PostgreSQL have no meaning without it.
            let postgres = ("HALLPASS_STORE__URL", "postgres://db/hallpass");
            let mistakes = Config::load(&file, variables(&[postgres, (variable, value)])).unwrap_err();
            let of_it =
                |mistake: &&Diagnostic| mistake.key == *variable && mistake.problem.starts_with(problem);
            assert!(mistakes.iter().any(|mistake| of_it(&mistake)), "{variable}: {mistakes:?}");
        }
    }
}

#[test]
fn white_space_around_any_value_of_the_file_is_refused() {
    let (_dir, file) = production();
    let text = fs::read_to_string(&file).unwrap();
    let mut seen = 0;
    for (at, line) in
        text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && line.contains('"'))
    {
        // The end of the first string of the line.
        let mut quotes = line.match_indices('"').map(|(at, _)| at);
        let (Some(_), Some(end)) = (quotes.next(), quotes.next()) else { continue };
        let spaced = format!("{} {}", &line[..end], &line[end..]);
        let lines = text.lines().enumerate().map(|(other, line)| if other == at { &spaced } else { line });
        fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let mistakes = Config::load(&file, []).unwrap_err();
        let of_it =
            |mistake: &&Diagnostic| mistake.line == Some(at + 1) && mistake.problem == "ends with a space";
        assert!(mistakes.iter().any(|mistake| of_it(&mistake)), "{spaced}: {mistakes:?}");
        seen += 1;
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn paths_that_a_shell_would_replace_are_told_and_nothing_is_made() {
    let told = told(
        "[admin]\nlocal_operator_key_file = '~/operator.key'\n[registry]\npath = '${HOME}/agents'\n\
         [store]\nurl = 'sqlite://my%20data/hallpass.db'\n\
         [server]\ntls = { cert_file = '$CERTS/tls.pem', key_file = '~/tls.key', client_ca_files = ['~/ca.pem'] }\n",
        &[("HALLPASS_STORE__KEY_ENCRYPTION_KEY_FILE", "~/kek")],
    );
    let remedy = "write the path itself, relative to this file or absolute";
    let home = "begins with `~`, which hallpass does not replace with a home folder";
    let variable = "names a variable with `$`, which hallpass does not replace";
    assert_eq!(
        told,
        [
            format!("hallpass.toml:2: admin.local_operator_key_file: {home}; {remedy}"),
            format!("hallpass.toml:4: registry.path: {variable}; {remedy}"),
            format!(
                "hallpass.toml:6: store.url: has an escape with `%`, which stands for itself here and not for a character \
                 of my data/hallpass.db; {remedy}"
            ),
            format!("hallpass.toml:8: server.tls.cert_file: {variable}; {remedy}"),
            format!("hallpass.toml:8: server.tls.client_ca_files[0]: {home}; {remedy}"),
            format!("hallpass.toml:8: server.tls.key_file: {home}; {remedy}"),
            format!("environment: HALLPASS_STORE__KEY_ENCRYPTION_KEY_FILE: {home}; {remedy}"),
        ]
    );
}

#[test]
fn a_mistyped_variable_is_refused_with_a_near_name() {
    let set = [("HALLPASS_STORE_URL", "x"), ("HALLPASS_WHAT__EVER", "x"), ("HALLPASS_URK", "x")];
    assert_eq!(
        told(OPERATOR, &set),
        [
            "environment: HALLPASS_STORE_URL: no key answers to this variable; did you mean HALLPASS_STORE__URL?",
            "environment: HALLPASS_URK: no key answers to this variable; did you mean HALLPASS_URL?",
            "environment: HALLPASS_WHAT__EVER: no key answers to this variable; unset it; a key `b` of [a] is HALLPASS_A__B",
        ]
    );
}

#[test]
fn variables_of_others_stop_nothing() {
    let (_dir, file) = folder(OPERATOR);
    // As Kubernetes sets them for Services named `hallpass` and `hallpass-admin`, and a script of somebody's.
    let set = variables(&[
        ("HALLPASS_SERVICE_HOST", "10.0.0.1"),
        ("HALLPASS_SERVICE_PORT", "8700"),
        ("HALLPASS_SERVICE_PORT_HTTPS", "8700"),
        ("HALLPASS_PORT", "tcp://10.0.0.1:8700"),
        ("HALLPASS_PORT_8700_TCP", "tcp://10.0.0.1:8700"),
        ("HALLPASS_PORT_8700_TCP_PROTO", "tcp"),
        ("HALLPASS_PORT_8700_TCP_PORT", "8700"),
        ("HALLPASS_PORT_8700_TCP_ADDR", "10.0.0.1"),
        ("HALLPASS_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("HALLPASS_WHATEVER", "x"),
    ]);
    let warnings = check(&file, set).unwrap().warnings;
    let told: Vec<String> =
        warnings.iter().map(ToString::to_string).filter(|line| line.starts_with("env")).collect();
    assert_eq!(
        told,
        [
            "environment: HALLPASS_WHATEVER: warning: hallpass does not read this variable; unset it if you meant a key: `b` of \
             [a] is HALLPASS_A__B"
        ]
    );
}

#[test]
fn a_log_level_that_is_none_is_refused_and_not_silence() {
    let level = "is no level: off, error, warn, info, debug or trace";
    assert_eq!(
        told(OPERATOR, &[("HALLPASS_LOG", "warning")]),
        [format!("environment: HALLPASS_LOG: `warning` {level}; set HALLPASS_LOG=info")]
    );
    assert_eq!(
        told(&format!("{OPERATOR}[server]\nlog = 'hallpass=loud'\n"), &[]),
        [format!("hallpass.toml:4: server.log: `hallpass=loud` {level}; write log = \"info\"")]
    );
    let (_dir, file) = folder(&format!("{OPERATOR}[server]\nlog = 'debug'\n"));
    assert_eq!(Config::load(&file, []).unwrap().log.as_str(), "debug");
    let overridden =
        Config::load(&file, variables(&[("HALLPASS_LOG", "warn,hallpass::identity=trace")])).unwrap();
    assert_eq!(overridden.log.as_str(), "warn,hallpass::identity=trace");
}

#[test]
fn an_empty_folder_of_agents_is_a_warning() {
    let (dir, file) = folder(OPERATOR);
    let warnings = check(&file, []).unwrap().warnings;
    let prefix = format!("{}/", dir.path().display());
    let told: Vec<String> = warnings.iter().map(|warning| warning.to_string().replace(&prefix, "")).collect();
    assert_eq!(
        told,
        [
            "agents: warning: holds no agent file, so nobody gets a token; write <agent id>.toml for each agent, or mount \
          the volume that holds them"
        ]
    );
}
