//! Flags of the commands that run or read the broker on this machine.

use std::path::PathBuf;

/// Where the configuration is, for every command that reads it.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "HALLPASS_CONFIG",
        hide_env_values = true,
        default_value = "config/hallpass.toml"
    )]
    pub config: PathBuf,
}

/// `hallpass serve`
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Begin with an empty store where the one that was here is lost. A store that is there is used as it is
    #[arg(long)]
    pub new_store: bool,
    /// Drop the signing keys that the key-encryption key cannot open, and make new ones
    #[arg(long)]
    pub new_signing_keys: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `hallpass check-config`
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// Print the mistakes as a JSON array instead of lines
    #[arg(long)]
    pub json: bool,
    /// Fail where there is a warning too
    #[arg(long)]
    pub deny_warnings: bool,
    /// Do not open the files that the configuration names, such as secrets and certificates: for CI, where they are not
    #[arg(long)]
    pub skip_files: bool,
    /// Check the agent files alone, under the configuration's guardrails and issuers
    #[arg(long)]
    pub agents_only: bool,
    /// The configuration file, as --config names it
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `hallpass demo`
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {}
