//! `hallpass demo`: the whole story in one run, embedded, with a real broker and real signatures.

mod issuer;
mod story;
mod world;

use crate::app::Ambient;
use crate::cli::{Failure, Host, Outcome};
use world::World;

/// # Errors
/// When a part of the story does not come out as it is told.
pub fn run(host: &mut Host<'_>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start an event loop: {error}")))?;
    let ambient = Ambient { clock: host.clock.clone(), random: host.random.clone(), store: None };
    runtime.block_on(async {
        let world = World::make(ambient).await?;
        story::tell(world, host).await
    })
}
