//! What operators' commands share: the admin listener's address and the operator's key.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::Client;
use crate::cli::key_file::{self, Readers};
use crate::cli::listener::Listener;
use crate::cli::{Host, Outcome};

pub const ADMIN_URL: &str = "http://127.0.0.1:8701";

/// Where `hallpass serve` makes the key of this machine's operator, unless its configuration says otherwise.
pub const KEY_FILE: &str = "data/operator.key";

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct AdminArgs {
    /// The broker's admin listener
    #[arg(long, value_name = "URL", env = "HALLPASS_ADMIN_URL", hide_env_values = true, default_value = ADMIN_URL)]
    pub admin_url: BrokerUrl,
    #[command(flatten)]
    pub key: OperatorKey,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct OperatorKey {
    /// The file with your operator key; `hallpass serve` makes the default one at its first start
    #[arg(
        long,
        value_name = "FILE",
        env = "HALLPASS_OPERATOR_KEY_FILE",
        hide_env_values = true,
        default_value = KEY_FILE
    )]
    pub key_file: PathBuf,
}

impl AdminArgs {
    /// # Errors
    /// When the key cannot be read.
    pub fn connect(&self, host: &mut Host<'_>) -> Outcome<Client> {
        self.key.connect(&self.admin_url, host)
    }
}

impl OperatorKey {
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, host: &mut Host<'_>) -> Outcome<SecretString> {
        key_file::read(&self.key_file, Readers::Owner, host).map_err(|failure| {
            failure.remedy(
                "run it where `hallpass serve` runs, or name your key with --key-file or HALLPASS_OPERATOR_KEY_FILE",
            )
        })
    }

    /// A client that shows the key to the admin listener at `url`.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn connect(&self, url: &BrokerUrl, host: &mut Host<'_>) -> Outcome<Client> {
        let key = self.read(host)?;
        Client::over(url.clone(), Listener::Admin, host.way()?)?.with_bearer(&key)
    }
}
