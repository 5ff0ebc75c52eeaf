//! How many files and connections this process may have open, and who gets how many of them.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::http::settings::{Bounds, PublicLimits};

/// Connections of operators.
const ADMIN: usize = 256;
/// What is kept beside them for the store, Redis, issuers, agent files and the log.
const OTHERS: usize = 128;
/// Bytes that connections of operators and their unfinished requests may hold.
const ADMIN_MEMORY: usize = 16 << 20;
/// Of one listener at most, where nothing else bounds it.
const MOST: usize = 1 << 20;

/// What the callers of each listener may take.
pub(super) struct Shares {
    pub(super) public: Bounds,
    pub(super) admin: Bounds,
}

/// Raises the soft limit to the hard one, and shares what is there.
pub(super) fn share(limits: &PublicLimits) -> Shares {
    let shares = share_of(raise(), limits);
    let Bounds { connections, per_source, memory } = shares.public;
    tracing::info!(connections, per_source, memory, "public connections are bounded");
    let wanted = limits.connections.map_or(0, |wanted| wanted.get() as usize);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            "the limit of open files allows fewer public connections than limits.connections: raise `ulimit -Hn`"
        );
    }
    shares
}

fn share_of(descriptors: usize, limits: &PublicLimits) -> Shares {
    let small = descriptors < 4 * (ADMIN + OTHERS);
    let kept = if small { descriptors / 4 } else { ADMIN + OTHERS };
    let connections = limits.connections.map_or(MOST, |n| n.get() as usize).min(descriptors - kept).max(1);
    let per_source = limits.per_source.map_or(connections, |n| n.get() as usize).min(connections);
    let admin = if small { (descriptors / 8).max(1) } else { ADMIN };
    Shares {
        public: Bounds { connections, per_source, memory: limits.memory },
        admin: Bounds { connections: admin, per_source: admin, memory: ADMIN_MEMORY },
    }
}

/// The limit of open files, as high as it may be set.
fn raise() -> usize {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        let raised = rustix::process::Rlimit { current: now.maximum, maximum: now.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current.map_or(MOST, |limit| usize::try_from(limit).unwrap_or(MOST))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn operators_and_files_keep_their_share_of_any_limit() {
        let limits = |connections, per_source| PublicLimits {
            connections: NonZeroU32::new(connections),
            per_source: NonZeroU32::new(per_source),
            memory: 1,
            idle: std::time::Duration::from_secs(75),
        };
        for descriptors in [64, 256, 1024, 4096, 20_000, MOST] {
            let Shares { public, admin } = share_of(descriptors, &limits(8192, 6144));
            let kept = descriptors - public.connections;
            assert!(kept >= descriptors.min(1024) / 4 && kept >= admin.connections * 5 / 4, "{descriptors}");
            assert!(public.per_source <= public.connections && public.connections <= 8192);
        }
        let Shares { public, .. } = share_of(20_000, &limits(0, 0));
        assert_eq!((public.connections, public.per_source), (19_616, 19_616), "0 means no limit");
    }
}
